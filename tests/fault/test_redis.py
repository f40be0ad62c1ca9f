"""Redis loses everything, or hangs, while commands are issued (docs/reliability.md, test 7)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudapi.embedded.servers import Redis
from tests.fault import commands
from tests.fault.commands import SILENCE
from tests.fault.load import size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

COMMANDS = size(60, 200)
RATE = 30.0  # commands per second
DOCKS = 5
HUNG = size(0.0, 60.0)  # seconds
ISSUED_WITHIN = size(60.0, 5.0)  # seconds
HELD = 6.0  # seconds that a sender waits which has no timeout, three times as long as one that has
WITHOUT_TIMEOUT = {"socket_timeout": None}


@pytest.fixture
def stack(new_stack):
    env = {"SERVICE_SILENCE": str(SILENCE), "SERVICE_CALL_EXPIRES": "300"}  # they may wait until Redis is back
    with new_stack("postgresql", redis=Redis(), **env) as running:
        yield running


def run(stack, break_redis, *, asked=COMMANDS, beat=True, patience=60.0, **transport):
    """Issue commands, and break Redis when a third of them is there; returns the ledger and the slowest issue."""
    with commands.commanded_fleet(stack, docks=DOCKS) as fleet, ThreadPoolExecutor(1) as pool:
        stack.start_worker(beat=beat)
        issuing = pool.submit(commands.issue, stack, count=asked, rate=RATE, **transport)
        wait_for(lambda: commands.count(stack) >= asked // 3)
        break_redis(stack)
        took = issuing.result()
        commands.wait_until_closed(stack, patience)
    return fleet.ledger, max(took)


def lose_all(stack):
    stack.redis.kill()
    time.sleep(1.0)
    stack.redis.start()


def hang(stack):
    """Let Redis hang until whoever issues has gone on twice: the first command may have come through before."""
    stack.redis.freeze()
    try:
        before = commands.count(stack)
        time.sleep(HUNG)
        wait_for(lambda: commands.count(stack) >= before + 3)
    finally:
        stack.redis.thaw()


def test_every_command_is_sent_and_ends_when_redis_loses_all(stack, report):
    ledger, slowest = run(stack, lose_all)
    report(f"killed: {commands.summary(stack, ledger)}, slowest issue {slowest:.2f} s")
    assert slowest <= ISSUED_WITHIN
    assert list(commands.broken(stack, ledger, asked=COMMANDS)) == [], stack.worker_log.read_text()[-6000:]
    assert len(ledger.commands()) == COMMANDS


@pytest.mark.turns(5)
def test_commands_without_a_task_stay_behind_if_nobody_sweeps(stack, report):
    ledger, _ = run(stack, lose_all, beat=False, patience=3.0)
    report(f"killed, no sweep: {commands.summary(stack, ledger)}")
    assert len(ledger.commands()) < COMMANDS
    assert "commands have no end" in "".join(commands.broken(stack, ledger, asked=COMMANDS))


def test_every_command_is_sent_and_ends_when_redis_hangs(stack, report):
    ledger, slowest = run(stack, hang, asked=size(20, 60))
    report(f"hung: {commands.summary(stack, ledger)}, slowest issue {slowest:.2f} s")
    assert 1.0 < slowest <= ISSUED_WITHIN
    assert list(commands.broken(stack, ledger, asked=size(20, 60))) == [], stack.worker_log.read_text()[-6000:]
    assert len(ledger.commands()) == size(20, 60)


@pytest.mark.turns(5)
def test_hung_redis_holds_whoever_issues_as_long_as_it_likes_without_a_timeout(stack, report):
    issued = []

    def hang_long(stack):
        stack.redis.freeze()
        issued.append(commands.count(stack))
        time.sleep(HELD)
        issued.append(commands.count(stack))
        stack.redis.thaw()

    _, slowest = run(stack, hang_long, asked=10, patience=0.0, **WITHOUT_TIMEOUT)
    report(f"hung for {HELD} s, no timeout: slowest issue {slowest:.2f} s")
    assert issued[1] < issued[0] + 3
    assert slowest > HELD - 1
