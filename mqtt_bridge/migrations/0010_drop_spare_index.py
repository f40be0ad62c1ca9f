"""An index that costs every message time: others begin with the same column."""

import django.db.models.deletion
from django.db import migrations, models

from mqtt_bridge.database.live_migrations import drop_column_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("mqtt_bridge", "0009_index_tid")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [drop_column_index("mqtt_bridge_exchange", "organization_id")],
            [
                migrations.AlterField(
                    "exchange",
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="exchanges",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
    ]
