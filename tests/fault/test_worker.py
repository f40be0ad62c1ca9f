"""Workers die by `kill -9` with commands in their hands (docs/reliability.md, test 6)."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudapi.embedded.servers import Redis
from tests.fault import altered_worker, commands
from tests.fault.altered_worker import EXIT_CODE, STEPS
from tests.fault.commands import SILENCE
from tests.fault.load import size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

COMMANDS = size(60, 200)
KILLS = size(3, 10)
RATE = 20.0  # commands per second
DOCKS = 5


@pytest.fixture
def stack(new_stack):
    env = {"SERVICE_SILENCE": str(SILENCE), "SERVICE_CALL_EXPIRES": "300"}  # they may wait until a worker is back
    with new_stack("postgresql", redis=Redis(), **env) as running:
        yield running


def kill(worker):
    """End a worker with everything that belongs to it."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def test_no_command_is_published_twice_and_each_ends_when_workers_are_killed(stack, report):
    with commands.commanded_fleet(stack, docks=DOCKS) as fleet, ThreadPoolExecutor(1) as pool:
        worker = stack.start_worker()
        issuing = pool.submit(commands.issue, stack, count=COMMANDS, rate=RATE)
        for _ in range(KILLS):
            time.sleep(random.uniform(0.2, 0.6))
            kill(worker)
            worker = stack.start_worker()
        issuing.result()
        commands.wait_until_closed(stack, SILENCE + commands.CLOSING)
    report(f"{KILLS} kills, {commands.summary(stack, fleet.ledger)}")
    assert list(commands.broken(stack, fleet.ledger, asked=COMMANDS)) == []


def die_at(stack, steps, *, asked, protections_taken=(), patience=SILENCE + commands.CLOSING):
    """Let a worker die at each step while commands wait for it, then let a sound one clear up; returns the ledger.

    The docks never answer: an answer would tell the server what it forgot.
    """
    with commands.commanded_fleet(stack, docks=DOCKS, faults=["silent"]) as fleet:
        commands.issue(stack, count=asked, rate=1000.0)
        for step in steps:
            altered = altered_worker.command(*protections_taken, step)
            worker = stack.start_worker(command=altered, pool="solo", beat=False, wait=False)
            assert worker.wait(timeout=60) == EXIT_CODE
        stack.start_worker()
        commands.wait_until_closed(stack, patience)
    return fleet.ledger


def test_no_command_is_published_twice_wherever_the_worker_dies(stack, report):
    names = [step.__name__ for step in STEPS]
    ledger = die_at(stack, names, asked=15)
    report(f"deaths at {', '.join(names)}: {commands.summary(stack, ledger)}")
    assert list(commands.broken(stack, ledger, asked=15)) == []
    assert len(ledger.commands()) == 14  # one was claimed by a worker that died before it published


@pytest.mark.turns(5)
def test_checker_reports_what_a_claim_that_is_not_final_publishes_twice(stack, report):
    ledger = die_at(stack, ["published"], asked=10, protections_taken=["claim_last"], patience=6.0)
    report(f"claimed last: {commands.summary(stack, ledger)}")
    assert "1 commands reached a dock twice" in commands.broken(stack, ledger, asked=10)


def test_worker_that_is_asked_to_end_ends_with_0_and_leaves_nothing_undone(stack, report):
    with commands.commanded_fleet(stack, docks=DOCKS) as fleet, ThreadPoolExecutor(1) as pool:
        worker = stack.start_worker(concurrency=2)
        issuing = pool.submit(commands.issue, stack, count=COMMANDS, rate=RATE)
        wait_for(lambda: commands.count(stack) >= COMMANDS // 3)
        asked = time.monotonic()
        assert stack.stop_worker(worker) == 0  # within a minute
        took = time.monotonic() - asked
        stack.start_worker()
        issuing.result()
        commands.wait_until_closed(stack, SILENCE + commands.CLOSING)
    report(f"ended in {took:.1f} s, {commands.summary(stack, fleet.ledger)}")
    assert took <= size(60.0, 10.0)
    assert list(commands.broken(stack, fleet.ledger, asked=COMMANDS)) == []
    assert len(fleet.ledger.commands()) == COMMANDS
