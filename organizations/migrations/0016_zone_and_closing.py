"""The time zone of an organization, and when it was closed."""

import organizations.time_zones
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0015_drop_spare_indexes'),
    ]

    operations = [
        migrations.AddField(
            model_name='organization',
            name='time_zone',
            field=models.CharField(blank=True, db_default='', default='', help_text='Of its sites that name no other, such as Asia/Shanghai. Empty: UTC.', max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone'),
        ),
        migrations.AddField(
            model_name='organization',
            name='closed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name='closed'),
        ),
    ]
