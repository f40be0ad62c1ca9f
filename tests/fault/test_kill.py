"""The bridge, or one of its processes, dies by `kill -9` under load (docs/reliability.md, tests 1, 2 and 18)."""

import os
import random
import signal
import time

import pytest

from cloudapi.embedded.processes import children
from tests.fault import promise
from tests.fault.altered_bridge import command
from tests.fault.load import size, under_load
from tests.stack import wait_for

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


def test_no_request_is_lost_when_the_process_of_the_connection_is_killed(postgres_stack, report):
    bridge, starts = postgres_stack.start_bridge(), []
    with under_load(postgres_stack, at_least=REQUESTS) as load:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.0, 0.8))
            before, began = postgres_stack.served(), time.monotonic()
            [session] = children(bridge.pid)
            os.kill(session, signal.SIGKILL)
            wait_for(lambda before=before: postgres_stack.served() > before)
            starts.append(time.monotonic() - began)
    report(figures(load, max(starts)))
    assert bridge.poll() is None
    assert promise.broken(postgres_stack, load.ledger, start=max(starts)) == []


@pytest.mark.turns(5)
@pytest.mark.parametrize("protection", ["automatic_ack", "clean_session"])
def test_checker_reports_the_loss_without(protection, postgres_stack, report):
    load, start = run(postgres_stack, command(protection), grace=2.0)
    report(f"without {protection}: {figures(load, start)}")
    assert promise.unanswered(load.ledger) > 0
    assert f"{promise.unanswered(load.ledger)} of" in promise.broken(postgres_stack, load.ledger)[0]
