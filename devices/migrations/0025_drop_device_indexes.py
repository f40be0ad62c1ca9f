"""Indexes that cost every bind time: others begin with the owner, and nobody searches how a serial number begins."""

import django.db.models.deletion
from django.db import migrations, models

from mqtt_bridge.database.live_migrations import drop_column_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0024_drop_spare_indexes")]

    operations = [
        drop_column_index("devices_device", "sn", "_like"),
        migrations.SeparateDatabaseAndState(
            [drop_column_index("devices_device", "organization_id")],
            [
                migrations.AlterField(
                    "device",
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty: unclaimed.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="devices",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
    ]
