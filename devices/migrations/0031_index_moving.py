"""Indexes of few rows each: devices at a site, retired devices, batches that are to be started."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('devices', '0030_acknowledgements'),
    ]

    operations = [
        AddIndexLive(
            "device",
            models.Index(fields=["site"], condition=models.Q(site__isnull=False), name="device_site"),
        ),
        AddIndexLive(
            "device",
            models.Index(fields=["retired_at"], condition=models.Q(retired_at__isnull=False), name="device_retired"),
        ),
        AddIndexLive(
            "servicecallbatch",
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False, started_at=None), name="batch_due"),
        ),
    ]
