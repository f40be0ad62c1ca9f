"""All tables as they are after the migrations that it replaces, for a new database; an older one goes through those."""

import devices.models.calls
import devices.models.devices
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import organizations.encryption
import organizations.time_zones
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [
        ('devices', '0001_initial'),
        ('devices', '0002_service_calls'),
        ('devices', '0003_list_service_calls'),
        ('devices', '0004_api_keys'),
        ('devices', '0005_updated'),
        ('devices', '0006_fill_updated'),
        ('devices', '0007_index_updated'),
        ('devices', '0008_index_idempotency_keys'),
        ('devices', '0009_pairing'),
        ('devices', '0010_fill_pairings'),
        ('devices', '0011_refused_messages'),
        ('devices', '0012_unknown_account'),
        ('devices', '0013_device_created_default'),
        ('devices', '0014_claim'),
        ('devices', '0015_fill_claim'),
        ('devices', '0016_retention'),
        ('devices', '0017_uninvited'),
        ('devices', '0018_broker_accounts'),
        ('devices', '0019_enrolled'),
        ('devices', '0020_connections'),
        ('devices', '0021_told'),
        ('devices', '0022_fill_named'),
        ('devices', '0023_index_lists'),
        ('devices', '0024_drop_spare_indexes'),
        ('devices', '0025_drop_device_indexes'),
        ('devices', '0026_state_defaults'),
        ('devices', '0027_sites_and_labels'),
        ('devices', '0028_retired_and_ignored'),
        ('devices', '0029_scheduled_calls'),
        ('devices', '0030_acknowledgements'),
        ('devices', '0031_index_moving'),
        ('devices', '0032_commands'),
        ('devices', '0033_names'),
        ('devices', '0034_names_of_fields'),
        ('devices', '0035_index_changes'),
        ('devices', '0036_attempts'),
    ]

    initial = True

    dependencies = [
        ('auth', '__first__'),
        ('organizations', '0001_squashed_0022_words_of_enrolment'),
    ]

    operations = [
        migrations.CreateModel(
            name='ServiceCall',
            fields=[
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('method', models.CharField(max_length=64, verbose_name='method')),
                ('subject', models.CharField(blank=True, help_text='Of what only one call may be open per dock.', max_length=128, verbose_name='subject')),
                ('data', models.JSONField(default=dict, help_text='What the service is given; secrets as ***.', verbose_name='data')),
                ('tid', models.CharField(default=devices.models.calls.new_id, editable=False, max_length=64, unique=True, verbose_name='tid')),
                ('bid', models.CharField(default=devices.models.calls.new_id, editable=False, max_length=64, unique=True, verbose_name='bid')),
                ('status', models.CharField(choices=[('queued', 'waiting to be sent'), ('sent', 'sent'), ('accepted', 'accepted'), ('in_progress', 'in progress'), ('paused', 'paused'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('rejected', 'rejected'), ('canceled', 'canceled'), ('timed_out', 'no answer'), ('expired', 'not sent')], default='queued', max_length=16, verbose_name='status')),
                ('late', models.BooleanField(default=False, help_text='The end came after we had given up waiting.', verbose_name='late')),
                ('percent', models.PositiveSmallIntegerField(null=True, verbose_name='percent')),
                ('result_code', models.BigIntegerField(help_text="The dock's.", null=True, verbose_name='result code')),
                ('result_text', models.TextField(blank=True, verbose_name='result text')),
                ('output', models.JSONField(default=dict, help_text='What the dock told beside the result.', verbose_name='output')),
                ('version', models.PositiveIntegerField(default=1, help_text='Rises by one with every change.', verbose_name='version')),
                ('note', models.TextField(blank=True, verbose_name='note')),
                ('idempotency_key', models.CharField(blank=True, max_length=255, verbose_name='idempotency key')),
                ('queue', models.BooleanField(default=False, help_text='Wait for the dock to come online.', verbose_name='queue')),
                ('by_schedule', models.BooleanField(db_default=False, default=False, help_text='Nobody asked for it: its failure is no news.', verbose_name='by schedule')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('sent', models.DateTimeField(null=True, verbose_name='sent')),
                ('tried_at', models.DateTimeField(help_text='When the broker last had no dock to hand it to.', null=True, verbose_name='tried')),
                ('retry_at', models.DateTimeField(null=True, verbose_name='tried again')),
                ('replied', models.DateTimeField(null=True, verbose_name='replied')),
                ('closed', models.DateTimeField(null=True, verbose_name='closed')),
                ('expires', models.DateTimeField(default=devices.models.calls.in_a_minute, help_text='Not sent any more after this.', verbose_name='expires')),
                ('deadline', models.DateTimeField(help_text='Not waited for any longer; moves with every event.', null=True, verbose_name='deadline')),
            ],
            options={
                'verbose_name': 'command',
                'verbose_name_plural': 'commands',
                'ordering': ('-created',),
            },
        ),
        migrations.CreateModel(
            name='Device',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('sn', models.CharField(max_length=64, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\\Z', '1 to 64 letters, digits, hyphens or underscores, no leading sign.')], verbose_name='serial number')),
                ('model_key', models.CharField(blank=True, help_text="DJI's domain-type-sub_type, such as 3-2-0. Filled in by the device.", max_length=32, verbose_name='model key')),
                ('callsign', models.CharField(blank=True, max_length=128, verbose_name='callsign')),
                ('is_enabled', models.BooleanField(default=True, help_text='A disabled device gets no DJI license and cannot be bound.', verbose_name='enabled')),
                ('claim', models.CharField(blank=True, choices=[('', 'nobody owns it'), ('code', 'it brought a binding code itself'), ('enrol', 'it brought a binding code through enrolment'), ('person', 'a person added it'), ('named', "its owner's dock named it")], editable=False, help_text='What makes its organization the owner.', max_length=6, verbose_name='claim')),
                ('bound_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='bound at')),
                ('enrolled_at', models.DateTimeField(blank=True, editable=False, help_text='When something last came through enrolment for this serial number, which proves nothing.', null=True, verbose_name='enrolled at')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('retired_at', models.DateTimeField(blank=True, editable=False, help_text='It is not used any more. Its history stays.', null=True, verbose_name='retired')),
                ('ignored_at', models.DateTimeField(blank=True, editable=False, help_text="Nobody's, and meant to stay so.", null=True, verbose_name='ignored')),
                ('bound_with', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='devices', to='organizations.bindingcode', verbose_name='bound with')),
                ('gateway', models.ForeignKey(blank=True, help_text='The dock that an aircraft belongs to, switched on or off; none for docks.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='carried', to='devices.device', verbose_name='gateway')),
                ('organization', models.ForeignKey(blank=True, db_index=False, help_text='Empty: unclaimed.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='devices', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'device',
                'verbose_name_plural': 'devices',
                'ordering': ('callsign', 'sn'),
            },
            bases=(devices.models.devices.Standing, models.Model),
        ),
        migrations.CreateModel(
            name='DockConnection',
            fields=[
            ],
            options={
                'verbose_name': 'connection',
                'verbose_name_plural': 'connections',
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('devices.device',),
        ),
        migrations.CreateModel(
            name='DeviceAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('username', models.CharField(blank=True, max_length=128)),
                ('status', models.CharField(choices=[('logged_out', 'logged out'), ('logging_in', 'logging in'), ('verification_required', 'verification required'), ('logged_in', 'logged in'), ('failed', 'failed'), ('unknown', 'unknown: the dock may be logged in')], default='logged_out', max_length=24)),
                ('verification_code_url', models.CharField(blank=True, help_text='Where to get the code; https only.', max_length=2048)),
                ('before', models.JSONField(default=dict, editable=False, help_text='What holds again if an attempt never reaches the dock.')),
                ('updated', models.DateTimeField(auto_now=True)),
                ('device', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='account', to='devices.device')),
            ],
        ),
        migrations.CreateModel(
            name='Label',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=40, verbose_name='name')),
                ('colour', models.CharField(choices=[('grey', 'grey'), ('blue', 'blue'), ('green', 'green'), ('yellow', 'yellow'), ('red', 'red'), ('purple', 'purple')], default='grey', max_length=6, verbose_name='colour')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='labels', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'label',
                'verbose_name_plural': 'labels',
                'ordering': ('name', 'pk'),
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
            },
        ),
        migrations.AddField(
            model_name='device',
            name='labels',
            field=models.ManyToManyField(blank=True, related_name='devices', through='devices.DeviceLabel', to='devices.label', verbose_name='labels'),
        ),
        migrations.CreateModel(
            name='Pairing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField(help_text='Empty: it still belongs there.', null=True)),
                ('witness', models.CharField(choices=[('bind', 'bind request of the dock'), ('topology', 'topology of the dock'), ('dock', 'properties of the dock'), ('aircraft', 'properties of the aircraft'), ('release', 'release'), ('record', 'earlier record')], help_text='Who said first that it belongs there.', max_length=8)),
                ('ended_by', models.CharField(blank=True, choices=[('bind', 'bind request of the dock'), ('topology', 'topology of the dock'), ('dock', 'properties of the dock'), ('aircraft', 'properties of the aircraft'), ('release', 'release'), ('record', 'earlier record')], max_length=8)),
                ('linked_since', models.DateTimeField(help_text='Empty: switched off, or linked through another dock.', null=True)),
                ('is_heard', models.BooleanField(default=False, help_text='Whether the aircraft said so, too.')),
                ('changed_at', models.DateTimeField(help_text='What was said before this moment is out of date.')),
                ('remark', models.CharField(blank=True, help_text="Why it does not belong to the dock's owner.", max_length=200)),
                ('aircraft', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='dock_pairings', to='devices.device')),
                ('dock', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='aircraft_pairings', to='devices.device')),
            ],
            options={
                'ordering': ('-since', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='ServiceCallSecret',
            fields=[
                ('call', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='secret', serialize=False, to='devices.servicecall')),
                ('sealed', organizations.encryption.EncryptedTextField(editable=False)),
                ('expires', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='servicecall',
            name='device',
            field=models.ForeignKey(db_index=False, help_text='The gateway asked.', on_delete=django.db.models.deletion.PROTECT, related_name='service_calls', to='devices.device', verbose_name='device'),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='organization',
            field=models.ForeignKey(db_index=False, help_text='Whose device it was then.', on_delete=django.db.models.deletion.PROTECT, related_name='service_calls', to='organizations.organization', verbose_name='organization'),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='requested_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='service_calls', to=settings.AUTH_USER_MODEL, verbose_name='requested by'),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='requested_with',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='service_calls', to='organizations.organizationapikey', verbose_name='requested with'),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='retry_of',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='retries', to='devices.servicecall', verbose_name='retry of'),
        ),
        migrations.CreateModel(
            name='ServiceCallBatch',
            fields=[
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('method', models.CharField(max_length=64, verbose_name='method')),
                ('data', models.JSONField(default=dict, verbose_name='data')),
                ('skipped', models.JSONField(default=list, help_text='Docks that got no call: [{sn, callsign, reason}].', verbose_name='skipped')),
                ('note', models.TextField(blank=True, verbose_name='note')),
                ('created', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('stopped', models.DateTimeField(help_text='When somebody stopped what was not sent by then.', null=True, verbose_name='stopped')),
                ('due_at', models.DateTimeField(blank=True, help_text='Empty: started when it was asked for.', null=True, verbose_name='due')),
                ('planned', models.JSONField(blank=True, help_text='Which docks it will ask, and for what; no secrets.', null=True, verbose_name='planned')),
                ('queue_seconds', models.PositiveIntegerField(blank=True, help_text='How long its calls wait for an offline dock, in seconds. Empty: not at all.', null=True, verbose_name='wait for docks')),
                ('started_at', models.DateTimeField(blank=True, help_text='When a worker started what was due.', null=True, verbose_name='started')),
                ('organization', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='service_call_batches', to='organizations.organization', verbose_name='organization')),
                ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='requested by')),
                ('requested_with', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey', verbose_name='requested with')),
            ],
            options={
                'verbose_name': 'batch of commands',
                'verbose_name_plural': 'batches of commands',
                'ordering': ('-created',),
            },
        ),
        migrations.AddField(
            model_name='servicecall',
            name='batch',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='devices.servicecallbatch', verbose_name='batch'),
        ),
        migrations.CreateModel(
            name='ServiceCallEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField()),
                ('at', models.DateTimeField()),
                ('source', models.CharField(choices=[('issued', 'asked for'), ('worker', 'this server'), ('reply', 'reply of the dock'), ('event', 'event of the dock'), ('person', 'a person'), ('clock', 'time ran out')], max_length=8)),
                ('status', models.CharField(choices=[('queued', 'waiting to be sent'), ('sent', 'sent'), ('accepted', 'accepted'), ('in_progress', 'in progress'), ('paused', 'paused'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('rejected', 'rejected'), ('canceled', 'canceled'), ('timed_out', 'no answer'), ('expired', 'not sent')], max_length=16)),
                ('percent', models.PositiveSmallIntegerField(null=True)),
                ('result_code', models.BigIntegerField(null=True)),
                ('text', models.TextField(blank=True)),
                ('call', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='devices.servicecall')),
            ],
            options={
                'ordering': ('call', 'version'),
            },
        ),
        migrations.CreateModel(
            name='Site',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, verbose_name='name')),
                ('place', models.CharField(blank=True, help_text='An address, or how to get there.', max_length=200, verbose_name='place')),
                ('latitude', models.FloatField(blank=True, help_text='Degrees north, WGS 84.', null=True, validators=[django.core.validators.MinValueValidator(-90), django.core.validators.MaxValueValidator(90)], verbose_name='latitude')),
                ('longitude', models.FloatField(blank=True, help_text='Degrees east, WGS 84.', null=True, validators=[django.core.validators.MinValueValidator(-180), django.core.validators.MaxValueValidator(180)], verbose_name='longitude')),
                ('time_zone', models.CharField(blank=True, help_text="Such as Asia/Shanghai. Empty: the organization's.", max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sites', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'site',
                'verbose_name_plural': 'sites',
                'ordering': ('name', 'pk'),
            },
        ),
        migrations.AddField(
            model_name='device',
            name='site',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='devices', to='devices.site', verbose_name='site'),
        ),
        migrations.CreateModel(
            name='DeviceState',
            fields=[
                ('device', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='state', serialize=False, to='devices.device')),
                ('online', models.BooleanField(db_default=False, default=False)),
                ('last_seen', models.DateTimeField(null=True)),
                ('connected_since', models.DateTimeField(null=True)),
                ('firmware_version', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('latitude', models.FloatField(null=True)),
                ('longitude', models.FloatField(null=True)),
                ('mode_code', models.IntegerField(null=True)),
                ('properties', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ('clock_skew_ms', models.BigIntegerField(null=True)),
                ('cleared_at', models.DateTimeField(help_text='Telemetry from before belongs to a former owner.', null=True)),
                ('refused', models.PositiveBigIntegerField(db_default=0, default=0, help_text='Messages and values that could not be read.')),
                ('refused_at', models.DateTimeField(help_text='When the last of them came.', null=True)),
                ('refused_why', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('told', models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, help_text='When the newest message of each kind arrived, in ms since 1970; of the last minute.')),
                ('named', models.CharField(blank=True, db_default='', default='', help_text='The aircraft that the dock named last, once that is learnt.', max_length=64)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('online', True)), fields=['last_seen'], name='device_state_online_last_seen')],
            },
        ),
        migrations.CreateModel(
            name='BrokerAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('username', models.CharField(editable=False, max_length=80, unique=True, verbose_name='user name')),
                ('kind', models.CharField(choices=[('dock', "dock's own"), ('enrolment', 'enrolment')], editable=False, max_length=9, verbose_name='kind')),
                ('label', models.CharField(blank=True, help_text='For whom or which site, for your own overview.', max_length=100, verbose_name='label')),
                ('digest', models.CharField(editable=False, max_length=88, verbose_name='digest')),
                ('salt', models.CharField(editable=False, max_length=24, verbose_name='salt')),
                ('iterations', models.PositiveIntegerField(default=101, editable=False, verbose_name='iterations')),
                ('pending', organizations.encryption.EncryptedTextField(blank=True, default='', editable=False, help_text='The secret, until the broker has it. Empty with EMQX.', verbose_name='pending')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('expires_at', models.DateTimeField(blank=True, help_text='Empty: never.', null=True, verbose_name='expires at')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked at')),
                ('applied_at', models.DateTimeField(blank=True, editable=False, help_text='When the broker took the last change.', null=True, verbose_name='applied at')),
                ('last_connected_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='last connected at')),
                ('last_address', models.CharField(blank=True, default='', editable=False, max_length=64, verbose_name='last address')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by')),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='broker_accounts', to='organizations.organization', verbose_name='organization')),
                ('device', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='broker_accounts', to='devices.device', verbose_name='device')),
            ],
            options={
                'verbose_name': 'broker account',
                'verbose_name_plural': 'broker accounts',
                'ordering': ('-created', '-pk'),
                'indexes': [models.Index(fields=['organization', 'kind', '-created'], name='broker_account_organization'), models.Index(condition=models.Q(('revoked_at', None)), fields=['expires_at'], name='broker_account_expires_at'), models.Index(condition=models.Q(('pending', ''), _negated=True), fields=['id'], name='broker_account_pending')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('device__isnull', False), ('kind', 'dock')), models.Q(('device__isnull', True), ('kind', 'enrolment')), _connector='OR'), name='broker_account_of_a_dock_or_for_enrolment')],
            },
        ),
        migrations.CreateModel(
            name='Acknowledgement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(help_text='A name in KINDS of cloudapi/attention.', max_length=40, verbose_name='problem')),
                ('count', models.PositiveIntegerField(default=1, help_text='How many rows had the problem then.', verbose_name='count')),
                ('reason', models.CharField(blank=True, max_length=200, verbose_name='reason')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='at')),
                ('until', models.DateTimeField(help_text='From then on the start page shows the problem again.', verbose_name='until')),
                ('by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='by')),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='acknowledgements', to='organizations.organization', verbose_name='organization')),
                ('device', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='acknowledgements', to='devices.device', verbose_name='device')),
            ],
            options={
                'verbose_name': 'acknowledgement',
                'verbose_name_plural': 'acknowledgements',
                'ordering': ('-at', '-pk'),
                'indexes': [models.Index(fields=['until'], name='acknowledgement_until')],
            },
        ),
        migrations.AddConstraint(
            model_name='label',
            constraint=models.UniqueConstraint(fields=('organization', 'name'), name='one_label_per_organization_and_name'),
        ),
        migrations.AddConstraint(
            model_name='devicelabel',
            constraint=models.UniqueConstraint(fields=('device', 'label'), name='one_device_label_per_device_and_label'),
        ),
        migrations.AddIndex(
            model_name='pairing',
            index=models.Index(condition=models.Q(('until__isnull', False)), fields=['until'], name='pairing_ended'),
        ),
        migrations.AddConstraint(
            model_name='pairing',
            constraint=models.UniqueConstraint(condition=models.Q(('until', None)), fields=('dock', 'aircraft'), name='one_open_pairing_per_dock_and_aircraft'),
        ),
        migrations.AddIndex(
            model_name='servicecallbatch',
            index=models.Index(fields=['created'], name='batch_created'),
        ),
        migrations.AddIndex(
            model_name='servicecallbatch',
            index=models.Index(condition=models.Q(('due_at__isnull', False), ('started_at', None)), fields=['due_at'], name='batch_due'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['-created'], name='call_list'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['organization', '-created'], name='call_organization_list'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['device', '-created'], name='call_device_list'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['organization', 'updated', 'id'], name='call_changes'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['updated', 'id'], name='call_all_changes'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_key'], name='call_idempotency_key'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['method', '-created'], name='call_method'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['organization', 'requested_by'], name='call_organization_person'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(condition=models.Q(('status', 'succeeded'), _negated=True), fields=['status', '-created'], name='call_unsuccessful'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(condition=models.Q(('status__in', ['queued', 'sent', 'accepted', 'in_progress', 'paused'])), fields=['status', 'expires'], name='call_open'),
        ),
        migrations.AddConstraint(
            model_name='servicecall',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ['queued', 'sent', 'accepted', 'in_progress', 'paused'])), fields=('device', 'subject'), name='one_open_call_per_device_and_subject'),
        ),
        migrations.AddConstraint(
            model_name='servicecallevent',
            constraint=models.UniqueConstraint(fields=('call', 'version'), name='one_event_per_version'),
        ),
        migrations.AddConstraint(
            model_name='site',
            constraint=models.UniqueConstraint(fields=('organization', 'name'), name='one_site_per_organization_and_name'),
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(fields=['organization', 'callsign', 'sn'], name='device_organization_list'),
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(fields=['organization', 'updated', 'id'], name='device_changes'),
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(condition=models.Q(('organization', None), models.Q(('bound_with', None), ('claim', 'named')), _connector='OR'), fields=['id'], name='device_uninvited'),
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(condition=models.Q(('site__isnull', False)), fields=['site'], name='device_site'),
        ),
        migrations.AddIndex(
            model_name='device',
            index=models.Index(condition=models.Q(('retired_at__isnull', False)), fields=['retired_at'], name='device_retired'),
        ),
    ]
