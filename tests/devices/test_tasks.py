"""Tasks publish what is queued, once, on a real broker."""

import json
import queue
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from cloudapi.embedded.servers import Mosquitto
from devices import tasks
from devices.calls import asking, sending
from devices.models import Device, DeviceState, ServiceCall
from devices.tasks import publish_service_call, publish_service_calls, sweep_service_calls
from mqtt_bridge.line import publisher as publisher_module
from mqtt_bridge.line.client import build_client, parse_url, subscriptions
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent

BY_SCRIPT = Actor(AuditEvent.Through.COMMAND)
LIST = {"method": "unlock_license_list", "data": {"device_model_domain": 0}, "actor": BY_SCRIPT}


@pytest.fixture(autouse=True)
def _publisher(monkeypatch):
    """Let this test's broker be the one that the publisher knows."""
    monkeypatch.setattr(publisher_module, "_publishers", {})
    yield
    publisher_module.publisher().close()


@pytest.fixture
def broker(settings):
    with Mosquitto() as running:
        settings.MQTT_URL = running.url
        yield running


@pytest.fixture
def no_broker(settings):
    settings.MQTT_URL = "mqtt://127.0.0.1:1"


@pytest.fixture
def connected(broker):
    """All docks are connected; yields the queue of (topic, tid) that reach them."""
    with subscribed(broker) as received:
        yield received


@contextmanager
def subscribed(broker):
    received, ready = queue.SimpleQueue(), threading.Event()
    address = parse_url(broker.url)
    client = build_client(address, client_id="docks")
    client.on_connect = lambda client, *_: client.subscribe(subscriptions(["thing/product/+/services"], qos=1))
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: received.put(
        (message.topic, json.loads(message.payload)["tid"])
    )
    client.connect(address.host, address.port)
    client.loop_start()
    assert ready.wait(5)
    yield received
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def fleet(dock):
    """Three docks that are online."""
    others = [
        Device.objects.create(sn=f"DOCK000{n}", model_key="3-2-0", organization=dock.organization) for n in (2, 3)
    ]
    for other in others:
        DeviceState.objects.create(device=other, online=True, last_seen=timezone.now())
    return [dock, *others]


def age(*calls, seconds=3):
    """Let calls have been made some time ago."""
    created = timezone.now() - timedelta(seconds=seconds)
    ServiceCall.objects.filter(pk__in=[call.pk for call in calls]).update(created=created)


def statuses(*calls):
    for call in calls:
        call.refresh_from_db()
    return [call.status for call in calls]


def arrived(connected, count):
    return [connected.get(timeout=30)[1] for _ in range(count)]


def test_call_is_published_once_however_often_its_task_comes(dock, connected):
    call = asking.issue(device=dock, **LIST)
    publish_service_call(str(call.pk))
    publish_service_call(str(call.pk))
    assert connected.get(timeout=30) == (f"thing/product/{dock.sn}/services", call.tid)
    assert statuses(call) == ["sent"]
    assert connected.empty()


def test_call_is_left_alone_without_a_broker(dock, no_broker):
    call = asking.issue(device=dock, **LIST)
    publish_service_call(str(call.pk))
    assert statuses(call) == ["queued"]
    assert call.version == 1


def test_dock_that_is_not_connected_gets_nothing_later(dock, broker):
    call = asking.issue(device=dock, **LIST)
    publish_service_call(str(call.pk))
    assert statuses(call) == ["expired"]


def test_call_that_waits_for_a_dock_without_a_session_changes_once_and_goes_out_when_that_speaks(dock, broker):
    call = asking.issue(device=dock, queue=True, **LIST)
    publish_service_call(str(call.pk))
    age(call)
    pauses = []
    for _ in range(6):
        sweep_service_calls()  # nothing is due
        call.refresh_from_db()
        pauses.append((call.retry_at - call.tried_at).total_seconds())
        ServiceCall.objects.update(retry_at=timezone.now(), tried_at=timezone.now() - (call.retry_at - call.tried_at))
        sweep_service_calls()
    assert [round(pause) for pause in pauses] == [5, 10, 20, 40, 60, 60]
    assert (call.status, call.version, call.sent, call.deadline) == ("queued", 2, None, None)
    ServiceCall.objects.update(tried_at=timezone.now(), retry_at=timezone.now() + timedelta(seconds=20))
    with subscribed(broker) as received:
        sweep_service_calls()
        assert received.empty()
        DeviceState.objects.update(last_seen=timezone.now())
        sweep_service_calls()
        sweep_service_calls()
        assert arrived(received, 1) == [call.tid]
        assert received.empty()
    events = list(call.events.order_by("version").values_list("status", "text"))
    assert events == [("queued", ""), ("queued", sending.NOT_CONNECTED), ("sent", "")]


