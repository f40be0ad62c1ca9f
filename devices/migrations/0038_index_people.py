"""The commands of people and programs, which the list shows, are found among those of the schedule."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0037_drop_like_indexes")]

    operations = [
        AddIndexLive(
            "servicecall",
            models.Index(fields=["-created"], condition=models.Q(by_schedule=False), name="call_people_list"),
        ),
    ]
