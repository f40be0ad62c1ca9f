"""How long rows are kept; what a page still shows is not deleted at any age."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from cloudapi import retention
from cloudapi.tasks import prune
from devices.models import Acknowledgement, Device, Pairing, ServiceCall, ServiceCallBatch, ServiceCallEvent
from licenses.models import LicenseEvent, LicenseFile, LicenseFileDownload, LicenseList
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from organizations.models import AuditEvent, BindingFailure, FileJob, IdempotentAnswer, Invitation, Organization
from organizations.people.models import UserSession

pytestmark = pytest.mark.django_db
NOW = timezone.now()
READ_WHOLE = (Trace, PassingEvent, AccessAttempt, AccessLog, LogEntry, Organization)


@pytest.fixture
def dock(organization):
    return Device.objects.create(sn="DOCK1", model_key="3-2-0", organization=organization)


def call(dock, *, days, closed=True, **fields):
    at = NOW - timedelta(days=days)
    return ServiceCall.objects.create(
        device=dock, organization=dock.organization, method="unlock_license_list", created=at,
        status="succeeded" if closed else "sent", closed=at if closed else None, **fields,
    )  # fmt: skip


def license_list(dock, *, days, domain=3, **fields):
    at = NOW - timedelta(days=days)
    values = {"complete": True, "consistence": True, "asked_at": at, "fetched_at": at} | fields
    return LicenseList.objects.create(device=dock, device_model_domain=domain, **values)


def file_of(dock, name):
    return LicenseFile.objects.create(organization=dock.organization, name=name, md5=name, size=1, content=b"x")


def age(at):
    return (NOW - at) / timedelta(days=1)


# A row of this moment that nothing needs.
MAKE = {
    Exchange: lambda at, dock: {"gateway_sn": "D", "channel": "requests", "outcome": "answered", "received_at": at},
    PassingEvent: lambda at, dock: {"gateway_sn": f"{at:%j%H}", "count": 1, "first_at": at, "last_at": at},
    Trace: lambda at, dock: {"gateway_sn": f"{at:%j%H}", "until": at},
    LicenseFileDownload: lambda at, dock: {"file": file_of(dock, f"{at:%j%H}"), "at": at},
    LicenseEvent: lambda at, dock: {
        "device": dock, "organization": dock.organization, "device_model_domain": 3, "license_id": 1, "at": at,
    },
    LogEntry: lambda at, dock: {
        "user": get_user_model().objects.create(username=f"{at}"), "action_flag": 1, "action_time": at,
    },
    AuditEvent: lambda at, dock: {"through": "admin", "action": "change", "at": at},
    Invitation: lambda at, dock: {"organization": dock.organization, "digest": f"{at}", "expires_at": at},
    BindingFailure: lambda at, dock: {"gateway_sn": "D", "pair_digest": f"{at}", "last_at": at},
    IdempotentAnswer: lambda at, dock: {"principal": "user:1", "key": f"{at}", "status": 200, "created": at},
    FileJob: lambda at, dock: {"organization": dock.organization, "kind": "export", "created": at},
    Acknowledgement: lambda at, dock: {"organization": dock.organization, "kind": "offline", "until": at},
    Organization: lambda at, dock: {"organization_id": f"{at:%j%H}", "name": "Gone", "closed_at": at},
    Device: lambda at, dock: {"sn": f"{at:%j%H}", "retired_at": at},
    UserSession: lambda at, dock: {"session_key": f"{at:%j%H}", "expire_date": at},
}  # fmt: skip


def pairing(dock, aircraft, **fields):
    values = {"since": NOW, "changed_at": NOW, "witness": "topology"} | fields
    return Pairing.objects.create(dock=dock, aircraft=aircraft, **values)


def make_row(model, at, dock):
    if model is Pairing:
        aircraft = Device.objects.create(sn=f"{at:%j%H}")
        pairing(dock, aircraft)
        return pairing(dock, aircraft, since=at - timedelta(days=1), until=at)
    if model in (AccessAttempt, AccessLog):
        row = model.objects.create(**({"failures_since_start": 1} if model is AccessAttempt else {}))
        model.objects.filter(pk=row.pk).update(attempt_time=at)
        return row
    if model is ServiceCall:
        return call(dock, days=age(at))
    if model is LicenseList:
        row = license_list(dock, days=age(at))
        license_list(dock, days=0)
        return row
    if model is ServiceCallBatch:
        row = ServiceCallBatch.objects.create(organization=dock.organization)
        ServiceCallBatch.objects.filter(pk=row.pk).update(created=at)
        return row
    return model.objects.create(**MAKE[model](at, dock))


@pytest.mark.parametrize("kept", retention.TABLES, ids=lambda kept: kept.model.__name__)
def test_rows_go_when_they_are_too_old_and_not_before(kept, dock):
    limit = NOW - kept.age()
    old, young = (make_row(kept.model, limit + timedelta(minutes=minutes), dock) for minutes in (-61, 61))
    assert retention.prune(now=NOW)[kept.model.__name__] == 1
    assert not kept.model.objects.filter(pk=old.pk).exists()
    assert kept.model.objects.filter(pk=young.pk).exists()


def test_of_what_anybody_may_make_only_so_many_rows_stay_however_young(monkeypatch):
    tables = [kept._replace(most=3) for kept in retention.TABLES if kept.model is BindingFailure]
    monkeypatch.setattr(retention, "TABLES", tables)
    for minutes in range(10):
        make_row(BindingFailure, NOW - timedelta(minutes=minutes), None)
    assert retention.prune(now=NOW) == {"BindingFailure": 7}
    assert [row.last_at for row in BindingFailure.objects.all()] == [NOW - timedelta(minutes=n) for n in range(3)]
    assert retention.prune(now=NOW).total() == 0


def test_a_call_goes_with_its_events_and_what_is_kept_longer_stays(dock):
    old = call(dock, days=91)
    ServiceCallEvent.objects.create(call=old, version=1, at=NOW, source="reply", status="succeeded")
    again = call(dock, days=1, retry_of=old)
    read = license_list(dock, days=91, call=old)
    event = LicenseEvent.objects.create(
        device=dock, organization=dock.organization, device_model_domain=3, license_id=1, kind="appeared",
        at=NOW - timedelta(days=91), call=old,
    )  # fmt: skip
    retention.prune(now=NOW)
    assert list(ServiceCall.objects.all()) == [again]
    assert not ServiceCallEvent.objects.exists()
    for row in (again, read, event):
        row.refresh_from_db()
    assert (again.retry_of, read.call, event.call) == (None, None, None)


def test_an_open_call_stays_and_its_batch_with_it(dock):
    batch = ServiceCallBatch.objects.create(organization=dock.organization, method="unlock_license_list")
    ServiceCallBatch.objects.update(created=NOW - timedelta(days=99))
    call(dock, days=99, closed=False, batch=batch)
    call(dock, days=99, batch=batch)
    retention.prune(now=NOW)
    assert ServiceCall.objects.get().closed is None
    assert ServiceCallBatch.objects.get() == batch


def test_a_batch_that_is_still_to_be_started_stays_however_long_ago_somebody_planned_it(dock):
    due = {"organization": dock.organization, "due_at": NOW + timedelta(days=1)}
    waiting = ServiceCallBatch.objects.create(**due)
    ServiceCallBatch.objects.create(**due, started_at=NOW)
    ServiceCallBatch.objects.create(**due, stopped=NOW)
    ServiceCallBatch.objects.update(created=NOW - timedelta(days=99))
    retention.prune(now=NOW)
    assert ServiceCallBatch.objects.get() == waiting


def test_the_last_word_about_licenses_stays_however_old(dock):
    superseded = license_list(dock, days=400)
    told = license_list(dock, days=300, consistence=False)  # the last that says whether both inventories are the same
    aircraft = license_list(dock, days=500, domain=0, consistence=None)
    last = license_list(dock, days=200, consistence=None)
    license_list(dock, days=100, consistence=None, applied=False)  # it was answered too late to count
    retention.prune(now=NOW)
    kept = set(LicenseList.objects.filter(applied=True))
    assert kept == {told, aircraft, last}
    assert superseded not in kept


def test_that_a_device_was_an_aircraft_is_known_however_long_ago(dock):
    last = pairing(dock, Device.objects.create(sn="DRONE1"), since=NOW - timedelta(9999), until=NOW - timedelta(9998))
    retention.prune(now=NOW)
    assert Pairing.objects.get() == last


def test_it_goes_on_until_nothing_old_is_left_and_large_tables_take_turns(dock, monkeypatch):
    monkeypatch.setattr(retention, "PIECE", 3)
    for number in range(8):
        make_row(Exchange, NOW - timedelta(days=40, hours=number), dock)
    make_row(AuditEvent, NOW - timedelta(days=2000), dock)
    assert retention.prune(now=NOW, seconds=0) == {"Exchange": 3}
    assert retention.prune(now=NOW) == {"Exchange": 5, "AuditEvent": 1} | {
        kept.model.__name__: 0 for kept in retention.TABLES if kept.model not in (Exchange, AuditEvent)
    }


@pytest.mark.parametrize(
    "kept",
    # What people do at the admin, and one row for each gateway, or each of its kinds of events, may be read whole.
    [kept for kept in retention.TABLES if kept.model not in READ_WHOLE],
    ids=lambda kept: kept.model.__name__,
)
def test_old_rows_are_found_by_an_index(kept, db):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    old = kept.model.objects.filter(**{f"{kept.field}__lt": NOW}).order_by(kept.field)
    plan = old.values("pk")[: retention.PIECE].explain()
    assert "Index" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


def test_the_schedule_has_it_and_the_bridge_has_not(settings, dock):
    make_row(Exchange, NOW - timedelta(days=40), dock)
    assert settings.CELERY_BEAT_SCHEDULE["prune"]["task"] == prune.name
    prune()
    assert not Exchange.objects.exists()
    assert not any("prune" in path for path in settings.BRIDGE_TICKS)
