"""The bridge dies at each step between receiving and acknowledging (docs/reliability.md, test 14)."""

import asyncio
import signal

import pytest

from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.dock import Patience
from tests.fault import promise
from tests.fault.altered_bridge import EXIT_CODE, STEPS, command
from tests.fault.load import QUIET, size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

DOCKS = 10  # that nobody heard of before, for each step
ONCE = Patience(1, None)
NAMES = [step.__name__ for step in STEPS]
ON_SQLITE = size(["before_commit", "after_commit", "before_ack"], NAMES)  # the other steps know no database


async def ask(dock):
    """Status, bind, status, each after the answer to the one before."""
    await dock.request("airport_bind_status", joining.status_data(dock), patience=ONCE)
    await dock.request("airport_organization_bind", joining.bind_data(dock), patience=ONCE)
    await dock.request("airport_bind_status", joining.status_data(dock), patience=ONCE)


def run(stack, names, *alterations, grace=60.0):
    """One death per step, each among the requests of new docks, and a sound bridge at the end."""
    stack.stop_bridge(stack.start_bridge())  # from now on the broker keeps what docks say
    codes = []
    with stack.fleet(count=DOCKS * len(names), options=QUIET, stagger=0.0) as (fleet, loop):
        wait_for(lambda: all(dock.connection.is_open for dock in fleet.docks))
        asking = []
        for place, name in enumerate(names):
            docks = fleet.docks[place * DOCKS : (place + 1) * DOCKS]
            asking += [asyncio.run_coroutine_threadsafe(ask(dock), loop) for dock in docks]
            bridge = stack.start_bridge(command=command(name, *alterations), wait=False)
            codes.append(bridge.wait(timeout=60))
        stack.start_bridge()
        try:
            wait_for(lambda: all(future.done() for future in asking), seconds=grace)
        except AssertionError:
            for future in asking:
                future.cancel()
    return codes, fleet.ledger


def test_no_request_is_lost_wherever_the_bridge_dies(stack, report):
    names = ON_SQLITE if stack.database.name == "sqlite" else NAMES
    codes, ledger = run(stack, names)
    report(f"{stack.database.name}: deaths at {', '.join(names)}: {ledger.summary()}")
    assert {*codes} <= {EXIT_CODE, -signal.SIGKILL}  # it dies with the process of its control connection
    assert len(ledger.transactions()) == 3 * DOCKS * len(names)
    assert promise.broken(stack, ledger, longest_wait=120.0) == []


@pytest.mark.turns(5)
def test_checker_reports_the_loss_with_automatic_acknowledgement(postgres_stack, report):
    # Once only: the session of a bridge that died may live a moment longer, and would swallow what comes next.
    _, ledger = run(postgres_stack, NAMES[:1], "automatic_ack", grace=2.0)
    report(f"acknowledged on arrival: {ledger.summary()}")
    assert promise.unanswered(ledger) > 0
    assert promise.broken(postgres_stack, ledger, longest_wait=120.0) != []
