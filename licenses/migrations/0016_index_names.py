"""The index that `0011_index_search` also makes, where PostgreSQL can; it is in no model, so no squashed migration has it."""

from django.db import migrations

from mqtt_bridge.database.live_migrations import add_trigram_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("licenses", "0015_names")]

    operations = [add_trigram_index("licenses_unlocklicense", "name", "license_search_name")]
