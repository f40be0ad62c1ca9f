"""All tables as they are after the migrations that it replaces, for a new database; an older one goes through those."""

import django.db.models.deletion
from django.db import migrations, models

from mqtt_bridge.database.natural_sort import create_collation


class Migration(migrations.Migration):

    replaces = [
        ('mqtt_bridge', '0001_initial'),
        ('mqtt_bridge', '0002_index_onboarding'),
        ('mqtt_bridge', '0003_name_the_journal'),
        ('mqtt_bridge', '0004_left_to_others'),
        ('mqtt_bridge', '0005_passing_events'),
        ('mqtt_bridge', '0006_by_enrolment'),
        ('mqtt_bridge', '0007_certificates'),
        ('mqtt_bridge', '0008_index_lists'),
        ('mqtt_bridge', '0009_index_tid'),
        ('mqtt_bridge', '0010_drop_spare_index'),
        ('mqtt_bridge', '0011_names_of_fields'),
        ('mqtt_bridge', '0012_natural_sort'),
        ('mqtt_bridge', '0013_words_of_enrolment'),
    ]

    initial = True

    dependencies = [
        ('organizations', '0001_squashed_0022_words_of_enrolment'),
    ]

    operations = [
        create_collation(),
        migrations.CreateModel(
            name='Certificate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=40, unique=True)),
                ('place', models.CharField(max_length=300)),
                ('expires_at', models.DateTimeField()),
                ('refused_why', models.CharField(blank=True, max_length=200)),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'ordering': ('expires_at', 'name'),
            },
        ),
        migrations.CreateModel(
            name='Heartbeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('instance', models.CharField(max_length=100, unique=True, verbose_name='instance')),
                ('started_at', models.DateTimeField(verbose_name='started at')),
                ('beat_at', models.DateTimeField(verbose_name='beat at')),
                ('round_trip_ms', models.FloatField(verbose_name='round trip ms')),
                ('counters', models.JSONField(default=dict, verbose_name='counters')),
            ],
            options={
                'verbose_name': 'heartbeat',
                'verbose_name_plural': 'heartbeats',
            },
        ),
        migrations.CreateModel(
            name='Trace',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_sn', models.CharField(max_length=64, unique=True, verbose_name='device SN')),
                ('until', models.DateTimeField()),
                ('organization', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='traces', to='organizations.organization')),
            ],
        ),
        migrations.CreateModel(
            name='Exchange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_sn', models.CharField(max_length=64, verbose_name='gateway SN')),
                ('channel', models.CharField(choices=[('osd', 'osd'), ('state', 'state'), ('services', 'services'), ('services_reply', 'services_reply'), ('events', 'events'), ('events_reply', 'events_reply'), ('requests', 'requests'), ('requests_reply', 'requests_reply'), ('property/set', 'property/set'), ('property/set_reply', 'property/set_reply'), ('status', 'status'), ('status_reply', 'status_reply')], max_length=20, verbose_name='channel')),
                ('method', models.CharField(blank=True, max_length=64, verbose_name='method')),
                ('tid', models.CharField(blank=True, max_length=128, verbose_name='tid')),
                ('bid', models.CharField(blank=True, max_length=128, verbose_name='bid')),
                ('received_at', models.DateTimeField(verbose_name='received at')),
                ('device_time', models.DateTimeField(null=True, verbose_name='device time')),
                ('payload', models.TextField(blank=True, verbose_name='payload')),
                ('reply', models.TextField(blank=True, verbose_name='reply')),
                ('outcome', models.CharField(choices=[('answered', 'Answered'), ('ignored', 'Ignored'), ('quarantined', 'Quarantined'), ('error', 'Error'), ('left', 'Left')], max_length=12, verbose_name='outcome')),
                ('reason', models.CharField(blank=True, max_length=200, verbose_name='reason')),
                ('by_enrolment', models.BooleanField(db_default=False, default=False, help_text='If it did, its sender need not be this gateway: anybody may use an enrolment account.', verbose_name='through enrolment')),
                ('organization', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='exchanges', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'journal entry',
                'verbose_name_plural': 'journal',
                'ordering': ('-received_at', '-pk'),
                'indexes': [models.Index(fields=['gateway_sn', '-received_at'], name='exchange_gateway'), models.Index(fields=['organization', '-received_at'], name='exchange_organization'), models.Index(fields=['received_at'], name='exchange_received_at'), models.Index(condition=models.Q(('method__in', ('config', 'airport_bind_status', 'airport_organization_get', 'airport_organization_bind', 'update_topo'))), fields=['gateway_sn', 'method', '-received_at'], name='exchange_onboarding'), models.Index(fields=['channel', 'method', '-received_at'], name='exchange_method'), models.Index(fields=['tid'], name='exchange_tid'), models.Index(condition=models.Q(models.Q(('reason', ''), _negated=True), ('outcome__in', ['quarantined', 'error', 'left']), _connector='OR'), fields=['-received_at'], name='exchange_unusual'), models.Index(condition=models.Q(('outcome', 'left')), fields=['received_at'], name='exchange_left')],
            },
        ),
        migrations.CreateModel(
            name='PassingEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_sn', models.CharField(max_length=64, verbose_name='device SN')),
                ('method', models.CharField(blank=True, max_length=64)),
                ('count', models.PositiveBigIntegerField(help_text='Since `first_at`.')),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('payload', models.TextField(blank=True)),
                ('organization', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='passing_events', to='organizations.organization')),
            ],
            options={
                'ordering': ('-last_at', '-pk'),
                'constraints': [models.UniqueConstraint(fields=('gateway_sn', 'method'), name='one_passing_event_per_device_and_method')],
            },
        ),
    ]
