"""Batches that start later, and calls that a schedule asked for."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0028_retired_and_ignored'),
    ]

    operations = [
        migrations.AddField(
            model_name='servicecall',
            name='by_schedule',
            field=models.BooleanField(db_default=False, default=False, help_text='Nobody asked for it: its failure is no news.', verbose_name='by schedule'),
        ),
        migrations.AddField(
            model_name='servicecallbatch',
            name='due_at',
            field=models.DateTimeField(blank=True, help_text='Empty: started when it was asked for.', null=True, verbose_name='due'),
        ),
        migrations.AddField(
            model_name='servicecallbatch',
            name='planned',
            field=models.JSONField(blank=True, help_text='Which docks it will ask, and for what; no secrets.', null=True, verbose_name='planned'),
        ),
        migrations.AddField(
            model_name='servicecallbatch',
            name='queue_seconds',
            field=models.PositiveIntegerField(blank=True, help_text='How long its calls wait for an offline dock, in seconds. Empty: not at all.', null=True, verbose_name='wait for docks'),
        ),
        migrations.AddField(
            model_name='servicecallbatch',
            name='started_at',
            field=models.DateTimeField(blank=True, help_text='When a worker started what was due.', null=True, verbose_name='started'),
        ),
    ]
