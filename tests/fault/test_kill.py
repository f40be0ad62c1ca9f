"""The bridge dies by `kill -9` under load, again and again (docs/reliability.md, tests 1 and 2)."""

import random
import signal
import time

import pytest

from tests.fault import promise
from tests.fault.altered_bridge import command
from tests.fault.load import size, under_load

pytestmark = pytest.mark.fault

REQUESTS = size(600, 6_000)
KILLS = size(3, 20)
BACKLOG = size(1.0, 1.5)  # seconds of load that wait for a bridge which is to be killed in the midst of them
SAFE = ("manage.py", "run_mqtt_bridge")


def run(stack, bridge_command, *, kills=KILLS, requests=REQUESTS, grace=60.0):
    """Load and kills; returns the load, whose ledger tells what came of it, and the slowest start in seconds."""
    bridge, starts = stack.start_bridge(command=bridge_command), []
    with under_load(stack, at_least=requests, grace=grace) as load:
        for number in range(kills):
            # Every other kill hits a bridge that is busy with what queued up while none ran: an idle one loses little.
            is_busy = number % 2
            time.sleep(random.uniform(0.0, 0.05) if is_busy else random.uniform(0.3, 0.8))
            stack.stop_bridge(bridge, signal.SIGKILL)
            time.sleep(0.0 if is_busy else BACKLOG)
            began = time.monotonic()
            bridge = stack.start_bridge(command=bridge_command)
            starts.append(time.monotonic() - began)
    return load, max(starts)


def figures(load, start, kills=KILLS):
    return f"{kills} kills, {load.ledger.summary()}, slowest start {start:.1f} s"


def test_no_request_is_lost_when_the_bridge_is_killed(stack, report):
    load, start = run(stack, SAFE)
    report(f"{stack.database.name}: {figures(load, start)}")
    assert promise.broken(stack, load.ledger, start=start) == []


@pytest.mark.turns(5)
@pytest.mark.parametrize("protection", ["automatic_ack", "clean_session"])
def test_checker_reports_the_loss_without(protection, postgres_stack, report):
    load, start = run(postgres_stack, command(protection), grace=2.0)
    report(f"without {protection}: {figures(load, start)}")
    assert promise.unanswered(load.ledger) > 0
    assert f"{promise.unanswered(load.ledger)} of" in promise.broken(postgres_stack, load.ledger)[0]
