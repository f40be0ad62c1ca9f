"""One command to many docks: who gets it, who does not and why, stopping it."""

import threading

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.calls import asking, batches, sending
from devices.calls.refusal import Refused
from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch
from mqtt_bridge.line.publisher import Receipt
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.ages import age, moved

pytestmark = pytest.mark.django_db
LIST = "unlock_license_list"
SWITCH = "unlock_license_switch"
AIRCRAFT = {"device_model_domain": 0}


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, user=alice)


def add_dock(organization, sn, *, online=True, **fields):
    device = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization, **fields)
    DeviceState.objects.create(device=device, online=online, last_seen=timezone.now())
    return device


def everything():
    return Device.objects.select_related("organization", "state").order_by("sn")


def reasons(skipped):
    return {left.device.sn: left.reason for left in skipped}


def test_a_plan_tells_who_is_left_out_and_why(dock, aircraft, organization, actor):
    add_dock(organization, "AWAY", online=False)
    add_dock(organization, "OFF", is_enabled=False)
    add_dock(None, "NOBODYS")
    busy = add_dock(organization, "BUSY")
    asking.issue(device=busy, method=LIST, data=AIRCRAFT, actor=actor)
    plan = batches.plan(everything(), LIST, AIRCRAFT)
    assert [device.sn for device in plan.devices] == [dock.sn]
    found = reasons(plan.skipped)
    assert set(found) == {"AWAY", "OFF", "NOBODYS", "BUSY", aircraft.sn}
    assert "offline" in found["AWAY"]
    assert "aircraft" in found[aircraft.sn]
    assert "open" in found["BUSY"]


def test_an_offline_dock_may_wait(dock, organization):
    add_dock(organization, "AWAY", online=False)
    plan = batches.plan(everything(), LIST, AIRCRAFT, queue=True)
    assert [device.sn for device in plan.devices] == ["AWAY", dock.sn]


def test_a_call_about_another_license_keeps_no_dock_busy(dock, actor):
    one, other = ({"license_id": number, "enable": True} for number in (1, 2))
    asking.issue(device=dock, method="unlock_license_switch", data=one, actor=actor)
    assert batches.plan(everything(), "unlock_license_switch", one).devices == []
    assert batches.plan(everything(), "unlock_license_switch", other).devices == [dock]
    assert batches.plan(everything(), "unlock_license_switch").devices == [dock]


def test_a_batch_asks_each_dock_and_names_those_left_out(dock, organization, actor):
    add_dock(organization, "AWAY", online=False, callsign="Far")
    batch = batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor, note="spring check")
    assert (batch.organization, batch.requested_by, batch.note) == (organization, actor.user, "spring check")
    [call] = batch.calls.all()
    assert (call.device, call.note, call.status) == (dock, "spring check", "queued")
    assert batch.skipped == [{"sn": "AWAY", "callsign": "Far", "reason": "This dock is offline."}]
    event = AuditEvent.objects.get(action="start batch")
    assert (event.user, event.organization, event.after["calls"]) == (actor.user, organization, 1)


def test_a_batch_names_what_the_caller_left_out(dock, aircraft, actor):
    left_out = [batches.Skipped(aircraft, "Not ours.")]
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor, skipped=left_out)
    assert [left["sn"] for left in batch.skipped] == [aircraft.sn]


@pytest.mark.parametrize("other", ["foreign", "unclaimed"])
def test_a_batch_that_names_devices_of_others_belongs_to_nobody(dock, other_organization, actor, other):
    add_dock(other_organization if other == "foreign" else None, "OTHER")
    batch = batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor)
    assert batch.organization is None
    assert batch.calls.filter(device=dock).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": {"device_model_domain": 7}},
        {"data": {"device_model_domain": 0, "a\0": 1}},
        {"data": ["device_model_domain"]},
        {"data": 7},
        {"method": ["unlock_license_list"]},
        {"method": "reboot"},
        {"note": "a\0b"},
        {"note": "\ud800"},
        {"note": "x" * 2001},
        {"idempotency_key": "a\0b"},
        {"idempotency_key": "x" * 256},
    ],
)
def test_what_no_dock_could_be_asked_leaves_nothing_behind(dock, actor, wrong):
    with pytest.raises(Refused) as refused:
        batches.start(**{"devices": [dock], "method": LIST, "data": AIRCRAFT, "actor": actor} | wrong)
    assert refused.value.kind is Refused.Kind.INVALID
    assert not ServiceCallBatch.objects.exists()
    assert not AuditEvent.objects.filter(action="start batch").exists()


@pytest.mark.parametrize(
    ("method", "data"), [("reboot", {}), ("reboot", None), (["reboot"], None), (LIST, ["x"]), (LIST, {"a\0": 1})]
)
def test_plan_of_what_no_dock_could_be_asked_leaves_all_out(dock, method, data):
    plan = batches.plan(everything(), method, data)
    assert (plan.devices, [left.device for left in plan.skipped]) == ([], [dock])


@pytest.mark.parametrize("wrong", [{"note": "a\0b"}, {"method": ["x"]}, {"method": "reboot"}])
def test_different_requests_that_no_dock_could_be_asked_leave_nothing_behind(dock, actor, wrong):
    with pytest.raises(Refused):
        batches.start_each(**{"requests": [], "method": LIST, "data": {}, "actor": actor} | wrong)
    assert not ServiceCallBatch.objects.exists()


def test_calls_of_a_batch_have_its_idempotency_key(dock, actor):
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor, idempotency_key="spring")
    assert batch.calls.get().idempotency_key == "spring"


