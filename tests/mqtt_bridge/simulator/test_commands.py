"""How a dock carries out commands, over a real broker."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator import checks, commands
from mqtt_bridge.simulator.commands import SERVICES, Service
from mqtt_bridge.simulator.dialogue import Command
from mqtt_bridge.simulator.dock import Dock, Options
from mqtt_bridge.simulator.fleet import Fleet
from tests.mqtt_bridge.simulator.cloud import Cloud

pytestmark = pytest.mark.asyncio
MakeDock = Callable[..., Dock]
STEPS = ("get_bid", "check_work_mode", "write_reboot_param_file")


async def test_unknown_command_is_answered_as_unsupported(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    command = await cloud.command("DOCK1", "drone_open", {})
    [reply] = await cloud.wait_for("services_reply")
    assert {key: reply[key] for key in ("tid", "bid", "method", "data")} == {
        "tid": command["tid"],
        "bid": command["bid"],
        "method": "drone_open",
        "data": {"result": 314000},
    }
    assert dock.ledger.commands() == {("DOCK1", command["tid"]): 1}


async def test_handler_answers_its_command(cloud: Cloud, make_dock: MakeDock) -> None:
    async def switch(dock: Dock, command: Command) -> dict[str, Any]:
        await dock.send_event("switched", {"by": dock.sn}, bid=command.bid, need_reply=False)
        return {"result": 0, "license_id": command.data["license_id"]}

    dock = make_dock()
    dock.handlers["unlock_license_switch"] = switch
    await dock.onboarded(20)
    command = await cloud.command("DOCK1", "unlock_license_switch", {"license_id": 7, "enable": True})
    [reply] = await cloud.wait_for("services_reply")
    assert reply["data"] == {"result": 0, "license_id": 7}
    assert cloud.messages("events")[0]["bid"] == command["bid"]


async def test_failing_handler_is_answered_with_an_error(
    cloud: Cloud, make_dock: MakeDock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_dock: Dock, _command: Command) -> None:
        raise KeyError("broken")

    dock = make_dock()
    dock.handlers["cover_open"] = fail
    await dock.onboarded(20)
    await cloud.command("DOCK1", "cover_open", {})
    [reply] = await cloud.wait_for("services_reply")
    assert reply["data"] == {"result": 319999}
    assert "the handler of cover_open failed" in caplog.text


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of which only a row exists."""
    monkeypatch.setitem(SERVICES, "debug_mode_open", Service())
    monkeypatch.setitem(SERVICES, "device_format", Service(steps=()))
    monkeypatch.setitem(SERVICES, "device_reboot", Service(steps=STEPS))


@pytest.mark.usefixtures("rows")
async def test_a_row_makes_a_dock_obey(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    await cloud.command("DOCK1", "debug_mode_open", {})
    [reply] = await cloud.wait_for("services_reply")
    await asyncio.sleep(0.05)
    assert reply["data"] == {"result": 0}
    assert cloud.messages("events") == []
    assert dock.ledger.complaints == []


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("device_format", [("ok", {"percent": 100})]),
        (
            "device_reboot",
            [
                ("in_progress", {"percent": 25, "step_key": "get_bid"}),
                ("in_progress", {"percent": 50, "step_key": "check_work_mode"}),
                ("in_progress", {"percent": 75, "step_key": "write_reboot_param_file"}),
                ("ok", {"percent": 100, "step_key": "write_reboot_param_file"}),
            ],
        ),
    ],
)
async def test_a_row_with_steps_makes_it_report_them(
    cloud: Cloud, make_dock: MakeDock, method: str, expected: list[tuple[str, Any]]
) -> None:
    await make_dock().onboarded(20)
    command = await cloud.command("DOCK1", method, {})
    events = await cloud.wait_for("events", count=len(expected), method=method)
    [reply] = cloud.messages("services_reply")
    assert reply["data"] == {"result": 0, "output": {"status": "in_progress"}}
    assert {event["bid"] for event in events} == {command["bid"]}
    outputs = [event["data"]["output"] for event in events]
    assert [(output["status"], output["progress"]) for output in outputs] == expected


@pytest.mark.usefixtures("rows")
async def test_faults_hold_for_a_row_too(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(faults=["rejected"]).onboarded(20)
    for method in ("debug_mode_open", "device_reboot"):
        await cloud.command("DOCK1", method, {})
    replies = await cloud.wait_for("services_reply", count=2)
    refusals = {reply["method"]: reply["data"] for reply in replies}
    assert refusals == {
        "debug_mode_open": {"result": 314000},
        "device_reboot": {"result": 0, "output": {"status": "rejected"}},
    }


@pytest.mark.usefixtures("rows")
async def test_a_row_refuses_data_that_break_its_rules(
    cloud: Cloud, make_dock: MakeDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.INSTRUCTIONS, "device_reboot", {})
    dock = make_dock()
    await dock.onboarded(20)
    await cloud.command("DOCK1", "device_reboot", {"now": True})
    [reply] = await cloud.wait_for("services_reply")
    assert reply["data"] == {"result": 325001}
    assert [one.text for one in dock.ledger.complaints] == ["Unknown keys in data: now."]


async def test_dock_that_only_sends_what_a_test_asks_for_has_no_services() -> None:
    url, quiet = "mqtt://127.0.0.1", Options(onboard=False)
    assert Fleet(count=1, mqtt_url=url).docks[0].handlers == SERVICES
    assert Fleet(count=1, mqtt_url=url, options=quiet).docks[0].handlers == {}
    assert Fleet(count=1, mqtt_url=url, options=quiet, services=True).docks[0].handlers == SERVICES


async def test_what_docks_learn_does_not_replace_what_they_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(SERVICES)
    monkeypatch.setattr(commands, "SERVICES", table)
    commands.learn({"unlock_license_list": None, "device_reboot": STEPS})
    assert table == {**SERVICES, "device_reboot": Service(steps=STEPS)}
