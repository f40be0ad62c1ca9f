"""The broker dies by `kill -9` under load (docs/reliability.md, test 3)."""

import signal
import time

import pytest

from cloudapi.embedded.servers import Mosquitto
from tests.fault import promise
from tests.fault.load import RATE, size, under_load

pytestmark = pytest.mark.fault

KILLS = size(2, 5)
LOAD = size(100.0, RATE)  # requests per second
REPEAT_AFTER = 3.0  # seconds
LONGEST_WAIT = size(60.0, 30.0)  # seconds; docks wait to repeat themselves, docks and bridge to connect again


@pytest.fixture
def stack(new_stack):
    with new_stack("postgresql", broker=Mosquitto(persistence=True)) as running:
        yield running


def run(stack, *, repeat_after, grace):
    """Load and kills; returns the load and the bridge."""
    bridge = stack.start_bridge()
    with under_load(stack, at_least=1, rate=LOAD, repeat_after=repeat_after, grace=grace) as load:
        for _ in range(KILLS):
            time.sleep(1.0)
            # While the bridge is held, messages pile up in the broker, and with it die those of its last second.
            bridge.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            stack.broker.kill()
            bridge.send_signal(signal.SIGCONT)
            stack.broker.start()
    return load, bridge


def test_every_request_is_answered_though_the_broker_dies(stack, report):
    load, bridge = run(stack, repeat_after=REPEAT_AFTER, grace=LONGEST_WAIT)
    repeats = sum(one.sends - 1 for one in load.ledger.transactions())
    report(f"{KILLS} kills of the broker, {repeats} repeats by docks, {load.ledger.summary()}")
    assert bridge.poll() is None
    assert promise.broken(stack, load.ledger, longest_wait=LONGEST_WAIT) == []


@pytest.mark.turns(5)
def test_checker_reports_the_loss_when_docks_do_not_repeat(stack, report):
    load, _ = run(stack, repeat_after=None, grace=4.0)
    report(f"docks that do not repeat: {KILLS} kills of the broker, {load.ledger.summary()}")
    assert promise.unanswered(load.ledger) > 0
