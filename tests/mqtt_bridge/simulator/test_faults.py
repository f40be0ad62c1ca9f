"""Each way of answering badly, as the cloud receives it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.account import Account
from mqtt_bridge.simulator.dialogue import Answer
from mqtt_bridge.simulator.dock import Dock
from mqtt_bridge.simulator.faults import FAULTS, Faults
from mqtt_bridge.simulator.fleet import Fleet
from tests.mqtt_bridge.simulator.cloud import Cloud, until

MakeDock = Callable[..., Dock]
Json = dict[str, Any]
LOGIN = {"username": "u", "password": "p", "verification_code": ""}


async def living(make_dock: MakeDock, *faults: str) -> Dock:
    """A dock whose logins succeed, but for its faults."""
    dock = make_dock(faults=faults)
    dock.account = Account(asks_for_code=False, pause=0)
    await dock.onboarded(20)
    return dock


async def log_in(cloud: Cloud) -> Json:
    return await cloud.command("DOCK1", "login_dji_account", LOGIN)


async def heard(cloud: Cloud, *, replies: int, events: int) -> tuple[list[Json], list[Json]]:
    """Exactly so many replies and events, and no more a little later."""
    await cloud.wait_for("services_reply", count=replies)
    await cloud.wait_for("events", count=events)
    await asyncio.sleep(0.05)
    found = cloud.messages("services_reply"), cloud.messages("events")
    assert (len(found[0]), len(found[1])) == (replies, events)
    return found


def percents(events: list[Json]) -> list[int]:
    return [event["data"]["output"]["progress"]["percent"] for event in events]


@pytest.mark.asyncio
async def test_slow_dock_answers_late(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "slow:0.3")
    start = time.monotonic()
    await log_in(cloud)
    await heard(cloud, replies=1, events=6)
    assert time.monotonic() - start > 0.3


@pytest.mark.asyncio
async def test_silent_dock_obeys_without_a_word(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, "silent")
    await log_in(cloud)
    await until(lambda: dock.account.username == "u")
    await heard(cloud, replies=0, events=0)


@pytest.mark.asyncio
async def test_duplicates_are_the_same_message(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "duplicate")
    await log_in(cloud)
    await heard(cloud, replies=2, events=12)
    for channel in ("services_reply", "events"):
        payloads = [payload for topic, payload in cloud.heard if topic.endswith(channel)]
        assert payloads[0::2] == payloads[1::2]


@pytest.mark.asyncio
async def test_foreign_tid_is_in_the_reply_only(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "foreign-tid")
    command = await log_in(cloud)
    [reply], events = await heard(cloud, replies=1, events=6)
    assert reply["tid"] != command["tid"]
    assert reply["bid"] == events[0]["bid"] == command["bid"]


@pytest.mark.asyncio
async def test_events_overtake_the_reply(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "event-before-reply")
    await log_in(cloud)
    await heard(cloud, replies=1, events=6)
    order = [topic for topic, _payload in cloud.heard if topic.endswith(("/events", "/services_reply"))]
    assert order == ["thing/product/DOCK1/events"] * 6 + ["thing/product/DOCK1/services_reply"]


@pytest.mark.asyncio
async def test_reply_comes_first_from_a_dock_without_faults(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock)
    await log_in(cloud)
    await heard(cloud, replies=1, events=6)
    order = [topic for topic, _payload in cloud.heard if topic.endswith(("/events", "/services_reply"))]
    assert order[0] == "thing/product/DOCK1/services_reply"


@pytest.mark.asyncio
async def test_percent_goes_down(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "percent-backwards")
    await log_in(cloud)
    _, events = await heard(cloud, replies=1, events=6)
    assert percents(events) == [90, 70, 50, 30, 10, 100]


@pytest.mark.asyncio
async def test_ok_comes_with_an_error(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "ok-with-error")
    await log_in(cloud)
    _, events = await heard(cloud, replies=1, events=6)
    assert (events[-1]["data"]["output"]["status"], events[-1]["data"]["result"]) == ("ok", 325003)
    assert events[-2]["data"]["result"] == 0


@pytest.mark.asyncio
async def test_ok_with_error_is_in_the_reply_where_there_are_no_events(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "ok-with-error")
    await cloud.command("DOCK1", "unlock_license_update", {})
    [reply], _ = await heard(cloud, replies=1, events=0)
    assert reply["data"] == {"result": 325003, "output": {"status": "ok"}}


@pytest.mark.asyncio
async def test_stripped_reply_holds_a_result_alone(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "stripped")
    await cloud.command("DOCK1", "unlock_license_list", {"device_model_domain": 0})
    await log_in(cloud)
    replies, _ = await heard(cloud, replies=2, events=6)
    assert [reply["data"] for reply in replies] == [{"result": 0}, {"result": 0}]


@pytest.mark.asyncio
async def test_answer_comes_after_a_restart(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, "after-restart")
    command = await log_in(cloud)
    [reply], _ = await heard(cloud, replies=1, events=6)
    assert reply["tid"] == command["tid"]
    assert [one.outcome for one in dock.steps if one.name == "connect"] == ["ok", "lost", "ok"]
    assert dock.ledger.commands() == {("DOCK1", command["tid"]): 1}


@pytest.mark.asyncio
async def test_rejected_command_is_not_done(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, "rejected")
    await log_in(cloud)
    await cloud.command("DOCK1", "unlock_license_update", {})
    replies, _ = await heard(cloud, replies=2, events=0)
    assert [reply["data"] for reply in replies] == [
        {"result": 0, "output": {"status": "rejected"}},
        {"result": 314000},
    ]
    assert (dock.account.username, dock.licenses.consistence) == ("", False)


@pytest.mark.asyncio
@pytest.mark.parametrize("asks_for_code", [True, False])
async def test_progress_stops_at_fifty(cloud: Cloud, make_dock: MakeDock, asks_for_code: bool) -> None:
    dock = await living(make_dock, "no-terminal")
    dock.account.asks_for_code = asks_for_code
    await log_in(cloud)
    _, events = await heard(cloud, replies=1, events=3)
    assert percents(events) == [10, 30, 50]
    assert {event["data"]["output"]["status"] for event in events} == {"in_progress"}


@pytest.mark.asyncio
async def test_faults_can_be_combined(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, "duplicate", "event-before-reply", "percent-backwards", "no-terminal", "stripped")
    await log_in(cloud)
    [first, second], events = await heard(cloud, replies=2, events=6)
    assert first["data"] == second["data"] == {"result": 0}
    assert percents(events) == [50, 50, 30, 30, 10, 10]


@pytest.mark.asyncio
async def test_faults_can_be_exchanged_while_the_dock_lives(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, "rejected")
    dock.faults = Faults()
    await log_in(cloud)
    [reply], _ = await heard(cloud, replies=1, events=6)
    assert reply["data"]["output"] == {"status": "in_progress"}


@pytest.mark.asyncio
async def test_events_of_other_handlers_can_be_spoilt(cloud: Cloud, make_dock: MakeDock) -> None:
    async def handle(_dock: Dock, _command: object) -> Answer:
        return Answer({"result": 0}, [{"flat": 1}])

    dock = await living(make_dock, "percent-backwards", "duplicate")
    dock.handlers["drone_open"] = handle
    await cloud.command("DOCK1", "drone_open", {})
    _, events = await heard(cloud, replies=2, events=2)
    assert [event["data"] for event in events] == [{"flat": 1}, {"flat": 1}]


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["rude"], "Unknown fault 'rude'"),
        (["silent:3"], "Unknown fault 'silent:3'"),
        (["slow:"], "Not a number of seconds: ''"),
        (["slow:-1"], "Not a number of seconds: '-1'"),
        (["slow:nan"], "Not a number of seconds: 'nan'"),
        (["silent", "slow"], "silent cannot be combined with slow"),
        (["no-terminal", "rejected"], "rejected cannot be combined with no-terminal"),
    ],
)
def test_senseless_faults_are_refused(names: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Faults(names)


def test_each_fault_is_accepted_and_explained() -> None:
    assert all(Faults([name]).names == {name} and about for name, about in FAULTS.items())
    assert Faults(["slow"]).delay == 5


def test_fleet_hands_faults_to_its_docks() -> None:
    fleet = Fleet(count=2, mqtt_url="mqtt://127.0.0.1", faults=iter(["silent"]))
    assert [dock.faults.names for dock in fleet.docks] == [{"silent"}, {"silent"}]
