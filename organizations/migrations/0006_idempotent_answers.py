import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0005_fill_updated'),
    ]

    operations = [
        migrations.CreateModel(
            name='IdempotentAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('principal', models.CharField(help_text='Who asked: "key:12" or "user:3".', max_length=40)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(help_text='Keyed digest of method, path and body.', max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.TextField(help_text='JSON in ASCII.')),
                ('headers', models.JSONField(default=dict)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ('created',),
                'indexes': [models.Index(fields=['created'], name='idempotent_answer_created')],
                'constraints': [models.UniqueConstraint(fields=('principal', 'key'), name='one_answer_per_principal_and_key')],
            },
        ),
    ]
