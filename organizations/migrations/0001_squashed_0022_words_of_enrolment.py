"""All tables as they are after the migrations that it replaces, for a new database; an older one goes through those."""

import django.contrib.auth.validators
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import organizations.encryption
import organizations.models.organizations
import organizations.time_zones
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [
        ('organizations', '0001_initial'),
        ('organizations', '0002_license_sync_hours'),
        ('organizations', '0003_api_keys'),
        ('organizations', '0004_updated'),
        ('organizations', '0005_fill_updated'),
        ('organizations', '0006_idempotent_answers'),
        ('organizations', '0007_device_limit_default'),
        ('organizations', '0008_invitation'),
        ('organizations', '0009_retention'),
        ('organizations', '0010_by_enrolment'),
        ('organizations', '0011_people'),
        ('organizations', '0012_strong_codes'),
        ('organizations', '0013_index_tried'),
        ('organizations', '0014_index_audit_search'),
        ('organizations', '0015_drop_spare_indexes'),
        ('organizations', '0016_zone_and_closing'),
        ('organizations', '0017_preferences'),
        ('organizations', '0018_file_jobs'),
        ('organizations', '0019_names'),
        ('organizations', '0020_file_jobs_at_work'),
        ('organizations', '0021_times_in_words'),
        ('organizations', '0022_words_of_enrolment'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('auth', '__first__'),
    ]

    operations = [
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('organization_id', models.CharField(default=organizations.models.organizations.new_organization_id, help_text='What DJI Pilot 2 asks for beside the dock. It cannot be changed later.', max_length=64, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9_-]{1,64}\\Z', 'Use 1 to 64 letters, digits, hyphens or underscores.')], verbose_name='organization ID')),
                ('name', models.CharField(help_text='Pilot 2 shows it to the technician for confirmation.', max_length=100, verbose_name='name')),
                ('is_active', models.BooleanField(default=True, help_text='No device binds to an inactive organization.', verbose_name='active')),
                ('device_limit', models.PositiveIntegerField(blank=True, default=1000, help_text='How many devices, docks and aircraft together. Empty: no limit.', null=True, verbose_name='device limit')),
                ('license_sync_hours', models.PositiveSmallIntegerField(blank=True, default=24, help_text='Hours after which the lists of unlock licenses of its docks are read again. Empty: never.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='read licenses every')),
                ('second_factor_required', models.BooleanField(db_default=False, default=False, help_text='A member without one must set it up before anything else, you too. API keys are not affected.', verbose_name='second factor required')),
                ('time_zone', models.CharField(blank=True, db_default='', default='', help_text='Of its sites that name no other, such as Asia/Shanghai. Empty: UTC.', max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone')),
                ('app_id', models.CharField(blank=True, max_length=64, verbose_name='DJI app ID')),
                ('app_key', organizations.encryption.EncryptedTextField(blank=True, verbose_name='DJI app key')),
                ('app_license', organizations.encryption.EncryptedTextField(blank=True, verbose_name='DJI app license')),
                ('closed_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='closed')),
                ('created', models.DateTimeField(auto_now_add=True, verbose_name='created')),
            ],
            options={
                'verbose_name': 'organization',
                'verbose_name_plural': 'organizations',
                'ordering': ('name', 'pk'),
            },
        ),
        migrations.CreateModel(
            name='Preference',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='preference', serialize=False, to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('language', models.CharField(blank=True, help_text="One of LANGUAGES. Empty: the browser's.", max_length=16, verbose_name='language')),
                ('time_zone', models.CharField(blank=True, help_text="Empty: the browser's.", max_length=64, validators=[organizations.time_zones.validate], verbose_name='time zone')),
                ('settings', models.JSONField(blank=True, default=dict, verbose_name='settings')),
            ],
            options={
                'verbose_name': 'preference',
                'verbose_name_plural': 'preferences',
            },
        ),
        migrations.CreateModel(
            name='BindingFailure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_sn', models.CharField(max_length=64, verbose_name='gateway SN')),
                ('by_enrolment', models.BooleanField(db_default=False, default=False, help_text='If it did, this gateway need not be the guesser; with its own account this one is not locked out.', verbose_name='through enrolment')),
                ('organization_id_tried', models.CharField(blank=True, max_length=64, verbose_name='organization ID tried')),
                ('pair_digest', models.CharField(editable=False, max_length=64)),
                ('reason', models.CharField(max_length=64, verbose_name='reason')),
                ('first_at', models.DateTimeField(auto_now_add=True, verbose_name='first tried')),
                ('last_at', models.DateTimeField(verbose_name='last tried')),
            ],
            options={
                'verbose_name': 'binding failure',
                'verbose_name_plural': 'binding failures',
                'ordering': ('-last_at',),
                'indexes': [models.Index(fields=['last_at'], name='binding_failure_last_at'), models.Index(fields=['organization_id_tried', 'last_at'], name='binding_failure_tried')],
                'constraints': [models.UniqueConstraint(fields=('gateway_sn', 'pair_digest'), name='one_failure_per_gateway_and_pair')],
            },
        ),
        migrations.CreateModel(
            name='IdempotentAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('principal', models.CharField(max_length=40)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.TextField()),
                ('headers', models.JSONField(default=dict)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ('created',),
                'indexes': [models.Index(fields=['created'], name='idempotent_answer_created')],
                'constraints': [models.UniqueConstraint(fields=('principal', 'key'), name='one_answer_per_principal_and_key')],
            },
        ),
        migrations.CreateModel(
            name='OrganizationAPIKey',
            fields=[
                ('hashed_key', models.CharField(editable=False, max_length=150)),
                ('revoked', models.BooleanField(blank=True, default=False, help_text='If the API key is revoked, clients cannot use it anymore. (This cannot be undone.)')),
                ('expiry_date', models.DateTimeField(blank=True, help_text='Once API key expires, clients cannot use it anymore.', null=True, verbose_name='Expires')),
                ('name', models.CharField(default=None, max_length=50, verbose_name='name')),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True, verbose_name='prefix')),
                ('created', models.DateTimeField(auto_now_add=True, db_index=True, verbose_name='created')),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('viewer', 'viewer: sees'), ('operator', 'operator: also commands docks'), ('manager', 'manager: also members, codes, release of devices')], default='viewer', max_length=10, verbose_name='role')),
                ('last_used', models.DateTimeField(blank=True, editable=False, help_text='To the minute.', null=True, verbose_name='last used')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'ordering': ('-created',),
            },
        ),
        migrations.CreateModel(
            name='FileJob',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('import', 'import'), ('export', 'export')], max_length=6, verbose_name='kind')),
                ('table', models.CharField(max_length=40, verbose_name='table')),
                ('format', models.CharField(choices=[('csv', 'CSV'), ('xlsx', 'XLSX')], max_length=4, verbose_name='format')),
                ('query', models.CharField(blank=True, help_text='The query string of the list that is exported.', max_length=2000, verbose_name='filter')),
                ('language', models.CharField(blank=True, help_text='Of the heads in the file.', max_length=16, verbose_name='language')),
                ('through', models.CharField(choices=[('admin', 'Admin'), ('api', 'API'), ('bridge', 'Bridge'), ('command', 'Command line'), ('schedule', 'Schedule')], db_default='admin', default='admin', max_length=10)),
                ('dry_run', models.BooleanField(db_default=False, default=False, help_text='It changes nothing, and shows what it would.', verbose_name='dry run')),
                ('role', models.CharField(blank=True, choices=[('viewer', 'viewer: sees'), ('operator', 'operator: also commands docks'), ('manager', 'manager: also members, codes, release of devices')], db_default='', default='', editable=False, max_length=10)),
                ('reach', models.JSONField(blank=True, db_default=[], default=list, editable=False)),
                ('status', models.CharField(choices=[('waiting', 'to be confirmed'), ('queued', 'waiting'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('canceled', 'canceled')], default='waiting', max_length=9, verbose_name='status')),
                ('done', models.PositiveIntegerField(default=0, verbose_name='rows done')),
                ('total', models.PositiveIntegerField(blank=True, help_text='Empty: not counted yet.', null=True, verbose_name='rows')),
                ('errors', models.JSONField(blank=True, default=list, help_text='Each: its row, its code, the values of its sentence.', verbose_name='errors')),
                ('request_id', models.UUIDField(default=uuid.uuid4, editable=False, help_text='Of its rows in the audit trail.', verbose_name='request')),
                ('outcome', models.JSONField(blank=True, db_default={}, default=dict, help_text='Of an import: how many rows, and which.', verbose_name='outcome')),
                ('source', models.BinaryField(null=True, verbose_name='uploaded file')),
                ('result', models.BinaryField(null=True, verbose_name='file')),
                ('size', models.PositiveBigIntegerField(db_default=0, default=0, help_text='Bytes of the file.', verbose_name='size')),
                ('stored', models.PositiveBigIntegerField(db_default=0, default=0)),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('started', models.DateTimeField(blank=True, null=True, verbose_name='started')),
                ('run', models.UUIDField(blank=True, editable=False, null=True)),
                ('runs', models.PositiveSmallIntegerField(db_default=0, default=0, editable=False)),
                ('alive_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('finished', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
                ('requested_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('organization', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='file_jobs', to='organizations.organization', verbose_name='organization')),
                ('requested_with', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey', verbose_name='API key')),
            ],
            options={
                'verbose_name': 'file',
                'verbose_name_plural': 'files',
                'ordering': ('-created', '-pk'),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='time')),
                ('request_id', models.UUIDField(default=uuid.uuid4, verbose_name='request ID')),
                ('through', models.CharField(choices=[('admin', 'Admin'), ('api', 'API'), ('bridge', 'Bridge'), ('command', 'Command line'), ('schedule', 'Schedule')], max_length=10, verbose_name='through')),
                ('action', models.CharField(max_length=40, verbose_name='action')),
                ('object_type', models.CharField(max_length=60, verbose_name='object type')),
                ('object_id', models.CharField(max_length=64, verbose_name='object ID')),
                ('object_name', models.CharField(blank=True, max_length=200, verbose_name='object name')),
                ('before', models.JSONField(blank=True, default=dict, verbose_name='before')),
                ('after', models.JSONField(blank=True, default=dict, verbose_name='after')),
                ('user', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('organization', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organization', verbose_name='organization')),
                ('api_key', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey', verbose_name='API key')),
            ],
            options={
                'verbose_name': 'audit event',
                'verbose_name_plural': 'audit events',
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='RecoveryCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='recovery_codes', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'recovery code',
                'verbose_name_plural': 'recovery codes',
            },
        ),
        migrations.CreateModel(
            name='SavedFilter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('page', models.CharField(help_text='The name of its URL.', max_length=100, verbose_name='list')),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('query', models.CharField(help_text='A query string, without the question mark.', max_length=2000, verbose_name='filter')),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='saved_filters', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'saved filter',
                'verbose_name_plural': 'saved filters',
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='SecondFactor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret', organizations.encryption.EncryptedTextField()),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('confirmed_at', models.DateTimeField(blank=True, null=True)),
                ('last_step', models.BigIntegerField(default=0)),
                ('wrong_codes', models.PositiveSmallIntegerField(default=0)),
                ('locked_until', models.DateTimeField(blank=True, null=True)),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='second_factor', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'second factor',
                'verbose_name_plural': 'second factors',
            },
        ),
        migrations.CreateModel(
            name='UserSession',
            fields=[
                ('session_key', models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name='session key')),
                ('session_data', models.TextField(verbose_name='session data')),
                ('expire_date', models.DateTimeField(db_index=True, verbose_name='expire date')),
                ('address', models.CharField(max_length=45)),
                ('browser', models.CharField(max_length=300)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_used', models.DateTimeField(default=django.utils.timezone.now)),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='sessions', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'session',
                'verbose_name_plural': 'sessions',
            },
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
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'viewer: sees'), ('operator', 'operator: also commands docks'), ('manager', 'manager: also members, codes, release of devices')], default='viewer', max_length=10, verbose_name='role')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL, verbose_name='user')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'membership',
                'verbose_name_plural': 'memberships',
                'ordering': ('organization', 'user'),
                'constraints': [models.UniqueConstraint(fields=('user', 'organization'), name='one_membership_per_user_and_organization')],
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('username', models.CharField(max_length=150, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('role', models.CharField(choices=[('viewer', 'viewer: sees'), ('operator', 'operator: also commands docks'), ('manager', 'manager: also members, codes, release of devices')], default='viewer', max_length=10, verbose_name='role')),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('expires_at', models.DateTimeField(editable=False, verbose_name='expires at')),
                ('accepted_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='accepted at')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked at')),
                ('created', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'invitation',
                'verbose_name_plural': 'invitations',
                'ordering': ('-created',),
                'indexes': [models.Index(fields=['expires_at'], name='invitation_expires_at')],
            },
        ),
        migrations.CreateModel(
            name='BindingCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('updated', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('label', models.CharField(blank=True, help_text='For whom or which site, for your own overview.', max_length=100, verbose_name='label')),
                ('digest', models.CharField(editable=False, max_length=64)),
                ('hint', models.CharField(editable=False, max_length=4, verbose_name='ends in')),
                ('is_strong', models.BooleanField(db_default=False, default=False, editable=False)),
                ('expires_at', models.DateTimeField(blank=True, help_text='Empty: never.', null=True, verbose_name='expires at')),
                ('max_uses', models.PositiveIntegerField(blank=True, help_text='A dock with its aircraft is one use. Empty: no limit.', null=True, verbose_name='max uses')),
                ('uses', models.PositiveIntegerField(default=0, editable=False, verbose_name='uses')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked at')),
                ('created', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='binding_codes', to='organizations.organization', verbose_name='organization')),
            ],
            options={
                'verbose_name': 'binding code',
                'verbose_name_plural': 'binding codes',
                'ordering': ('-created',),
                'constraints': [models.UniqueConstraint(fields=('organization', 'digest'), name='one_binding_code_per_organization')],
            },
        ),
        migrations.AddIndex(
            model_name='filejob',
            index=models.Index(fields=['organization', '-created'], name='file_job_organization'),
        ),
        migrations.AddIndex(
            model_name='filejob',
            index=models.Index(fields=['created'], name='file_job_created'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['object_type', 'object_id', '-at'], name='audit_event_object'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['organization', '-at'], name='audit_event_organization'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['at'], name='audit_event_at'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('user__isnull', False)), fields=['user'], name='audit_event_user'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('api_key__isnull', False)), fields=['api_key'], name='audit_event_api_key'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['action', '-at'], name='audit_event_action'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['object_name', '-at'], name='audit_event_object_name'),
        ),
        migrations.AddConstraint(
            model_name='recoverycode',
            constraint=models.UniqueConstraint(fields=('user', 'digest'), name='one_recovery_code_per_user'),
        ),
        migrations.AddConstraint(
            model_name='savedfilter',
            constraint=models.UniqueConstraint(fields=('user', 'page', 'name'), name='one_saved_filter_per_list_and_name'),
        ),
    ]
