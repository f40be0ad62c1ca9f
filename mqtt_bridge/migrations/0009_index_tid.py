"""The index of the search for a tid."""

from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("mqtt_bridge", "0008_index_lists")]

    operations = [
        AddIndexLive("exchange", models.Index(fields=["tid"], name="exchange_tid")),
    ]
