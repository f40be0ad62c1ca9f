"""The password of a DJI account through success, failure, a crash and a second try: found nowhere afterwards."""

import asyncio
import http.client
import json
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from cloudapi.embedded.servers import Mosquitto, Redis
from mqtt_bridge.simulator.dock import Options
from tests.clients import Client
from tests.fault import altered_worker
from tests.stack import wait_for

pytestmark = pytest.mark.fault

LOGIN = "login_dji_account"
USER, PASSWORD, CODE = "canary-user", "canary-password", "canary-code"
MAKE_KEY = """
from organizations.models import Organization, OrganizationAPIKey
organization = Organization.objects.get(organization_id="12345678")
print(OrganizationAPIKey.objects.create_key(organization=organization, name="canary", role="operator")[1])
"""
OPTIONS = Options(osd_rate=1, session_expiry=600)  # the broker keeps for this dock what it may keep


@pytest.fixture
def stack(new_stack):
    broker = Mosquitto(persistence=True)
    with new_stack(
        "postgresql", broker=broker, redis=Redis(), SERVICE_SILENCE_ACCOUNT="4", LOG_LEVEL="DEBUG", LOG_FORMAT="JSON"
    ) as running:
        running.start_bridge()
        yield running


@pytest.fixture
def dock(stack):
    with stack.fleet(options=OPTIONS) as (fleet, loop):
        [dock] = fleet.docks
        wait_for(lambda: dock.is_onboarded)
        dock.loop = loop
        yield dock


@contextmanager
def overheard(url):
    """Everything that any client says to this Redis: tasks and frames."""
    lines = []
    client = redis.Redis.from_url(url)

    def listen():
        with client.monitor() as monitor:
            ready.set()
            for command in monitor.listen():
                lines.append(command["command"])
                if "the end" in command["command"]:
                    return

    ready = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    ready.wait(60)
    yield lines
    client.publish("nobody", "the end")
    listener.join()


def login(stack, dock, password=PASSWORD, code=CODE):
    return stack.issue(dock.sn, LOGIN, {"username": USER, "password": password, "verification_code": code})["id"]


def rest_login(stack, web, dock, *, key):
    """Ask over REST, twice with one key and once more with that key and another password; returns the call's id."""
    api_key = stack.manage("shell", "-v0", "-c", MAKE_KEY).strip()
    answers = []
    for password in (PASSWORD, PASSWORD, f"{PASSWORD}!"):
        data = {"username": USER, "password": password, "verification_code": CODE}
        client = http.client.HTTPConnection(web.host, timeout=20)
        client.request(
            "POST",
            "/api/v1/service-calls/",
            json.dumps({"device": dock.sn, "method": LOGIN, "data": data}),
            {"Authorization": f"Api-Key {api_key}", "Content-Type": "application/json", "Idempotency-Key": key},
        )
        with client.getresponse() as response:
            answers.append((response.status, response.read().decode()))
        client.close()
    assert [status for status, _ in answers] == [201, 201, 422]
    assert answers[0] == answers[1]
    assert not any(canary in body for _, body in answers for canary in (PASSWORD, CODE))
    return json.loads(answers[0][1])["id"]


def go_away(dock):
    """Leave the broker, which keeps the session; nobody has told the server yet."""
    asyncio.run_coroutine_threadsafe(dock.stop(), dock.loop).result(60)


def tables(stack):
    """Every row of every table as text."""
    names = stack.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join(row for (name,) in names for (row,) in stack.rows(f'SELECT t::text FROM "{name}" t'))


def database_files(stack):
    """What PostgreSQL has written to the disk, its log of changes included."""
    with psycopg.connect(stack.database.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        [(folder,)] = connection.execute("SHOW data_directory").fetchall()
        [(oid,)] = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchall()
    return [*(Path(folder) / "base" / str(oid)).glob("*"), *(Path(folder) / "pg_wal").glob("0*")]


def save(broker):
    """Let the broker write what it keeps."""
    path = broker.directory / "mosquitto.db"
    before = path.stat().st_mtime_ns if path.exists() else 0
    broker.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: path.exists() and path.stat().st_mtime_ns != before)


