"""Indexes of lists and searches, each named for its query."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0022_fill_named")]

    operations = [
        AddIndexLive(
            "servicecall",
            models.Index(fields=["method", "-created"], name="call_method"),
        ),
        AddIndexLive(
            "servicecall",
            models.Index(fields=["organization", "requested_by"], name="call_organization_person"),
        ),
        AddIndexLive(
            "servicecall",
            models.Index(fields=["status", "-created"], condition=~models.Q(status="succeeded"), name="call_unsuccessful"),
        ),
        AddIndexLive(
            "pairing",
            models.Index(fields=["until"], condition=models.Q(until__isnull=False), name="pairing_ended"),
        ),
    ]
