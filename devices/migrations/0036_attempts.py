"""Calls that wait for their dock know when it was last tried, and when it is again."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0035_index_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='servicecall',
            name='retry_at',
            field=models.DateTimeField(null=True, verbose_name='tried again'),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='tried_at',
            field=models.DateTimeField(help_text='When the broker last had no dock to hand it to.', null=True, verbose_name='tried'),
        ),
        migrations.AlterField(
            model_name='servicecallevent',
            name='source',
            field=models.CharField(choices=[('issued', 'asked for'), ('worker', 'this server'), ('reply', 'reply of the dock'), ('event', 'event of the dock'), ('person', 'a person'), ('clock', 'time ran out')], max_length=8),
        ),
    ]
