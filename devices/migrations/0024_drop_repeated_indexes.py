"""Indexes of foreign keys with which a list's index begins, too: each costs every insertion."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0023_index_lists")]

    operations = [
        migrations.AlterField(
            "servicecall",
            "device",
            models.ForeignKey(db_index=False, help_text="The gateway asked.", on_delete=django.db.models.deletion.PROTECT, related_name="service_calls", to="devices.device"),
        ),
        migrations.AlterField(
            "servicecall",
            "organization",
            models.ForeignKey(db_index=False, help_text="Whose it was then.", on_delete=django.db.models.deletion.PROTECT, related_name="service_calls", to="organizations.organization"),
        ),
    ]
