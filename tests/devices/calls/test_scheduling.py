"""Batches that start later: what is planned, who may still do it when the time comes, and that each starts once."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from devices.calls import batches, scheduling
from devices.calls.refusal import Refused
from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch
from devices.tasks import start_due_batches
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
LIST = "unlock_license_list"
AIRCRAFT = {"device_model_domain": 0}
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.fixture
def olga(organization):
    return member("olga", organization, Role.OPERATOR)


@pytest.fixture
def batch(olga, dock):
    return plan(olga, dock)


def plan(user, *docks, **changes):
    fields = {"method": LIST, "data": AIRCRAFT, "due_at": timezone.now() + HOUR, "note": "night"} | changes
    return scheduling.schedule(devices=docks, actor=Actor(AuditEvent.Through.ADMIN, user=user), **fields)


def start(after=HOUR):
    return scheduling.start_due(now=timezone.now() + after + timedelta(seconds=1))


def reasons(batch):
    batch.refresh_from_db()
    return {left["sn"]: left["reason"] for left in batch.skipped}


def test_a_batch_starts_when_it_is_due_and_once(batch, dock, olga):
    assert start(after=HOUR - timedelta(minutes=1)) == 0
    assert not ServiceCall.objects.exists()
    assert (start(), start()) == (1, 0)
    call = ServiceCall.objects.get()
    assert (call.device, call.batch, call.requested_by, call.data, call.note) == (dock, batch, olga, AIRCRAFT, "night")
    batch.refresh_from_db()
    assert batch.started_at
    told = AuditEvent.objects.filter(action__in=["plan batch", "start batch"]).order_by("at")
    assert [(event.action, event.through, event.user) for event in told] == [
        ("plan batch", "admin", olga),
        ("start batch", "schedule", olga),
    ]


def test_the_task_of_beat_starts_what_is_due(batch):
    ServiceCallBatch.objects.update(due_at=timezone.now())
    start_due_batches()
    assert ServiceCall.objects.count() == 1


def test_what_was_planned_waits_for_its_dock_as_long_as_was_chosen(olga, dock):
    DeviceState.objects.update(online=False)
    plan(olga, dock, queue=True, expires_in=timedelta(days=7))
    start()
    call = ServiceCall.objects.get()
    assert (call.queue, call.expires - call.created) == (True, timedelta(days=7))


def test_docks_are_judged_when_it_starts(olga, organization, other_organization):
    kinds = {"FINE": {}, "OFF": {"is_enabled": False}, "SOLD": {}, "AWAY": {}}
    docks = [
        Device.objects.create(sn=sn, model_key="3-2-0", organization=organization, callsign=sn.title(), **fields)
        for sn, fields in kinds.items()
    ]
    for dock in docks:
        DeviceState.objects.create(device=dock, online=dock.sn != "AWAY", last_seen=timezone.now())
    batch = plan(olga, *docks)
    Device.objects.filter(sn="SOLD").update(organization=other_organization, callsign="Secret")
    start()
    assert [call.device.sn for call in ServiceCall.objects.all()] == ["FINE"]
    found = reasons(batch)
    assert set(found) == {"OFF", "SOLD", "AWAY"}
    assert "another organization" in found["SOLD"]
    assert "Secret" not in str(batch.skipped)


@pytest.mark.parametrize("fate", ["left", "viewer", "inactive", "deleted"])
def test_who_may_not_command_any_more_starts_nothing(batch, olga, dock, fate):
    match fate:
        case "left":
            Membership.objects.filter(user=olga).delete()
        case "viewer":
            Membership.objects.filter(user=olga).update(role=Role.VIEWER)
        case "inactive":
            type(olga).objects.filter(pk=olga.pk).update(is_active=False)
        case "deleted":
            olga.delete()
    assert start() == 1
    assert not ServiceCall.objects.exists()
    assert reasons(batch) == {dock.sn: scheduling.GONE if fate == "deleted" else scheduling.NO_RIGHT}


def test_a_batch_that_is_called_off_never_starts(batch, olga):
    batches.stop(batch, actor=Actor(AuditEvent.Through.ADMIN, user=olga))
    assert start() == 0
    assert not ServiceCall.objects.exists()


def test_what_no_worker_started_within_an_hour_is_not_started_later(batch, dock):
    assert start(after=3 * HOUR) == 1
    assert not ServiceCall.objects.exists()
    assert reasons(batch) == {dock.sn: scheduling.MISSED}


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "login_dji_account", "data": {"username": "pilot", "password": "x"}},
        {"method": "reboot"},
        {"data": {"device_model_domain": 7}},
        {"due_at": timezone.now() - HOUR},
        {"due_at": timezone.now() + timedelta(days=32)},
    ],
)
def test_what_cannot_be_planned_is_refused(olga, dock, wrong):
    with pytest.raises(Refused):
        plan(olga, dock, **wrong)
    assert not ServiceCallBatch.objects.exists()


def test_a_batch_that_cannot_be_started_keeps_no_other_waiting(olga, dock, monkeypatch):
    broken, fine = plan(olga, dock), plan(olga, dock, data={"device_model_domain": 3})
    ask = batches.ask
    monkeypatch.setattr(batches, "ask", lambda batch, *one, **more: 1 / (batch != broken) and ask(batch, *one, **more))
    assert start() == 1
    assert [call.batch for call in ServiceCall.objects.all()] == [fine]
    broken.refresh_from_db()
    assert broken.started_at is None


def test_a_method_that_is_gone_since_ends_the_batch_with_its_reason(batch, dock):
    ServiceCallBatch.objects.update(method="gone")
    assert (start(), start()) == (1, 0)
    assert "There is no service" in reasons(batch)[dock.sn]


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_start_each_batch_once(olga, organization):
    docks = [Device.objects.create(sn=f"D{n}", model_key="3-2-0", organization=organization) for n in range(6)]
    for dock in docks:
        DeviceState.objects.create(device=dock, online=True, last_seen=timezone.now())
        plan(olga, dock)
    ready, counts = threading.Barrier(2), []

    def work():
        ready.wait(10)
        counts.append(start())
        connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sum(counts) == 6
    assert ServiceCall.objects.count() == 6
    assert AuditEvent.objects.filter(action="start batch").count() == 6
