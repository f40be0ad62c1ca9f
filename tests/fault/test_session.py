"""The broker restarts without its sessions while a handler runs (docs/reliability.md, test 12).

Packet ids begin anew then: an acknowledgement of a message from before would swallow one from after.
"""

import contextlib
import re
from contextlib import contextmanager

import psycopg
import pytest

from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.dock import Patience
from tests.fault.altered_bridge import EXIT_CODE, command
from tests.fault.load import QUIET
from tests.stack import wait_for

pytestmark = pytest.mark.fault

DOCKS = 10
ONCE = Patience(1, None)
SUBSCRIBED = "Sending SUBACK to dock-cloud-bridge\n"
HANDED_OVER = re.compile("Sending PUBLISH to dock-cloud-bridge .*/requests'")


@pytest.fixture
def stack(new_stack):
    with new_stack("postgresql", broker=Mosquitto(config="log_type all")) as running:
        yield running


@contextmanager
def handlers_held(stack):
    """Let every handler that binds wait for a table, as long as the body lasts."""
    with psycopg.connect(stack.database.url) as connection:
        connection.execute("LOCK TABLE devices_device IN ACCESS EXCLUSIVE MODE")
        yield


def is_waiting(stack):
    """Whether a handler waits for the table."""
    return stack.rows("SELECT 1 FROM pg_locks WHERE NOT granted")


def ask(fleet, loop, names):
    """Let these docks ask to be bound, once each; they do not wait here for the answers."""
    for dock in [fleet.dock(name) for name in names]:
        question = dock.request("airport_organization_bind", joining.bind_data(dock), patience=ONCE)
        loop.call_soon_threadsafe(dock.spawn, question)


def has_subscribed(stack):
    return SUBSCRIBED in stack.broker.log.read_text(errors="replace")


def has_all(stack):
    """Whether what all of them ask has been handed to the bridge since the broker's latest start."""
    return len(HANDED_OVER.findall(stack.broker.log.read_text(errors="replace"))) >= DOCKS


def run(stack, *alterations):
    """Bind requests before and after the session is lost; returns the unanswered from after.

    Requests are sent as soon as the bridge has subscribed again: the sound one does when its handler is through, the
    altered one while it still runs, and dies when that is done.
    """
    options = {"command": command(*alterations)} if alterations else {}
    bridge = stack.start_bridge(**options)
    with stack.fleet(count=2 * DOCKS, options=QUIET, stagger=0.0) as (fleet, loop):
        names = [dock.sn for dock in fleet.docks]
        wait_for(lambda: all(dock.connection.is_open for dock in fleet.docks))
        with handlers_held(stack):
            ask(fleet, loop, names[:DOCKS])
            wait_for(lambda: is_waiting(stack))
            wait_for(lambda: has_all(stack))
            stack.broker.kill()
            stack.broker.start()
            wait_for(lambda: all(dock.connection.is_open for dock in fleet.docks))
            if alterations:
                wait_for(lambda: has_subscribed(stack))
                ask(fleet, loop, names[DOCKS:])
                wait_for(lambda: has_all(stack))
        if alterations:
            assert bridge.wait(timeout=60) == EXIT_CODE
            stack.start_bridge()
        else:
            wait_for(lambda: has_subscribed(stack))
            ask(fleet, loop, names[DOCKS:])
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not unanswered(fleet, names[DOCKS:]), 2.0 if alterations else 30.0)
    return unanswered(fleet, names[DOCKS:]), bridge


def unanswered(fleet, names):
    """Which of these docks have got no answer."""
    answered = {one.sn for one in fleet.ledger.transactions() if one.answers}
    return [name for name in names if name not in answered]


def test_nothing_published_after_a_lost_session_is_lost(stack):
    unanswered, bridge = run(stack)
    assert unanswered == []
    assert bridge.poll() is None


@pytest.mark.turns(5)
def test_late_acknowledgements_swallow_messages_on_a_connection_that_restores_itself(stack, report):
    unanswered, _ = run(stack, "same_connection", "handled")
    report(f"acknowledged on another connection: {len(unanswered)} of {DOCKS} requests lost")
    assert unanswered != []
