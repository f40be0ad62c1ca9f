"""What steps send to browsers, and when."""

import json
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from devices import binding, device_state, registry, topology
from devices.live import broadcast
from devices.models import Device, DeviceState, ServiceCall
from devices.serializers import ServiceCallSerializer
from mqtt_bridge.protocol.messages import BindDevice, SubDevice, UpdateTopo
from mqtt_bridge.telemetry import Frame
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.devices.calls.cases import make_call
from tests.devices.live.listener import Listener, listen_to

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(AuditEvent.Through.COMMAND)
QUIET = 0.3  # seconds in which nothing is heard


@pytest.fixture
def listener(dock):
    with listen_to(dock) as listener:
        yield listener


def hint(kind, device):
    return {"type": kind, "sn": device.sn}


# --- when --------------------------------------------------------------------------------------------


def test_a_frame_waits_for_the_commit(dock, listener):
    with transaction.atomic():
        broadcast.tell_calls([make_call(dock)])
        assert listener.heard(seconds=QUIET) == []
    assert listener.heard(1)[0]["type"] == "service_call"


def test_what_is_rolled_back_is_never_told(dock, listener):
    with transaction.atomic():
        broadcast.tell_calls([make_call(dock)])
        broadcast.tell_device([dock])
        broadcast.tell_account(dock)
        transaction.set_rollback(True)
    assert listener.heard(seconds=QUIET) == []


def test_a_frame_tells_the_call_as_it_was_when_it_was_told(dock, listener):
    call = make_call(dock)
    with transaction.atomic():
        for status in ("sent", "accepted"):
            call.status = status
            broadcast.tell_calls([call])
        call.status = "failed"
    assert [frame["status"] for frame in listener.heard(2)] == ["sent", "accepted"]


def test_a_failure_to_tell_fails_no_step(dock, monkeypatch):
    def fail(frames):
        raise RuntimeError("no thread")

    monkeypatch.setattr("devices.live.frame_sender.send", fail)
    with transaction.atomic():
        broadcast.tell_calls([make_call(dock)])
    assert ServiceCall.objects.count() == 1


# --- to whom -----------------------------------------------------------------------------------------


def test_a_call_is_told_to_those_who_watch_its_device_and_its_organization(dock, organization):
    with Listener(broadcast.organization_group(organization.pk)) as owner, listen_to(dock) as device:
        broadcast.tell_calls([make_call(dock)])
        assert owner.heard(1) == device.heard(1)


def test_a_call_of_a_former_owner_is_told_to_that_owner_alone(dock, organization, other_organization):
    call = make_call(dock)
    dock.organization = other_organization
    dock.save()
    with Listener(broadcast.organization_group(organization.pk)) as former, listen_to(dock) as now:
        broadcast.tell_calls([ServiceCall.objects.get()])
        assert former.heard(1)[0]["id"] == str(call.pk)
        assert now.heard(seconds=QUIET) == []


def test_many_calls_are_told_with_as_many_queries_as_one(dock, alice):
    for _ in range(20):
        make_call(dock, requested_by=alice)
    with transaction.atomic():
        counts = []
        for calls in (ServiceCall.objects.all()[:1], ServiceCall.objects.all()):
            rows = list(calls)
            with CaptureQueriesContext(connection) as queries:
                broadcast.tell_calls(rows)
            counts.append(len(queries))
    assert counts == [3, 3]


def test_a_frame_shows_of_a_call_what_rest_shows(dock, alice):
    calls = [make_call(dock), make_call(dock, status="failed", result_code=7, sent=timezone.now(), requested_by=alice)]
    for call in calls:
        shown = json.loads(JSONRenderer().render(ServiceCallSerializer(call).data))
        assert [json.loads(frame.text) for frame in broadcast.call_frames(call)] == 2 * [
            {"type": "service_call", **shown}
        ]


def test_related_rows_at_hand_are_not_read_again(dock, django_assert_num_queries):
    call = make_call(dock)
    with transaction.atomic(), django_assert_num_queries(0):
        broadcast.tell_calls([call])
        broadcast.tell_device([dock])
        broadcast.tell_account(dock)


