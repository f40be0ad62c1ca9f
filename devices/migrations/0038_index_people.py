"""Commands of people and programs are found among those of the schedule, and the other way round."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0037_drop_like_indexes")]

    operations = [
        AddIndexLive(
            "servicecall",
            models.Index(fields=["by_schedule", "-created"], name="call_people_list"),
        ),
    ]
