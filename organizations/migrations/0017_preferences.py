"""How each person wants the pages, and the filters that people saved."""

import django.db.models.deletion
import django.utils.timezone
import organizations.time_zones
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0016_zone_and_closing'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Preference',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='preference', serialize=False, to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('language', models.CharField(blank=True, help_text="One of LANGUAGES. Empty: the browser's.", max_length=16, verbose_name='language')),
                ('time_zone', models.CharField(blank=True, help_text="Empty: the browser's.", max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone')),
                ('settings', models.JSONField(blank=True, default=dict, verbose_name='settings')),
            ],
            options={
                'verbose_name': 'preference',
                'verbose_name_plural': 'preferences',
            },
        ),
        migrations.CreateModel(
            name='SavedFilter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='saved_filters', to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('page', models.CharField(help_text='The name of its URL.', max_length=100, verbose_name='list')),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('query', models.CharField(help_text='A query string, without the question mark.', max_length=2000, verbose_name='filter')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
            ],
            options={
                'verbose_name': 'saved filter',
                'verbose_name_plural': 'saved filters',
                'ordering': ('name',),
                'constraints': [models.UniqueConstraint(fields=('user', 'page', 'name'), name='one_saved_filter_per_list_and_name')],
            },
        ),
    ]
