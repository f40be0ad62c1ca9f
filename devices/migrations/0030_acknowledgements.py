"""Problems of the start page that somebody knows of."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0029_scheduled_calls'),
        ('organizations', '0014_index_audit_search'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Acknowledgement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='acknowledgements', to='organizations.organization', verbose_name='organization')),
                ('kind', models.CharField(help_text='A name in KINDS of cloudapi/attention.', max_length=40, verbose_name='problem')),
                ('device', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='acknowledgements', to='devices.device', verbose_name='device')),
                ('count', models.PositiveIntegerField(default=1, help_text='How many rows had the problem then.', verbose_name='count')),
                ('reason', models.CharField(blank=True, max_length=200, verbose_name='reason')),
                ('by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='by')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='at')),
                ('until', models.DateTimeField(help_text='From then on the start page shows the problem again.', verbose_name='until')),
            ],
            options={
                'verbose_name': 'acknowledgement',
                'verbose_name_plural': 'acknowledgements',
                'ordering': ('-at', '-pk'),
                'indexes': [models.Index(fields=['until'], name='acknowledgement_until')],
            },
        ),
    ]
