"""Indexes of lists and searches, each named for its query."""

from django.db import migrations, models
from django.db.models.functions import Upper

from mqtt_bridge.database.live_migrations import AddIndexLive, add_trigram_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("licenses", "0010_retention")]

    operations = [
        AddIndexLive(
            "unlocklicense",
            models.Index(fields=["license_id"], name="license_search_id"),
        ),
        AddIndexLive(
            "unlocklicense",
            models.Index(Upper("device_sn"), name="license_search_bound_to"),
        ),
        add_trigram_index("licenses_unlocklicense", "name", "license_search_name"),
    ]