def test_nothing_to_tell_needs_no_transaction_and_no_query(django_assert_num_queries):
    with django_assert_num_queries(0):
        broadcast.tell_calls([])
        broadcast.tell_device([])


# --- who tells -----------------------------------------------------------------------------------------


def update(dock, *aircraft):
    subs = [SubDevice(sn=sn, domain="0", type=91, sub_type=0, index="A") for sn in aircraft]
    report = topology.Report(dock.sn, UpdateTopo(domain="3", type=2, sub_type=0, sub_devices=subs))
    with transaction.atomic():
        topology.update([report], now=timezone.now())


def test_a_device_that_comes_online_is_told_once(dock, listener):
    DeviceState.objects.update(online=False)
    update(dock)
    update(dock)
    assert listener.heard_only(1) == [hint("device", dock)]


def test_an_aircraft_that_is_switched_off_is_told_to_the_page_of_its_dock_too(dock, aircraft, listener):
    update(dock, aircraft.sn)
    assert listener.heard(1) == [hint("device", aircraft)]
    update(dock)
    assert listener.heard(2) == [hint("device", dock), hint("device", aircraft)]


def test_an_adopted_aircraft_is_told_to_its_new_owner_and_to_who_watched_it_unclaimed(dock, listener):
    aircraft = Device.objects.create(sn="DRONE9", model_key="0-91-0")
    with Listener(broadcast.hints_group(None)) as unclaimed:
        update(dock, "DRONE9")
        assert unclaimed.heard(1) == [hint("device", aircraft)]
        assert listener.heard(2) == [hint("device", dock), hint("device", aircraft)]


def test_devices_that_fall_silent_are_told_with_as_many_queries_as_one(organization, dock, listener):
    long_ago = timezone.now() - timedelta(hours=1)
    counts = []
    for number in (1, 30):
        for position in range(number):
            device = Device.objects.create(sn=f"D{number}-{position}", organization=organization)
            DeviceState.objects.create(device=device, online=True, last_seen=long_ago)
        with CaptureQueriesContext(connection) as queries:
            assert topology.sweep(listening_since=long_ago) == number
        counts.append(len(queries))
        assert len(listener.heard(number)) == number
    assert counts[0] == counts[1]


def test_telemetry_tells_only_who_comes_back(dock, listener):
    DeviceState.objects.update(online=False)
    for _ in range(3):
        device_state.store([Frame(dock.sn, timezone.now(), data={"mode_code": 0})])
    assert listener.heard_only(1) == [hint("device", dock)]


def bind(sn, plain):
    wanted = BindDevice(sn=sn, organization_id="12345678", device_binding_code=plain, device_model_key="3-2-0")
    with transaction.atomic():
        [[result]] = binding.bind([binding.Request(sn, [wanted])], now=timezone.now())
    assert result.err_code == 0


def test_a_bound_device_is_told_once_to_its_owner_and_to_who_watched_it_unclaimed(organization, code):
    device = Device.objects.create(sn="DOCK9")
    with Listener(broadcast.hints_group(None)) as unclaimed, Listener(broadcast.hints_group(organization.pk)) as owner:
        bind("DOCK9", code[1])
        bind("DOCK9", code[1])
        assert unclaimed.heard_only(1) == owner.heard_only(1) == [hint("device", device)]


def test_release_enabling_and_renaming_are_told(dock, listener, client, alice):
    registry.set_enabled([dock], enabled=False, actor=ACTOR)
    assert listener.heard(1) == [hint("device", dock)]
    client.force_login(alice)
    page = f"/admin/devices/device/{dock.pk}/change/"
    assert client.post(page, {"callsign": "Pier 8"}).status_code == 302
    assert listener.heard(1) == [hint("device", dock)]
    binding.release([dock], actor=ACTOR)
    assert listener.heard(1) == [hint("device", dock)]


def test_a_deleted_stranger_is_told(listener):
    stranger = Device.objects.create(sn="STRANGER")
    Device.objects.update(created=timezone.now() - timedelta(days=9))
    with Listener(broadcast.hints_group(None)) as unclaimed:
        registry.clear_out(days=7, now=timezone.now(), actor=ACTOR)
        assert unclaimed.heard(1) == [hint("device", stranger)]
