"""People, workers, the bridge and the clock at the same calls at the same moment."""

import contextlib
import json
import random
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
from django.db import connections
from django.utils import timezone

from devices import binding
from devices.calls import asking, ending, sending
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused
from devices.calls.states import MAY
from devices.models import Device, DeviceState, ServiceCall, ServiceCallSecret
from mqtt_bridge import dispatch
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.line.publisher import Receipt
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.turns(2)]

ACTOR = Actor(AuditEvent.Through.ADMIN)
SECONDS = 3.0
SNS = ["DOCK1", "DOCK2", "DOCK3"]
ASKED = [
    ("login_dji_account", {"username": "pilot", "password": "secret"}),
    ("logout_dji_account", {}),
    ("unlock_license_switch", {"license_id": 1, "enable": True}),
    ("unlock_license_list", {"device_model_domain": 0}),
]
TAKEN_BACK = (Receipt.NO_SUBSCRIBER, Receipt.NOT_SENT, Receipt.REFUSED)  # certainly at no dock
published: Counter = Counter()


@pytest.fixture
def _fleet(organization, settings):
    settings.SERVICE_SILENCE = {"": 0.2, **dict.fromkeys(METHODS, 0.2), "login_dji_account": 0.4}
    settings.SERVICE_CALL_EXPIRES = {"": 0.5, "queue": 1.0}
    docks = Device.objects.bulk_create(Device(sn=sn, model_key="3-2-0", organization=organization) for sn in SNS)
    DeviceState.objects.bulk_create(DeviceState(device=dock, online=True, last_seen=timezone.now()) for dock in docks)
    published.clear()


def ask():
    dock = Device.objects.get(sn=random.choice(SNS))
    method, data = random.choice(ASKED)
    queue = not METHODS[method].secrets and random.random() < 0.5
    with contextlib.suppress(Refused):
        asking.issue(device=dock, method=method, data=data, actor=ACTOR, queue=queue)


def send():
    DeviceState.objects.update(last_seen=timezone.now())  # so that what reached no dock is tried again
    for key in ServiceCall.objects.filter(status="queued").order_by("?").values_list("pk", flat=True)[:1]:
        for claim in sending.claim_many([key], now=timezone.now()):
            receipt = random.choice([*Receipt, *[Receipt.DELIVERED] * 4])
            published[key] += receipt not in TAKEN_BACK
            sending.record_receipts([(claim.call, receipt)])


def hear():
    recent = ServiceCall.objects.exclude(status="queued").select_related("device").order_by("-created")[:8]
    said = [word for call in recent for word in words(call)]
    random.shuffle(said)
    for wave in dispatch.handle(said):
        assert not [item.reason for item in wave.results if item.outcome == "error"]


def words(call):
    is_account = "account" in call.method
    for _ in range(random.randrange(3)):
        channel = "events" if is_account and random.random() < 0.7 else "services_reply"
        status = random.choice(["in_progress", "paused", "ok", "failed"])
        progress = {"status": status, "progress": {"percent": random.randrange(101)}}
        data = {"result": random.choice([0, 0, 325012]), "output": progress if is_account else {}}
        message = {"tid": call.tid, "bid": call.bid, "method": call.method, "data": data}
        topic = f"thing/product/{call.device.sn}/{channel}"
        yield Delivery(topic=topic, payload=json.dumps(message).encode(), mid=1)


def cancel():
    ending.cancel_many(ServiceCall.objects.filter(device__sn=random.choice(SNS)), actor=ACTOR)
    time.sleep(0.05)


def release_and_give_back():
    time.sleep(0.3)
    binding.release(Device.objects.filter(sn__in=random.sample(SNS, 2)), actor=ACTOR)
    for dock in Device.objects.filter(organization=None):
        Device.objects.filter(pk=dock.pk).update(organization=Organization.objects.get())


def repeat(job, until, errors):
    try:
        while time.monotonic() < until:
            job()
    except Exception as error:
        errors.append(error)
    finally:
        connections.close_all()


def run_all():
    jobs = (ask, ask, send, send, send, hear, ending.close_overdue, cancel, release_and_give_back)
    errors, until = [], time.monotonic() + SECONDS
    threads = [threading.Thread(target=repeat, args=(job, until, errors)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.usefixtures("_fleet")
def test_every_history_is_a_path_without_gaps_and_nothing_is_published_twice():
    assert run_all() == []
    time.sleep(1.1)
    ending.close_overdue()
    assert ServiceCall.objects.count() > 5
    for call in ServiceCall.objects.prefetch_related("events"):
        events = list(call.events.all())
        steps = [event.status for event in events]
        assert [event.version for event in events] == list(range(1, call.version + 1))
        assert all(after == before or after in MAY[before] for before, after in pairwise(steps))
        assert (steps[-1], call.is_open) == (call.status, False)
        assert published[call.pk] <= 1
    assert not ServiceCallSecret.objects.exists()