def test_call_that_the_broker_refuses_is_not_tried_again(dock, settings, tmp_path):
    rules = tmp_path / "acl"
    rules.write_text("topic read thing/#\n")
    with Mosquitto(config=f"acl_file {rules}") as broker:
        settings.MQTT_URL = broker.url
        call = asking.issue(device=dock, **LIST)
        publish_service_call(str(call.pk))
    assert statuses(call) == ["expired"]


def test_sweep_publishes_what_no_task_took_up(fleet, connected):
    calls = [asking.issue(device=device, **LIST) for device in fleet]
    age(*calls[:2])
    sweep_service_calls()
    assert set(arrived(connected, 2)) == {calls[0].tid, calls[1].tid}
    assert statuses(*calls) == ["sent", "sent", "queued"]


def test_sweep_closes_what_ran_out_of_time(dock, no_broker):
    call = asking.issue(device=dock, **LIST)
    ServiceCall.objects.filter(pk=call.pk).update(expires=timezone.now() - timedelta(seconds=1))
    sweep_service_calls()
    assert statuses(call) == ["expired"]


def test_one_broken_call_does_not_stop_the_others(fleet, connected, monkeypatch):
    calls = [asking.issue(device=device, **LIST) for device in fleet]
    age(calls[1], seconds=9)
    age(calls[0], calls[2])
    claim_many = sending.claim_many

    def fail_for_the_oldest(call_ids, **options):
        if calls[1].pk in call_ids:
            raise RuntimeError("broken")
        return claim_many(call_ids, **options)

    monkeypatch.setattr(sending, "claim_many", fail_for_the_oldest)
    sweep_service_calls()
    assert set(arrived(connected, 2)) == {calls[0].tid, calls[2].tid}
    assert statuses(*calls) == ["sent", "queued", "sent"]


def test_calls_made_together_are_published_together(fleet, connected):
    requests = [(device, LIST["data"]) for device in fleet]
    calls = [
        outcome.made for outcome in asking.issue_each(requests=requests, method=LIST["method"], actor=LIST["actor"])
    ]
    publish_service_calls([str(call.pk) for call in calls])
    assert set(arrived(connected, 3)) == {call.tid for call in calls}
    assert statuses(*calls) == ["sent"] * 3


def test_task_of_a_web_process_of_the_version_before_leaves_its_batch_to_the_sweep(connected):
    publish_service_calls("1f6b0f6e-3a3c-4e0e-9d0c-1f6b0f6e3a3c")


def test_task_that_takes_too_long_leaves_the_rest_to_the_sweep(fleet, connected, monkeypatch):
    calls = [asking.issue(device=device, **LIST) for device in fleet]
    age(*calls)
    monkeypatch.setattr(tasks, "BUDGET", -1.0)
    sweep_service_calls()
    assert statuses(*calls) == ["queued"] * 3


@pytest.mark.parametrize(("seconds", "status"), [(1, "sent"), (60, "timed_out")])
def test_a_bridge_that_has_just_begun_to_listen_may_still_bring_the_answer(dock, no_broker, seconds, status):
    now = timezone.now()
    Heartbeat.objects.create(
        instance="bridge", started_at=now - timedelta(seconds=seconds), beat_at=now, round_trip_ms=2
    )
    call = ServiceCall.objects.create(
        device=dock, organization=dock.organization, method="unlock_license_list", status="sent",
        sent=now - timedelta(seconds=90), deadline=now - timedelta(seconds=30),
    )  # fmt: skip
    sweep_service_calls()
    call.refresh_from_db()
    assert call.status == status
