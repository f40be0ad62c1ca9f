"""A transaction keeps the rows of one dock locked; the others go on (docs/reliability.md, test 17)."""

import asyncio
import http.client
import itertools
import json
import signal
import time
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest

from cloudapi.embedded.servers import Redis
from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.dock import Patience
from tests.cloudapi.test_settings import PRODUCTION
from tests.fault import commands, promise
from tests.fault.altered_bridge import command
from tests.fault.load import QUIET, size, under_load
from tests.fault.test_standby import start_standby
from tests.stack import SETUP, running_stack, wait_for

pytestmark = pytest.mark.fault

HELD = size(4.0, 60.0)  # seconds
LOAD = 100.0  # requests per second
ONCE = Patience(1, None)
KEY = """
from organizations.models import Organization, OrganizationAPIKey
harbour = Organization.objects.get(organization_id="12345678")
print(OrganizationAPIKey.objects.create_key(organization=harbour, name="locks", role="manager")[1])
"""


@contextmanager
def locked(stack, sn):
    """Somebody has a transaction open that locks the rows of this device."""
    rows = f"SELECT 1 FROM devices_device d JOIN devices_devicestate s ON s.device_id = d.id WHERE d.sn = '{sn}'"
    wait_for(lambda: stack.rows(rows))
    with psycopg.connect(stack.database.url) as connection:
        connection.execute(f"{rows} FOR UPDATE")
        yield
        connection.rollback()


@contextmanager
def bound_dock(stack):
    """A dock that is bound; yields its serial number, its ledger and ask(), which lets it bind under another name."""
    names = (f"Pier {number}" for number in itertools.count(1))
    with stack.fleet(sn_prefix="HELD", options=QUIET, stagger=0.0) as (fleet, loop):
        [dock] = fleet.docks

        def ask():
            data = joining.bind_data(dock)
            data["bind_devices"][0]["device_callsign"] = next(names)
            question = dock.request("airport_organization_bind", data, patience=ONCE)
            return asyncio.run_coroutine_threadsafe(question, loop)

        ask().result(timeout=60)
        yield dock.sn, fleet.ledger, ask


def test_others_are_served_and_the_stand_by_takes_over_while_the_rows_of_a_dock_are_locked(postgres_stack, report):
    stack = postgres_stack
    active = stack.start_bridge()
    start_standby(stack)
    with bound_dock(stack) as (sn, ledger, ask):
        with locked(stack, sn):
            asked = ask(), ask()
            with under_load(stack, at_least=1, rate=LOAD) as load:
                time.sleep(HELD / 2)
                stack.stop_bridge(active, signal.SIGKILL)
                time.sleep(HELD / 2)
            # They are all answered by now, and the rows are still locked.
            assert promise.unanswered(load.ledger) == 0
            assert not any(question.done() for question in asked)
            released = time.monotonic()
        assert [question.result(timeout=60)["output"]["err_infos"][0]["err_code"] for question in asked] == [0, 0]
        waited = time.monotonic() - released
    p50, p95, longest = load.ledger.latency(50, 95, 100)
    report(
        f"locked for {HELD} s: {load.sent} requests of 20 others, p50, p95 and longest wait "
        f"{p50:.3f}, {p95:.3f}, {longest:.3f} s; the dock itself {waited:.1f} s after that"
    )
    assert stack.served() == 2
    assert promise.broken(stack, load.ledger, ledger, longest_wait=HELD + 60.0) == []


@pytest.mark.turns(5)
def test_nobody_is_served_by_a_bridge_that_waits_for_a_lock(postgres_stack, report):
    stack = postgres_stack
    stack.start_bridge(command=command("endless_waits"))
    with bound_dock(stack) as (sn, _, ask):
        with locked(stack, sn):
            ask()
            with under_load(stack, at_least=1, rate=LOAD, grace=HELD) as load:
                time.sleep(0.5)
        report(f"waiting without a limit: {load.ledger.summary()}")
        assert promise.unanswered(load.ledger) > 0


def call(web, key, method, path, body=None):
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(web.host, timeout=60)) as connection:
        connection.request(method, f"/api/v1/{path}", body and json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_web_and_worker_go_on_while_the_rows_of_a_dock_are_locked(migrated, tmp_path):
    # In debug mode a program would get a page with the traceback.
    settings = PRODUCTION | {"ALLOWED_HOSTS": "127.0.0.1", "SECURE_SSL_REDIRECT": "false"}
    del settings["DATABASE_URL"]
    with (
        running_stack("postgresql", tmp_path, template=migrated("postgresql"), redis=Redis(), **settings) as stack,
        ExitStack() as later,
    ):
        key = stack.manage("shell", "-v0", "-c", SETUP + KEY).strip()
        fleet = later.enter_context(commands.commanded_fleet(stack, docks=2))
        stack.start_worker()
        web = stack.start_web()
        busy, free = (dock.sn for dock in fleet.docks)
        read = {"method": "unlock_license_list", "data": {"device_model_domain": 3}}
        with locked(stack, busy):
            status, problem = call(web, key, "PATCH", f"devices/{busy}/", {"callsign": "Pier 1"})
            assert (status, problem["type"].rsplit(":", 1)[-1]) == (503, "database_unavailable")
            assert call(web, key, "GET", f"devices/{busy}/")[0] == 200
            assert call(web, key, "POST", "service-calls/", {"device": busy, **read})[0] == 503
            status, made = call(web, key, "POST", "service-calls/", {"device": free, **read})
            assert status == 201
            assert stack.ended(made["id"]) == "succeeded"
        status, made = call(web, key, "POST", "service-calls/", {"device": busy, **read})
        assert status == 201
        assert stack.ended(made["id"]) == "succeeded"


def test_a_bridge_that_stops_amid_a_transaction_loses_its_locks_and_no_message(postgres_stack):
    postgres_stack.start_bridge(command=command("stop_amid"))
    with bound_dock(postgres_stack):
        assert postgres_stack.bound()
    said = postgres_stack.log.read_text()
    assert "No handler could cope" not in said
    assert "Not serving" not in said
