"""The demo's worker: a command goes out without Redis, even one whose task was lost."""

import asyncio

import pytest

from tests.stack import ROOT, running_stack

PRELUDE = """
import threading, time
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from cloudapi.embedded.worker import running_worker
from devices.calls import asking
from devices.calls.refusal import Refused
from devices.models import Device, DeviceState, ServiceCall
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization

def issue(dock):
    data = {"device_model_domain": 0}
    actor = Actor(AuditEvent.Through.COMMAND)
    return asking.issue(device=dock, method="unlock_license_list", data=data, actor=actor)

def end_of(call):
    end = time.monotonic() + 30
    while call.is_open and time.monotonic() < end:
        time.sleep(0.01)
        call.refresh_from_db()
    return call.status
"""
BEFORE_WHILE_AND_AFTER = """
def refusal():
    try:
        issue(dock)
    except Refused as error:
        return error.kind.value

dock = Device.objects.docks().get()
print(refusal())
with running_worker(settings.MQTT_URL):
    print(end_of(issue(dock)))
    forgotten = ServiceCall.objects.create(
        method="unlock_license_list", data={"device_model_domain": 3}, device=dock, organization=dock.organization,
        created=timezone.now() - timedelta(seconds=5),
    )
    print(end_of(forgotten))
print(refusal())
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""
TO_A_DOCK_THAT_IS_NOT_THERE = """
dock = Device.objects.create(sn="ABSENT", model_key="3-2-0", organization=Organization.objects.first())
DeviceState.objects.create(device=dock, online=True, last_seen=timezone.now())
with running_worker(settings.MQTT_URL):
    print(end_of(issue(dock)))
"""


@pytest.fixture
def stack(prepared, tmp_path):
    with running_stack("sqlite", tmp_path, template=prepared("sqlite")) as running:
        running.env["REDIS_URL"] = ""
        yield running


def run(stack, script):
    return stack.manage("shell", "-v0", "-c", PRELUDE + script).splitlines()


@pytest.mark.turns(2)
def test_commands_go_out_while_the_worker_runs_and_are_refused_else(stack):
    stack.start_bridge()
    with stack.fleet(aircraft_on=True) as (fleet, loop):
        asyncio.run_coroutine_threadsafe(fleet.onboarded(20), loop).result()
        lines = run(stack, BEFORE_WHILE_AND_AFTER)
    assert not list(ROOT.glob("celerybeat-schedule*"))  # Celery's own scheduler keeps files where it is started
    assert lines == ["unavailable", "succeeded", "succeeded", "unavailable", "['MainThread']"]


@pytest.mark.turns(2)
def test_no_redis_is_used_even_if_there_is_one(stack):
    stack.env["REDIS_URL"] = "redis://127.0.0.1:1"
    assert run(stack, TO_A_DOCK_THAT_IS_NOT_THERE) == ["expired"]
