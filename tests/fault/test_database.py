"""PostgreSQL restarts and freezes under load (docs/reliability.md, test 4)."""

import time

import pytest

from cloudapi.embedded.servers import Mosquitto, PostgreSQL, Redis
from tests.fault import commands, promise
from tests.fault.altered_bridge import command
from tests.fault.load import RATE, size, under_load
from tests.stack import PostgresDatabase, running_stack, wait_for

pytestmark = pytest.mark.fault

RESTARTS = size(2, 5)
FROZEN = size(3.0, 30.0)  # seconds
STEADY = 0.5  # seconds
LOAD = size(60.0, RATE)  # requests per second
ACKNOWLEDGED = "Received PUBACK from dock-cloud-bridge "


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as running:
        yield running


@pytest.fixture(scope="module")
def prepared_there(server, prepared):
    """A database of that server to copy from."""
    return PostgresDatabase(server.url, None, prepared("postgresql"))


@pytest.fixture
def stack(server, prepared_there, tmp_path):
    # The broker's log is the witness of what was acknowledged.
    broker = Mosquitto(config="log_type all")
    with running_stack(
        "postgresql", tmp_path, server_url=server.url, template=prepared_there, broker=broker
    ) as running:
        yield running


def acknowledged(stack):
    """How many messages the bridge has acknowledged, as the broker tells."""
    return stack.broker.log.read_text(errors="replace").count(ACKNOWLEDGED)


def is_steady(stack):
    """Whether the bridge acknowledges nothing for a while."""
    before = acknowledged(stack)
    time.sleep(STEADY)
    return acknowledged(stack) == before


def freeze(stack, server, seconds, *, settles=True):
    """Freeze the database; returns how many messages were acknowledged meanwhile."""
    server.freeze()
    try:
        if settles:
            wait_for(lambda: is_steady(stack))  # what was committed before is acknowledged then
        before = acknowledged(stack)
        time.sleep(seconds)
        return acknowledged(stack) - before
    finally:
        server.thaw()


def test_no_request_is_lost_when_the_database_restarts_and_freezes(stack, server, report):
    bridge = stack.start_bridge()
    with under_load(stack, at_least=1, rate=LOAD) as load:
        for _ in range(RESTARTS):
            time.sleep(0.5)
            server.restart()
        time.sleep(1.0)
        meanwhile = freeze(stack, server, FROZEN)
        time.sleep(0.5)
    report(
        f"{RESTARTS} restarts, frozen for {FROZEN} s, {meanwhile} acknowledged meanwhile, "
        f"{acknowledged(stack)} in all, {load.ledger.summary()}"
    )
    assert meanwhile == 0
    wait_for(lambda: acknowledged(stack) >= load.sent)  # the last are acknowledged after their answers
    assert bridge.poll() is None
    assert promise.broken(stack, load.ledger, longest_wait=FROZEN + size(60.0, 30.0)) == []


@pytest.mark.turns(5)
def test_broker_sees_what_a_careless_bridge_acknowledges_while_the_database_is_frozen(stack, server, report):
    bridge = stack.start_bridge(command=command("automatic_ack"))
    with under_load(stack, at_least=1, rate=LOAD, grace=3.0) as load:
        time.sleep(0.5)
        meanwhile = freeze(stack, server, 1.0, settles=False)
        stack.stop_bridge(bridge, 9)
    report(f"acknowledged on arrival: {meanwhile} acknowledged while frozen, {load.ledger.summary()}")
    assert meanwhile > 0
    assert promise.unanswered(load.ledger) > 0


def test_idle_bridge_serves_on_after_a_restart_of_the_database(stack, server):
    stack.start_bridge()
    wait_for(lambda: stack.rows("SELECT 1 FROM mqtt_bridge_heartbeat"))  # it has an open connection
    server.restart()
    wait_for(lambda: "Not serving" in stack.log.read_text())
    wait_for(lambda: stack.served() == 2)
    time.sleep(3.0)
    assert stack.served() == 2


def test_worker_goes_on_after_a_restart_of_the_database(server, prepared_there, tmp_path):
    with (
        running_stack("postgresql", tmp_path, server_url=server.url, template=prepared_there, redis=Redis()) as stack,
        commands.commanded_fleet(stack, docks=3) as fleet,
    ):
        worker = stack.start_worker(beat=False)  # nobody helps a task that fails
        for round_ in (1, 2):
            commands.issue(stack, count=3, rate=1000.0)
            wait_for(lambda asked=round_ * 3: len(fleet.ledger.commands()) == asked)
            commands.wait_until_closed(stack, 10.0)
            server.restart()
        assert worker.poll() is None
