"""One row of every model that the admin shows, in Alice's organization and in Charlie's."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from devices.broker import accounts
from devices.models import (
    Acknowledgement,
    Device,
    DeviceAccount,
    DeviceLabel,
    DeviceState,
    Label,
    ServiceCall,
    ServiceCallBatch,
    ServiceCallEvent,
    Site,
)
from licenses import files
from licenses.models import LicenseEvent, LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange, Heartbeat
from organizations import api_keys, audit, codes, credentials, invitations
from organizations.models import AuditEvent, BindingFailure, FileJob, Preference, Role, SavedFilter


def furnish(organization, user, prefix):
    """Give an organization a row of everything."""
    now = timezone.now()
    actor = audit.Actor(AuditEvent.Through.COMMAND, user=user)
    code, _ = codes.issue(actor=actor, organization=organization, label=f"{prefix} code", max_uses=2)
    key, _ = api_keys.issue(actor=actor, organization=organization, name=f"{prefix} key", role=Role.OPERATOR)
    invitations.issue(actor=actor, organization=organization, username=f"{prefix.lower()}-guest", role=Role.VIEWER)
    by_key = audit.Actor(AuditEvent.Through.API, key=key)
    audit.record([audit.event(by_key, "change", code, organization_id=organization.pk)])
    site = Site.objects.create(
        organization=organization, name=f"{prefix} site", latitude=22.5, longitude=113.9, time_zone="Asia/Shanghai"
    )
    dock = Device.objects.create(
        sn=f"{prefix}DOCK",
        model_key="3-2-0",
        organization=organization,
        callsign=f"{prefix} dock",
        bound_with=code,
        site=site,
    )
    label = Label.objects.create(organization=organization, name=f"{prefix} label")
    DeviceLabel.objects.create(device=dock, label=label)
    Acknowledgement.objects.create(
        organization=organization,
        kind="offline",
        device=dock,
        reason=f"{prefix} reason",
        by=user,
        until=now + timedelta(days=1),
    )
    accounts.issue(actor=actor, device=dock)
    accounts.issue(actor=actor, organization=organization, label=f"{prefix} site")
    DeviceState.objects.create(device=dock, online=False, last_seen=now)
    DeviceAccount.objects.create(device=dock, username=f"{prefix}@example.org")
    Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=organization,
        channel="requests",
        method="airport_organization_bind",
        received_at=now,
        payload="{}",
        outcome=Exchange.Outcome.ANSWERED,
        reason="code used up",
    )
    UnlockLicense.objects.create(
        device=dock, device_model_domain=3, license_id=1, type=0, name=f"{prefix} license", begin_time=now
    )
    LicenseList.objects.create(device=dock, device_model_domain=3, complete=True, fetched_at=now)
    LicenseEvent.objects.create(
        device=dock,
        organization=organization,
        device_model_domain=3,
        license_id=1,
        name=f"{prefix} license",
        kind=LicenseEvent.Kind.CHANGED,
        at=now,
        before={"end_time": None},
        after={"end_time": "2038-01-01T00:00:00+00:00"},
    )
    batch = ServiceCallBatch.objects.create(
        organization=organization,
        method="unlock_license_list",
        data={"device_model_domain": 3},
        skipped=[{"sn": f"{prefix}DRONE", "callsign": f"{prefix} drone", "reason": "It is an aircraft."}],
        requested_by=user,
    )
    call = ServiceCall.objects.create(
        device=dock,
        organization=organization,
        method="unlock_license_list",
        subject="unlock_license_list:3",
        data={"device_model_domain": 3},
        status=ServiceCall.Status.FAILED,
        result_code=325012,
        requested_by=user,
        batch=batch,
        version=2,
        closed=now,
    )
    for version, source, status in ((1, "issued", "queued"), (2, "reply", "failed")):
        ServiceCallEvent.objects.create(call=call, version=version, at=now, source=source, status=status)
    FileJob.objects.create(
        organization=organization,
        kind=FileJob.Kind.EXPORT,
        table="devices",
        format=FileJob.Format.CSV,
        requested_by=user,
        role=Role.VIEWER,
        reach=[organization.pk],
    )
    Preference.objects.create(user=user, time_zone="Europe/Berlin")
    SavedFilter.objects.create(
        user=user, page="admin:devices_device_changelist", name=f"{prefix} filter", query="presence=offline"
    )
    upload = SimpleUploadedFile(f"{prefix}DOCK.kmz", prefix.encode())
    files.log(files.store(organization=organization, upload=upload, actor=actor), remote_address="192.0.2.1", user=user)


def furnish_both(harbour, alice, northern, charlie):
    """Give both organizations a row of everything, and make what belongs to nobody."""
    furnish(harbour, alice, "HARBOUR")
    furnish(northern, charlie, "NORTHERN")
    Device.objects.create(sn="STRANGER", model_key="3-1-0")
    now = timezone.now()
    BindingFailure.objects.create(gateway_sn="GUESSER", pair_digest="0" * 64, reason=credentials.WRONG, last_at=now)
    Heartbeat.objects.create(instance="bridge-1", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def world(organization, alice, other_organization, charlie, bob):
    furnish_both(organization, alice, other_organization, charlie)
