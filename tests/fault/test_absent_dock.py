"""A dock gets commands while it is away with a session that the broker keeps (docs/reliability.md, test 15)."""

import time

import pytest

from cloudapi.embedded.servers import Redis
from tests.fault import altered_worker, commands
from tests.fault.commands import SILENCE
from tests.fault.load import run_in_loop
from tests.stack import wait_for

pytestmark = pytest.mark.fault

SWITCHES = 50
SETTLED = 1.0  # seconds that a broker needs at most to hand over what it kept


@pytest.fixture
def stack(new_stack):
    with new_stack("postgresql", redis=Redis(), SERVICE_SILENCE=str(SILENCE)) as running:
        yield running


def command_absent_dock(stack, *alterations):
    """Command a dock that is away; returns how many commands it receives when it is back, after the deadline."""
    options = {"command": altered_worker.command(*alterations)} if alterations else {}
    stack.start_worker(beat=False, **options)
    with commands.commanded_fleet(stack, docks=1, session_expiry=3600):
        pass
    commands.issue(stack, count=SWITCHES, rate=1000.0)
    commands.wait_until_sent(stack, SWITCHES)
    time.sleep(SILENCE + SETTLED)
    with stack.fleet(count=1, options=commands.chatty(session_expiry=3600)) as (fleet, loop):
        run_in_loop(fleet.onboarded(60), loop)
        if alterations:
            wait_for(lambda: len(fleet.ledger.commands()) >= SWITCHES)
        time.sleep(SETTLED)
    return len(fleet.ledger.commands())


def test_dock_that_is_back_after_the_deadline_receives_no_command(stack):
    assert command_absent_dock(stack) == 0


@pytest.mark.turns(5)
def test_dock_that_is_back_receives_them_all_without_an_expiry(stack, report):
    received = command_absent_dock(stack, "no_expiry")
    report(f"without message expiry: {received} of {SWITCHES} stale commands reached the dock")
    assert received == SWITCHES
