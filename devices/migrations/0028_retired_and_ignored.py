"""Where a device stands, and whether it is retired or ignored; empty for all that are there."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0027_sites_and_labels'),
    ]

    operations = [
        migrations.AddField(
            model_name='device',
            name='site',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='devices', to='devices.site', verbose_name='site'),
        ),
        migrations.AddField(
            model_name='device',
            name='retired_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='It is not used any more. Its history stays.', null=True, verbose_name='retired'),
        ),
        migrations.AddField(
            model_name='device',
            name='ignored_at',
            field=models.DateTimeField(blank=True, editable=False, help_text="Nobody's, and meant to stay so.", null=True, verbose_name='ignored'),
        ),
    ]
