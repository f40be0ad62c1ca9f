"""Indexes that cost each change of a call time and serve no query: another one begins with the same column."""

import django.db.models.deletion
from django.db import migrations, models

from mqtt_bridge.database.live_migrations import drop_column_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0023_index_lists")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                drop_column_index("devices_servicecall", "device_id"),
                drop_column_index("devices_servicecall", "organization_id"),
                drop_column_index("devices_servicecall", "tid", "_like"),
                drop_column_index("devices_servicecall", "bid", "_like"),
                drop_column_index("devices_servicecallevent", "call_id"),
            ],
            [
                migrations.AlterField(
                    "servicecall",
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        help_text="The gateway asked.",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="service_calls",
                        to="devices.device",
                    ),
                ),
                migrations.AlterField(
                    "servicecall",
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Whose device it was then.",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="service_calls",
                        to="organizations.organization",
                    ),
                ),
                migrations.AlterField(
                    "servicecallevent",
                    "call",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="devices.servicecall",
                    ),
                ),
            ],
        ),
    ]
