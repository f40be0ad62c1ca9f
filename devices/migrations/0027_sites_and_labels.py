"""Sites and labels, by which organizations group their devices."""

import django.core.validators
import django.db.models.deletion
import organizations.time_zones
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0026_state_defaults'),
        ('organizations', '0014_index_audit_search'),
    ]

    operations = [
        migrations.CreateModel(
            name='Site',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sites', to='organizations.organization', verbose_name='organization')),
                ('name', models.CharField(max_length=100, verbose_name='name')),
                ('place', models.CharField(blank=True, help_text='An address, or how to get there.', max_length=200, verbose_name='place')),
                ('latitude', models.FloatField(blank=True, help_text='Degrees north, WGS 84.', null=True, validators=[django.core.validators.MinValueValidator(-90), django.core.validators.MaxValueValidator(90)], verbose_name='latitude')),
                ('longitude', models.FloatField(blank=True, help_text='Degrees east, WGS 84.', null=True, validators=[django.core.validators.MinValueValidator(-180), django.core.validators.MaxValueValidator(180)], verbose_name='longitude')),
                ('time_zone', models.CharField(blank=True, help_text="Such as Asia/Shanghai. Empty: the organization's.", max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone')),
            ],
            options={
                'verbose_name': 'site',
                'verbose_name_plural': 'sites',
                'ordering': ('name', 'pk'),
                'constraints': [models.UniqueConstraint(fields=('organization', 'name'), name='one_site_per_organization_and_name')],
            },
        ),
        migrations.CreateModel(
            name='Label',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='labels', to='organizations.organization', verbose_name='organization')),
                ('name', models.CharField(max_length=40, verbose_name='name')),
                ('colour', models.CharField(choices=[('grey', 'grey'), ('blue', 'blue'), ('green', 'green'), ('yellow', 'yellow'), ('red', 'red'), ('purple', 'purple')], default='grey', max_length=6, verbose_name='colour')),
            ],
            options={
                'verbose_name': 'label',
                'verbose_name_plural': 'labels',
                'ordering': ('name', 'pk'),
                'constraints': [models.UniqueConstraint(fields=('organization', 'name'), name='one_label_per_organization_and_name')],
            },
        ),
        migrations.CreateModel(
            name='DeviceLabel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('device', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='device_labels', to='devices.device', verbose_name='device')),
                ('label', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='device_labels', to='devices.label', verbose_name='label')),
            ],
            options={
                'verbose_name': 'label of a device',
                'verbose_name_plural': 'labels of devices',
                'constraints': [models.UniqueConstraint(fields=('device', 'label'), name='one_device_label_per_device_and_label')],
            },
        ),
        migrations.AddField(
            model_name='device',
            name='labels',
            field=models.ManyToManyField(blank=True, related_name='devices', through='devices.DeviceLabel', to='devices.label', verbose_name='labels'),
        ),
    ]
