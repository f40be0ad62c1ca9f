"""The order of names in lists."""

from django.db import migrations

from mqtt_bridge.database.natural_sort import create_collation


class Migration(migrations.Migration):
    dependencies = [("mqtt_bridge", "0011_names_of_fields")]

    operations = [create_collation()]
