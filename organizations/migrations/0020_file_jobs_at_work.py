"""What workers note on imports and exports, and their files in pieces."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0019_names'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='filejob',
            options={'base_manager_name': 'objects', 'ordering': ('-created', '-pk'), 'verbose_name': 'file', 'verbose_name_plural': 'files'},
        ),
        migrations.AddField(
            model_name='filejob',
            name='alive_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='filejob',
            name='dry_run',
            field=models.BooleanField(db_default=False, default=False, help_text='It changes nothing, and shows what it would.', verbose_name='dry run'),
        ),
        migrations.AddField(
            model_name='filejob',
            name='outcome',
            field=models.JSONField(blank=True, db_default={}, default=dict, help_text='Of an import: how many rows, and which.', verbose_name='outcome'),
        ),
        migrations.AddField(
            model_name='filejob',
            name='reach',
            field=models.JSONField(blank=True, db_default=[], default=list, editable=False),
        ),
        migrations.AddField(
            model_name='filejob',
            name='role',
            field=models.CharField(blank=True, choices=[('viewer', 'viewer: sees'), ('operator', 'operator: also commands docks'), ('manager', 'manager: also members, codes, release of devices')], db_default='', default='', editable=False, max_length=10),
        ),
        migrations.AddField(
            model_name='filejob',
            name='run',
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='filejob',
            name='runs',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='filejob',
            name='size',
            field=models.PositiveBigIntegerField(db_default=0, default=0, help_text='Bytes of the file.', verbose_name='size'),
        ),
        migrations.AddField(
            model_name='filejob',
            name='stored',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='filejob',
            name='through',
            field=models.CharField(choices=[('admin', 'Admin'), ('api', 'API'), ('bridge', 'Bridge'), ('command', 'Command line'), ('schedule', 'Schedule')], db_default='admin', default='admin', max_length=10),
        ),
        migrations.AlterField(
            model_name='filejob',
            name='status',
            field=models.CharField(choices=[('waiting', 'to be confirmed'), ('queued', 'waiting'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('canceled', 'canceled')], default='waiting', max_length=9, verbose_name='status'),
        ),
        migrations.CreateModel(
            name='FilePiece',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('data', models.BinaryField()),
                ('job', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='pieces', to='organizations.filejob')),
            ],
            options={
                'ordering': ('job', 'number'),
                'constraints': [models.UniqueConstraint(fields=('job', 'number'), name='one_piece_of_a_number')],
            },
        ),
    ]
