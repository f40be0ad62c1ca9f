"""Indexes of lists and searches, each named for its query."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("mqtt_bridge", "0007_certificates")]

    operations = [
        AddIndexLive(
            "exchange",
            models.Index(fields=["channel", "method", "-received_at"], name="exchange_method"),
        ),
        AddIndexLive(
            "exchange",
            models.Index(fields=["-received_at"], condition=~models.Q(reason="") | models.Q(outcome__in=["quarantined", "error", "left"]), name="exchange_unusual"),
        ),
    ]
