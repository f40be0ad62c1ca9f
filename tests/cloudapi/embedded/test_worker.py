"""The worker in the process: a command goes out without Redis, and one that was forgotten does, too."""

import asyncio

import pytest

from tests.stack import ROOT, running_stack

SCRIPT = """
import threading, time
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from cloudapi.embedded.worker import running_worker
from devices import service_calls
from devices.models import Device, ServiceCall
from organizations.audit import Actor
from organizations.models import AuditEvent

dock = Device.objects.docks().get()
request = {"method": "unlock_license_list", "device": dock, "actor": Actor(AuditEvent.Through.COMMAND)}
refused = []

def end_of(call):
    end = time.monotonic() + 30
    while call.is_open and time.monotonic() < end:
        time.sleep(0.01)
        call.refresh_from_db()
    return call.status

def refusal():
    try:
        service_calls.issue(data={"device_model_domain": 0}, **request)
    except service_calls.Refused as error:
        return error.kind.value

print(refusal())
with running_worker(settings.MQTT_URL):
    print(end_of(service_calls.issue(data={"device_model_domain": 0}, **request)))
    forgotten = ServiceCall.objects.create(
        method="unlock_license_list", data={"device_model_domain": 3}, device=dock, organization=dock.organization,
        created=timezone.now() - timedelta(seconds=5),
    )
    print(end_of(forgotten))
print(refusal())
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""


@pytest.fixture
def stack(tmp_path):
    with running_stack("sqlite", tmp_path) as running:
        running.env["REDIS_URL"] = ""
        yield running


def test_commands_go_out_while_the_worker_runs_and_are_refused_else(stack):
    stack.start_bridge()
    with stack.fleet() as (fleet, loop):
        asyncio.run_coroutine_threadsafe(fleet.onboarded(20), loop).result()
        lines = stack.manage("shell", "-v0", "-c", SCRIPT).splitlines()
    assert not list(ROOT.glob("celerybeat-schedule*"))  # Celery's own scheduler keeps files where it is started
    assert lines == ["unavailable", "succeeded", "succeeded", "unavailable", "['MainThread']"]
