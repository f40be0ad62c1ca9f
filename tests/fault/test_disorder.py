"""Docks that answer twice, late and in any order: every call's history is a path of the state machine."""

import asyncio
import itertools
import random

import pytest

from cloudapi.embedded.servers import Redis
from devices.calls.states import MAY
from mqtt_bridge.simulator.account import progress
from mqtt_bridge.simulator.dock import Options
from tests.fault import altered_bridge
from tests.fault.load import size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

DOCKS = size(8, 40)
ROUNDS = size(2, 10)
LOGIN, LOGOUT = "login_dji_account", "logout_dji_account"
CREDENTIALS = {"username": "pilot@example.org", "password": "right"}
SILENCE = 2  # seconds


def answers(dock, chance):
    """Everything that a dock may say of a login, some of it twice, in any order."""
    said = [("reply", {"result": 0}), ("reply", {"result": 0, "output": {"status": "in_progress"}})]
    said += [("event", progress(dock, "in_progress", percent)) for percent in (90, 10, 50)]
    said += [("event", progress(dock, status, 0)) for status in ("sent", "paused", chance.choice(["ok", "failed"]))]
    said += chance.sample(said, 4)
    chance.shuffle(said)
    return said


def disorderly(seed, *, some_are_late):
    """A handler that says all of it; every fourth dock says nothing at first until the server has given up."""
    chance = random.Random(seed)

    async def handle(dock, command):
        is_late = some_are_late and seed % 4 == 0 and not dock.talking

        async def say():
            if is_late:
                await dock.given_up.wait()
            for kind, data in answers(dock, chance):
                await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05]))
                if kind == "reply":
                    await dock.send_reply(command, data)
                else:
                    await dock.send_event(command.method, data, bid=command.bid, need_reply=chance.random() < 0.3)

        dock.talking.append(asyncio.ensure_future(say()))

    return handle


def run(stack, rounds, *, some_are_late=True):
    """Log in on every dock, again and again, and wait until all has been said."""
    stack.start_worker()
    with stack.fleet(count=DOCKS, options=Options(osd_rate=1)) as (fleet, loop):
        wait_for(lambda: all(dock.is_onboarded for dock in fleet.docks))
        for number, dock in enumerate(fleet.docks):
            dock.talking, dock.given_up = [], asyncio.Event()
            dock.handlers[LOGIN] = dock.handlers[LOGOUT] = disorderly(number, some_are_late=some_are_late)
        for count in range(rounds):
            calls = [
                stack.issue(dock.sn, LOGIN if count % 2 else LOGOUT, CREDENTIALS if count % 2 else {})
                for dock in fleet.docks
            ]
            for dock, call in zip(fleet.docks, calls, strict=True):
                stack.ended(call["id"])
                loop.call_soon_threadsafe(dock.given_up.set)
        wait_for(lambda: all(talk.done() for dock in fleet.docks for talk in dock.talking))
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), loop).result()


def violations(stack):
    """What in the histories is no path of the table."""
    events = stack.rows(
        "SELECT call_id, version, status, percent FROM devices_servicecallevent ORDER BY call_id, version"
    )
    final = {key: rest for key, *rest in stack.rows("SELECT id, version, status, percent FROM devices_servicecall")}
    histories = {}
    for key, *rest in events:
        histories.setdefault(key, []).append(rest)
    wrong = []
    for key, history in histories.items():
        if [version for version, _, _ in history] != list(range(1, len(history) + 1)):
            wrong.append(f"{key}: versions {history}")
        if history[-1] != final[key]:
            wrong.append(f"{key}: ends as {history[-1]}, and the row is {final[key]}")
        for (_, before, earlier), (_, after, later) in itertools.pairwise(history):
            if after not in {before, *MAY[before]}:
                wrong.append(f"{key}: {before} became {after}")
            if (later or 0) < (earlier or 0):
                wrong.append(f"{key}: {earlier} % became {later} %")
    return histories, wrong


@pytest.fixture
def stack(new_stack):
    with new_stack("postgresql", redis=Redis(), SERVICE_SILENCE_ACCOUNT=str(SILENCE)) as running:
        yield running


def test_every_history_is_a_path(stack, report):
    stack.start_bridge()
    run(stack, ROUNDS)
    histories, wrong = violations(stack)
    late = stack.rows("SELECT count(*) FROM devices_servicecall WHERE late")[0][0]
    report(f"{len(histories)} calls, {sum(map(len, histories.values()))} steps, {late} ended late, {len(wrong)} wrong")
    assert len(histories) == DOCKS * ROUNDS
    assert late
    assert wrong == []


@pytest.mark.turns(5)
def test_checker_reports_a_bridge_that_believes_everything(stack, report):
    stack.start_bridge(command=altered_bridge.command("no_table"))
    run(stack, 1, some_are_late=False)
    _, wrong = violations(stack)
    report(f"a bridge that believes everything: {len(wrong)} wrong steps")
    assert wrong