def places(stack, canary, *, redis_lines=()):
    """Where a word can be found."""
    save(stack.broker)
    files = {
        "database files": database_files(stack),
        "broker's files": [path for path in stack.broker.directory.glob("*") if path.is_file()],
        "logs": [log for log in (stack.log, stack.worker_log, stack.web_log) if log.exists()],
    }
    found = {name for name, paths in files.items() if any(canary.encode() in path.read_bytes() for path in paths)}
    found |= {"tables"} if canary in tables(stack) else set()
    return found | ({"Redis"} if canary in "\n".join(redis_lines) else set())


def test_password_and_code_are_found_nowhere_afterwards(stack, dock, report):
    dock.account.code = CODE
    with overheard(stack.redis.url) as lines:
        worker = stack.start_worker()
        assert stack.ended(login(stack, dock, code="")) == "failed"  # and wants the code
        assert stack.ended(login(stack, dock)) == "succeeded"
        assert stack.ended(rest_login(stack, stack.start_web(), dock, key="one")) == "succeeded"
        dock.account.wrong_password = PASSWORD
        assert stack.ended(login(stack, dock)) == "failed"
        worker.send_signal(signal.SIGSTOP)
        crashed = login(stack, dock)
        worker.kill()
        worker.wait()
        stack.start_worker()
        assert stack.ended(crashed) == "failed"
        go_away(dock)
        assert stack.ended(login(stack, dock)) == "timed_out"
    looked_at = [places(stack, canary, redis_lines=lines) for canary in (PASSWORD, CODE)]
    report(f"{len(lines)} commands to Redis; the password and the code were found in: {looked_at}")
    assert looked_at == [set(), set()]
    assert dock.account.username == USER
    # What is no secret is found, so the search works.
    assert places(stack, USER, redis_lines=lines) == {"database files", "tables", "Redis"}


@pytest.mark.turns(5)
def test_search_finds_a_password_that_a_broker_had_to_keep(stack, dock, report):
    stack.start_worker(command=altered_worker.command("login_at_qos_1"))
    go_away(dock)
    stack.ended(login(stack, dock))
    found = places(stack, PASSWORD)
    report(f"published at QoS 1 to a dock that is away: found in {found}")
    assert found == {"broker's files"}


@pytest.mark.skipif(not os.environ.get("FAULT_FULL"), reason="a short form is in tests/mqtt_bridge/test_dispatch.py")
def test_the_broker_keeps_no_license_for_a_dock_that_is_away(new_stack, report):
    """Somebody with the dock's account asks for it: the dock itself was cut off before the answer came."""
    license_of_the_app = "canary-license"
    with new_stack("postgresql", broker=Mosquitto(persistence=True), DJI_APP_LICENSE=license_of_the_app) as stack:
        stack.start_bridge()
        topic = "thing/product/AWAYDOCK/requests_reply"
        with Client(stack.broker.url, None, client_id="away", session=600) as away:
            away.subscribe(topic)
        with Client(stack.broker.url, None, client_id="asks") as asks:
            asks.subscribe(topic)
            for method in ("config", "airport_bind_status"):
                question = {"tid": method, "bid": "b", "timestamp": 1700000000000, "method": method, "data": {}}
                asks.publish("thing/product/AWAYDOCK/requests", json.dumps(question))
            wait_for(lambda: len(asks.received) == 2)
        assert license_of_the_app in str(asks.received)
        save(stack.broker)
        store = (stack.broker.directory / "mosquitto.db").read_bytes()
    kept = [word in store for word in (license_of_the_app.encode(), b"airport_bind_status")]
    report(f"in the broker's file: the license {kept[0]}, the answer that is no secret {kept[1]}")
    assert kept == [False, True]
