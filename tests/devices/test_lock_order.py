"""Writers of the same rows take their locks in one order, so that no deadlock ends one of them."""

import random
import threading
import time
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from devices import binding, device_state, topology
from devices.models import Device
from mqtt_bridge.protocol.messages import SubDevice, UpdateTopo
from mqtt_bridge.telemetry import Frame
from organizations.audit import Actor
from organizations.models import AuditEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.turns(2)]

COUNT = 200
SECONDS = 1.0


@pytest.fixture
def fleet(organization):
    kinds = [("DOCK", "3-2-0"), ("DRONE", "0-91-0")]
    Device.objects.bulk_create(
        Device(sn=f"{kind}{number}", model_key=key, organization=organization)
        for number in range(COUNT)
        for kind, key in kinds
    )
    store_telemetry()


def store_telemetry():
    now = timezone.now()
    sns = [f"{kind}{number}" for number in range(COUNT) for kind in ("DOCK", "DRONE")]
    device_state.store([Frame(sn, now, 1, {"mode_code": 0}, now) for sn in sns])


def update_topologies():
    def report(number):
        drone = SubDevice(sn=f"DRONE{number}", domain="0", type=91, sub_type=0)
        return topology.Report(f"DOCK{number}", UpdateTopo(domain="3", type=2, sub_type=0, sub_devices=[drone]))

    topology.update([report(number) for number in random.sample(range(COUNT), 150)], now=timezone.now())


def sweep_everything():
    now = timezone.now()
    topology.sweep(listening_since=now - timedelta(days=1), now=now + timedelta(seconds=61))


def release_and_give_back():
    owner = Device.objects.exclude(organization=None).values_list("organization", flat=True).first()
    binding.release(Device.objects.order_by("?"), actor=Actor(AuditEvent.Through.ADMIN))
    Device.objects.filter(organization=None).update(organization=owner)


def repeat(job, until, errors):
    try:
        while time.monotonic() < until:
            job()
    except Exception as error:
        errors.append(error)
    finally:
        connections.close_all()


@pytest.mark.parametrize("other", [update_topologies, sweep_everything, release_and_give_back])
def test_telemetry_and_another_writer_never_deadlock(fleet, other):
    errors = []
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=repeat, args=(job, until, errors)) for job in (store_telemetry, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
