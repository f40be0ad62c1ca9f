"""Imports and exports that a worker carries out."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0017_preferences'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='FileJob',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('organization', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='file_jobs', to='organizations.organization', verbose_name='organization')),
                ('kind', models.CharField(choices=[('import', 'import'), ('export', 'export')], max_length=6, verbose_name='kind')),
                ('table', models.CharField(max_length=40, verbose_name='table')),
                ('format', models.CharField(choices=[('csv', 'CSV'), ('xlsx', 'XLSX')], max_length=4, verbose_name='format')),
                ('query', models.CharField(blank=True, help_text='The query string of the list that is exported.', max_length=2000, verbose_name='filter')),
                ('language', models.CharField(blank=True, help_text='Of the heads in the file.', max_length=16, verbose_name='language')),
                ('status', models.CharField(choices=[('waiting', 'waiting'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed')], default='waiting', max_length=9, verbose_name='status')),
                ('done', models.PositiveIntegerField(default=0, verbose_name='rows done')),
                ('total', models.PositiveIntegerField(blank=True, help_text='Empty: not counted yet.', null=True, verbose_name='rows')),
                ('errors', models.JSONField(blank=True, default=list, help_text='Each: its row, its code, the values of its sentence.', verbose_name='errors')),
                ('request_id', models.UUIDField(default=uuid.uuid4, editable=False, help_text='Of its rows in the audit trail.', verbose_name='request')),
                ('source', models.BinaryField(null=True, verbose_name='uploaded file')),
                ('result', models.BinaryField(null=True, verbose_name='file')),
                ('requested_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('requested_with', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey', verbose_name='API key')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('started', models.DateTimeField(blank=True, null=True, verbose_name='started')),
                ('finished', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
            ],
            options={
                'verbose_name': 'file job',
                'verbose_name_plural': 'file jobs',
                'ordering': ('-created', '-pk'),
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['organization', '-created'], name='file_job_organization'), models.Index(fields=['created'], name='file_job_created')],
            },
        ),
    ]
