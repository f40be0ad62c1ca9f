"""All tables as they are after the migrations that it replaces, for a new database; an older one goes through those."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [
        ('licenses', '0001_initial'),
        ('licenses', '0002_license_files'),
        ('licenses', '0003_catalog'),
        ('licenses', '0004_index_license_lists'),
        ('licenses', '0005_updated'),
        ('licenses', '0006_fill_updated'),
        ('licenses', '0007_index_updated'),
        ('licenses', '0008_api_keys'),
        ('licenses', '0009_index_begin_time'),
        ('licenses', '0010_retention'),
        ('licenses', '0011_index_search'),
        ('licenses', '0012_in_other_inventory_and_box'),
        ('licenses', '0013_fill_listed'),
        ('licenses', '0014_index_listed'),
        ('licenses', '0015_names'),
    ]

    initial = True

    dependencies = [
        ('auth', '__first__'),
        ('devices', '0001_squashed_0036_attempts'),
        ('organizations', '0001_squashed_0022_words_of_enrolment'),
    ]

    operations = [
        migrations.CreateModel(
            name='LicenseFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='As uploaded, without what a file name must not hold.', max_length=255, verbose_name='name')),
                ('md5', models.CharField(help_text="Of the exact bytes, lower-case hex: DJI's fingerprint.", max_length=32, verbose_name='MD5')),
                ('size', models.PositiveBigIntegerField(help_text='Bytes.', verbose_name='size')),
                ('content', models.BinaryField()),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='uploaded')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='license_files', to='organizations.organization', verbose_name='organization')),
                ('uploaded_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('uploaded_with', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey')),
            ],
            options={
                'verbose_name': 'license file',
                'verbose_name_plural': 'license files',
                'ordering': ('-created', '-pk'),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='LicenseFileDownload',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('sent', models.PositiveBigIntegerField(default=0)),
                ('remote_address', models.GenericIPAddressField(null=True)),
                ('outcome', models.CharField(choices=[('broken_off', 'not finished'), ('finished', 'finished'), ('expired', 'refused: the address had expired')], default='broken_off', max_length=16)),
                ('api_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey')),
                ('call', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='devices.servicecall')),
                ('file', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='downloads', to='licenses.licensefile')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'download',
                'verbose_name_plural': 'downloads',
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='LicenseList',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('device_model_domain', models.PositiveSmallIntegerField(choices=[(0, 'imported in the aircraft'), (3, 'approved for the dock')], verbose_name='inventory')),
                ('consistence', models.BooleanField(null=True, verbose_name='consistent, by the dock')),
                ('complete', models.BooleanField(verbose_name='complete')),
                ('applied', models.BooleanField(default=True, verbose_name='applied')),
                ('count', models.PositiveIntegerField(null=True)),
                ('asked_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('fetched_at', models.DateTimeField(verbose_name='read')),
                ('call', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='license_lists', to='devices.servicecall')),
                ('device', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='license_lists', to='devices.device')),
            ],
            options={
                'verbose_name': 'license list',
                'verbose_name_plural': 'license lists',
                'ordering': ('-fetched_at',),
            },
        ),
        migrations.CreateModel(
            name='UnlockLicense',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('device_model_domain', models.PositiveSmallIntegerField(choices=[(0, 'imported in the aircraft'), (3, 'approved for the dock')], verbose_name='inventory')),
                ('license_id', models.BigIntegerField()),
                ('name', models.CharField(blank=True, max_length=256)),
                ('type', models.BigIntegerField(null=True)),
                ('group_id', models.BigIntegerField(null=True)),
                ('user_id', models.CharField(blank=True, max_length=256)),
                ('device_sn', models.CharField(blank=True, max_length=64)),
                ('begin_time', models.DateTimeField(null=True)),
                ('end_time', models.DateTimeField(null=True)),
                ('user_only', models.BooleanField(null=True)),
                ('enabled', models.BooleanField(null=True)),
                ('details', models.JSONField(default=dict)),
                ('raw', models.JSONField(default=dict)),
                ('note', models.TextField(blank=True, verbose_name='note')),
                ('seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('in_other_inventory', models.BooleanField(db_default=False, default=False, editable=False)),
                ('west', models.FloatField(editable=False, null=True)),
                ('south', models.FloatField(editable=False, null=True)),
                ('east', models.FloatField(editable=False, null=True)),
                ('north', models.FloatField(editable=False, null=True)),
                ('device', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='unlock_licenses', to='devices.device')),
            ],
            options={
                'verbose_name': 'unlock license',
                'verbose_name_plural': 'unlock licenses',
                'ordering': ('device', 'device_model_domain', 'license_id'),
            },
        ),
        migrations.CreateModel(
            name='LicenseEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('device_model_domain', models.PositiveSmallIntegerField(choices=[(0, 'imported in the aircraft'), (3, 'approved for the dock')], verbose_name='inventory')),
                ('license_id', models.BigIntegerField(verbose_name='license ID')),
                ('name', models.CharField(blank=True, max_length=256, verbose_name='name')),
                ('kind', models.CharField(choices=[('appeared', 'Appeared'), ('vanished', 'Vanished'), ('enabled', 'Enabled'), ('disabled', 'Disabled'), ('changed', 'Changed')], max_length=8, verbose_name='kind')),
                ('at', models.DateTimeField(verbose_name='happened')),
                ('before', models.JSONField(default=dict)),
                ('after', models.JSONField(default=dict)),
                ('call', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='license_events', to='devices.servicecall')),
                ('device', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='license_events', to='devices.device')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='license_events', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'license event',
                'verbose_name_plural': 'license events',
                'ordering': ('-at', '-pk'),
                'indexes': [models.Index(fields=['device', 'device_model_domain', 'license_id', '-at'], name='license_event_history'), models.Index(fields=['at'], name='license_event_at')],
            },
        ),
        migrations.AddIndex(
            model_name='licensefile',
            index=models.Index(fields=['organization', '-created'], name='license_file_organization'),
        ),
        migrations.AddConstraint(
            model_name='licensefile',
            constraint=models.UniqueConstraint(fields=('organization', 'md5'), name='one_license_file_per_organization_and_md5'),
        ),
        migrations.AddIndex(
            model_name='licensefiledownload',
            index=models.Index(fields=['file', '-at'], name='license_download_file'),
        ),
        migrations.AddIndex(
            model_name='licensefiledownload',
            index=models.Index(fields=['at'], name='license_download_at'),
        ),
        migrations.AddIndex(
            model_name='licenselist',
            index=models.Index(fields=['device', 'device_model_domain', '-asked_at'], name='license_list_latest'),
        ),
        migrations.AddIndex(
            model_name='licenselist',
            index=models.Index(fields=['asked_at'], name='license_list_asked_at'),
        ),
        migrations.AddIndex(
            model_name='licenselist',
            index=models.Index(condition=models.Q(('applied', True), ('consistence__isnull', False)), fields=['device', '-asked_at'], name='license_list_consistence'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(condition=models.Q(('enabled', True)), fields=['end_time'], name='license_enabled_end'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['end_time', 'id'], name='license_end'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(condition=models.Q(('device_model_domain', 0), ('in_other_inventory', False), _connector='OR'), fields=['end_time', 'id'], include=('device', 'type', 'enabled', 'name', 'west', 'south', 'east', 'north'), name='license_listed'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['begin_time', 'id'], name='license_begin'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['updated', 'id'], name='license_changes'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['license_id'], name='license_search_id'),
        ),
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(django.db.models.functions.text.Upper('device_sn'), name='license_search_bound_to'),
        ),
        migrations.AddConstraint(
            model_name='unlocklicense',
            constraint=models.UniqueConstraint(fields=('device', 'device_model_domain', 'license_id'), name='one_license_per_device_and_domain'),
        ),
    ]