def test_stopping_calls_off_what_is_not_sent(dock, organization, actor):
    add_dock(organization, "SECOND")
    batch = batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor)
    elsewhere = asking.issue(device=dock, method="unlock_license_update", actor=actor)
    sending.claim_many([batch.calls.get(device=dock).pk], now=timezone.now())
    assert batches.stop(batch, actor=actor) == 1
    assert dict(batch.calls.values_list("device__sn", "status")) == {dock.sn: "sent", "SECOND": "canceled"}
    assert ServiceCall.objects.get(pk=elsewhere.pk).status == "queued"
    batch.refresh_from_db()
    assert batch.stopped is not None
    assert AuditEvent.objects.get(action="stop batch").after == {"canceled": 1}


@pytest.mark.parametrize(
    ("queue", "receipt"), [(True, Receipt.NO_SUBSCRIBER), (True, Receipt.NOT_SENT), (False, Receipt.NOT_SENT)]
)
def test_a_call_that_is_tried_in_vain_as_its_batch_is_stopped_ends_as_canceled(dock, actor, queue, receipt):
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor, queue=queue)
    [tried] = sending.claim_many([batch.calls.get().pk], now=timezone.now())
    assert batches.stop(batch, actor=actor) == 0
    sending.record_receipts([(tried.call, receipt)])
    call = batch.calls.get()
    assert (call.status, call.result_text, call.sent) == ("canceled", "before it was sent.", None)
    assert call.closed is not None


@pytest.mark.django_db(transaction=True)
def test_a_stop_that_is_not_over_yet_calls_off_what_is_tried_in_vain_then(dock, actor):
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor, queue=True)
    [tried] = sending.claim_many([batch.calls.get().pk], now=timezone.now())

    def work():
        sending.record_receipts([(tried.call, Receipt.NO_SUBSCRIBER)])
        connections.close_all()

    worker = threading.Thread(target=work)
    with transaction.atomic():
        batches.stop(batch, actor=actor)
        worker.start()
        worker.join(0.5)  # it waits until the stop is over
    worker.join(30)
    assert batch.calls.get().status == "canceled"


def test_stopping_again_keeps_the_first_moment(dock, actor):
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor)
    batches.stop(batch, actor=actor)
    batch.refresh_from_db()
    first = batch.stopped
    assert batches.stop(batch, actor=actor) == 0
    batch.refresh_from_db()
    assert batch.stopped == first


def test_two_hundred_docks_cost_as_many_queries_as_two(
    organization, actor, django_assert_num_queries, django_assert_max_num_queries
):
    for number in range(2):
        add_dock(organization, f"A{number}")
    with django_assert_max_num_queries(25) as few:
        batches.plan(everything(), LIST, AIRCRAFT)
        batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor)
    ServiceCall.objects.all().update(status="succeeded")
    for number in range(198):
        add_dock(organization, f"B{number:03}")
    with django_assert_num_queries(len(few)):
        batches.plan(everything(), LIST, AIRCRAFT)
        batch = batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor)
    assert batch.calls.count() == 200


# --- each dock with data of its own ----------------------------------------------------------------


def switches(*pairs):
    return [(device, {"license_id": key, "enable": True}) for device, key in pairs]


def test_a_batch_may_ask_each_dock_for_something_else(dock, organization, actor):
    other = add_dock(organization, "DOCK0002")
    batch = batches.start_each(
        requests=switches((dock, 1), (dock, 2), (other, 3)), method=SWITCH, data={"enable": True}, actor=actor
    )
    calls = {(call.device.sn, call.data["license_id"]) for call in batch.calls.all()}
    assert calls == {("DOCK0001", 1), ("DOCK0001", 2), ("DOCK0002", 3)}
    assert (batch.data, batch.skipped, batch.organization) == ({"enable": True}, [], organization)


def test_what_is_asked_twice_of_a_dock_is_asked_once_and_the_batch_says_so(dock, actor):
    batch = batches.start_each(requests=switches((dock, 1), (dock, 1)), method=SWITCH, data={}, actor=actor)
    assert batch.calls.count() == 1
    assert [left["about"] for left in batch.skipped] == ["Switch license 1 on"]
    assert "busy" in batch.skipped[0]["reason"]


def test_many_different_requests_cost_as_many_queries_as_one(dock, actor, django_assert_num_queries):
    with CaptureQueriesContext(connection) as few:
        batches.start_each(requests=switches((dock, 1)), method=SWITCH, data={}, actor=actor)
    many = [(dock, key) for key in range(2, 102)]
    with django_assert_num_queries(len(few)):
        batches.start_each(requests=switches(*many), method=SWITCH, data={}, actor=actor)


def test_only_the_first_stop_counts_as_a_change(dock, actor):
    batch = batches.start(devices=[dock], method=LIST, data=AIRCRAFT, actor=actor)
    age(batch)
    batches.stop(batch, actor=actor)
    assert moved(batch)
    age(batch)
    batches.stop(batch, actor=actor)
    assert not moved(batch)


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_retry_what_failed_once(organization, actor):
    for number in range(5):
        add_dock(organization, f"D{number}")
    first = batches.start(devices=everything(), method=LIST, data=AIRCRAFT, actor=actor)
    ServiceCall.objects.update(status="failed", closed=timezone.now())
    ready, refused = threading.Barrier(2), []

    def work():
        ready.wait(10)
        try:
            batches.retry(ServiceCall.objects.filter(batch=first), method=LIST, actor=actor)
            ServiceCall.objects.exclude(batch=first).update(status="failed", closed=timezone.now())
        except Refused as why:
            refused.append(str(why))
        connections.close_all()

    people = [threading.Thread(target=work) for _ in range(2)]
    for person in people:
        person.start()
    for person in people:
        person.join(30)
    assert refused == ["Nothing is left to try again."]
    assert ServiceCall.objects.exclude(retry_of=None).count() == 5
