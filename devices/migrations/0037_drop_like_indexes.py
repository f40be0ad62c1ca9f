"""Indexes that Django makes of each unique text and no query needs: no squashed migration can leave them out."""

from django.db import migrations

from mqtt_bridge.database.live_migrations import drop_column_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0036_attempts")]

    operations = [
        drop_column_index("devices_device", "sn", "_like"),
        drop_column_index("devices_servicecall", "tid", "_like"),
        drop_column_index("devices_servicecall", "bid", "_like"),
    ]
