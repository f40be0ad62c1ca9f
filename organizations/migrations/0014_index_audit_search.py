"""Indexes of lists and searches, each named for its query."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("organizations", "0013_index_tried")]

    operations = [
        AddIndexLive(
            "auditevent",
            models.Index(fields=["action", "-at"], name="audit_event_action"),
        ),
        AddIndexLive(
            "auditevent",
            models.Index(fields=["object_name", "-at"], name="audit_event_object_name"),
        ),
    ]
