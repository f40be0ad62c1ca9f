"""What changed of the commands of several organizations is found in order."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("devices", "0034_names_of_fields"),
    ]

    operations = [
        AddIndexLive("servicecall", models.Index(fields=["updated", "id"], name="call_all_changes")),
    ]
