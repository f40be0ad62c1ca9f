"""The dock's DJI account, over a real broker."""

from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.account import Account
from mqtt_bridge.simulator.dock import Dock
from tests.mqtt_bridge.simulator.cloud import Cloud

pytestmark = pytest.mark.asyncio
MakeDock = Callable[..., Dock]
PASSWORD = "canary-5f3a"
SUCCESS = [
    ("in_progress", 10),
    ("in_progress", 30),
    ("in_progress", 50),
    ("in_progress", 70),
    ("in_progress", 90),
    ("ok", 100),
]


def login(code: str = "", password: str = PASSWORD) -> dict[str, str]:
    return {"username": "pilot@example.org", "password": password, "verification_code": code}


async def living(make_dock: MakeDock, **account: Any) -> Dock:
    dock = make_dock()
    dock.account = Account(pause=0, **account)
    await dock.onboarded(20)
    return dock


async def attempt(cloud: Cloud, method: str, data: Any, *, events: int) -> list[dict[str, Any]]:
    """Send a command, look at the reply, and return the data of its events."""
    cloud.heard.clear()
    command = await cloud.command("DOCK1", method, data)
    said = await cloud.wait_for("events", count=events, method=method)
    [reply] = await cloud.wait_for("services_reply", method=method)
    assert (reply["tid"], reply["bid"]) == (command["tid"], command["bid"])
    assert reply["data"] == {"result": 0, "output": {"status": "in_progress"}}
    assert {event["bid"] for event in said} == {command["bid"]}
    assert len({event["tid"] for event in said} | {command["tid"]}) == len(said) + 1
    return [event["data"] for event in said]


def steps(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(one["output"]["status"], one["output"]["progress"]["percent"]) for one in events]


async def test_first_login_fails_with_an_address_for_the_code(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock)
    [event] = await attempt(cloud, "login_dji_account", login(), events=1)
    assert (event["result"], event["sub_device_sn"]) == (0, "AIRCRAFT1")
    assert steps([event]) == [("failed", 0)]
    assert event["output"]["verification_code_url"].startswith("https://")
    assert event["output"]["verification_code_url"] == dock.account.verification_code_url
    assert dock.account.username == ""
    assert dock.ledger.complaints == []


async def test_right_code_logs_in_step_by_step(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, code="7788")
    events = await attempt(cloud, "login_dji_account", login("7788"), events=6)
    assert steps(events) == SUCCESS
    assert {event["result"] for event in events} == {0}
    assert dock.account.username == "pilot@example.org"


async def test_wrong_code_brings_another_address(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock)
    [first] = await attempt(cloud, "login_dji_account", login(), events=1)
    [second] = await attempt(cloud, "login_dji_account", login("000000"), events=1)
    assert steps([second]) == [("failed", 0)]
    assert second["output"]["verification_code_url"] != first["output"]["verification_code_url"]


async def test_wrong_password_fails_without_an_address(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock)
    [event] = await attempt(cloud, "login_dji_account", login("123456", "wrong"), events=1)
    assert event["result"] == 325003
    assert event["output"] == {"status": "failed", "progress": {"percent": 0}}
    assert dock.account.username == ""


async def test_code_is_not_asked_for_where_the_account_needs_none(cloud: Cloud, make_dock: MakeDock) -> None:
    await living(make_dock, asks_for_code=False)
    assert steps(await attempt(cloud, "login_dji_account", login(), events=6)) == SUCCESS


async def test_logout_ends_with_nobody_logged_in(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = await living(make_dock, username="pilot@example.org")
    assert steps(await attempt(cloud, "logout_dji_account", {}, events=6)) == SUCCESS
    assert dock.account.username == ""


@pytest.mark.parametrize(
    ("method", "data", "complaint"),
    [
        ("logout_dji_account", {"password": PASSWORD}, "Unknown keys in data: password."),
        ("login_dji_account", {**login(), "username": None}, "username is not a text."),
        ("login_dji_account", {**login(), "password": [PASSWORD]}, "password is not a text."),
    ],
)
async def test_bad_command_is_refused_and_complained_about_without_its_values(
    cloud: Cloud, make_dock: MakeDock, method: str, data: Any, complaint: str
) -> None:
    dock = await living(make_dock)
    await cloud.command("DOCK1", method, data)
    [reply] = await cloud.wait_for("services_reply")
    assert reply["data"] == {"result": 325001}
    assert [one.text for one in dock.ledger.complaints] == [complaint]


async def test_password_is_neither_kept_nor_logged(
    cloud: Cloud, make_dock: MakeDock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    dock = await living(make_dock)
    dock.account.pause = 0.05
    await cloud.command("DOCK1", "login_dji_account", login("123456"))
    await cloud.wait_for("services_reply")
    # Here the progress is under way: what runs on must not hold the password.
    tasks = [task.get_coro() for task in dock._tasks]
    assert tasks
    while tasks:
        coroutine = tasks.pop()
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            assert PASSWORD not in repr(frame.f_locals)
            tasks.append(coroutine.cr_await)
    await cloud.wait_for("events", count=6)
    kept = [vars(dock), vars(dock.account), vars(dock.ledger), caplog.text]
    assert PASSWORD not in repr(kept)
