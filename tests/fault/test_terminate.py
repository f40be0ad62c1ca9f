"""The bridge is asked to end under load (docs/reliability.md, test 16)."""

import signal
import time

import pytest

from tests.fault import promise
from tests.fault.altered_bridge import command
from tests.fault.load import RATE, size, under_load

pytestmark = pytest.mark.fault

STOPS = size(2, 10)
EXIT_WITHIN = size(60.0, 10.0)  # seconds


def run(stack, *bridge_command, grace=60.0):
    """Load and orderly stops; returns the load, the exit codes, the longest time of an end and of a start."""
    options = {"command": bridge_command} if bridge_command else {}
    bridge, codes, ends, starts = stack.start_bridge(**options), [], [], []
    with under_load(stack, at_least=STOPS * 100, rate=size(100.0, RATE), grace=grace) as load:
        for _ in range(STOPS):
            time.sleep(0.4)
            asked = time.monotonic()
            codes.append(stack.stop_bridge(bridge, signal.SIGTERM))
            ends.append(time.monotonic() - asked)
            bridge = stack.start_bridge(**options)
            starts.append(time.monotonic() - asked - ends[-1])
    return load, codes, max(ends), max(starts)


def test_no_request_is_lost_when_the_bridge_is_stopped(stack, report):
    load, codes, slowest, start = run(stack)
    report(f"{stack.database.name}: {STOPS} stops, the slowest {slowest:.1f} s, {load.ledger.summary()}")
    assert codes == [0] * STOPS
    assert slowest <= EXIT_WITHIN
    assert promise.broken(stack, load.ledger, start=start) == []


@pytest.mark.turns(5)
def test_checker_reports_what_a_stop_loses_with_a_clean_session(postgres_stack, report):
    load, *_ = run(postgres_stack, *command("clean_session"), grace=2.0)
    report(f"without a persistent session: {STOPS} stops, {load.ledger.summary()}")
    assert promise.unanswered(load.ledger) > 0
    assert promise.broken(postgres_stack, load.ledger) != []
