"""Indexes of foreign keys with which a list's index begins, too: each costs every insertion."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mqtt_bridge", "0008_index_lists")]

    operations = [
        migrations.AlterField(
            "exchange",
            "organization",
            models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="exchanges", to="organizations.organization"),
        ),
    ]
