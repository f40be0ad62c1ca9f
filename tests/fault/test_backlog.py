"""Requests queue at the broker while no bridge runs (docs/reliability.md, test 11)."""

import time

import pytest

from cloudapi.embedded.servers import Mosquitto
from tests.fault import promise
from tests.fault.load import QUIET, Load, run_in_loop, size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

DOCKS = 100
QUEUED = size(2_000, 20_000)
DRAINED = 60.0  # seconds on idle cores
LOGGED = "log_type all"
UNPROTECTED = "log_type all\nmax_queued_messages 1000"  # Mosquitto's default


def run(stack, report, *, grace):
    """Send while no bridge runs, then start one; returns the load and how long the bridge took, in seconds."""
    stack.stop_bridge(stack.start_bridge())
    with stack.fleet(count=DOCKS, sn_prefix="LOAD", options=QUIET, stagger=0.0) as (fleet, loop):
        wait_for(lambda: all(dock.connection.is_open for dock in fleet.docks))
        load = Load(fleet, loop)

        async def send():
            for place in range(QUEUED):
                load.send(place)

        run_in_loop(send(), loop)
        # The broker acknowledges what it drops, too.
        wait_for(lambda: stack.broker.log.read_text(errors="replace").count("/requests', ...") >= QUEUED)
        stack.start_bridge()
        began = time.monotonic()
        run_in_loop(load.collect(grace), loop)
    took = time.monotonic() - began
    report(f"{QUEUED} queued requests: answered in {took:.1f} s, {load.ledger.summary()}")
    return load, took


def test_a_backlog_is_answered_whole(new_stack, report):
    with new_stack("postgresql", broker=Mosquitto(config=LOGGED)) as stack:
        load, took = run(stack, report, grace=10 * DRAINED)
        assert promise.broken(stack, load.ledger, longest_wait=20 * DRAINED) == []
        assert took <= size(10 * DRAINED, DRAINED)


@pytest.mark.turns(5)
def test_a_broker_that_queues_little_loses_requests(new_stack, report):
    with new_stack("postgresql", broker=Mosquitto(config=UNPROTECTED)) as stack:
        load, _ = run(stack, report, grace=5.0)
    assert promise.unanswered(load.ledger) > 0
