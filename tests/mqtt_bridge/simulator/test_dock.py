"""The life of a dock, over a real broker and with a cloud played by hand."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.dock import Dock
from tests.mqtt_bridge.simulator.cloud import CODE, LICENSE, ORGANIZATION, Cloud, until
from tests.mqtt_bridge.simulator.conftest import step

pytestmark = pytest.mark.asyncio
MakeDock = Callable[..., Dock]

FLOW = [
    "config",
    "airport_bind_status",
    "airport_organization_get",
    "airport_organization_bind",
    "update_topo",
]


def outcomes(dock: Dock) -> dict[str, str]:
    """The latest outcome of each step."""
    return {step.name: step.outcome for step in dock.steps}


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
async def test_onboarding_goes_through_all_steps_in_order(cloud: Cloud, make_dock: MakeDock, mqtt: str) -> None:
    dock = make_dock(mqtt=mqtt, aircraft_on=True)
    await dock.onboarded(20)
    asked = [
        json.loads(payload)["method"] for topic, payload in cloud.heard if topic.endswith(("/requests", "/status"))
    ]
    assert asked == FLOW
    assert [step.name for step in dock.steps] == ["connect", *FLOW]
    assert dock.ledger.complaints == []


async def test_bind_request_names_dock_and_aircraft_with_their_models(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(callsign="Roof").onboarded(20)
    [bind] = cloud.messages("requests", "airport_organization_bind")
    assert bind["data"]["bind_devices"] == [
        {
            "device_binding_code": CODE,
            "organization_id": ORGANIZATION,
            "device_callsign": callsign,
            "sn": sn,
            "device_model_key": key,
        }
        for sn, callsign, key in [
            ("DOCK1", "Roof", "3-2-0"),
            ("AIRCRAFT1", "Aircraft AIRCRAFT1", "0-91-1"),
        ]
    ]


@pytest.mark.parametrize(
    "reply", [{"result": 200001}, {"result": 0}, {**LICENSE, "app_id": ""}, {**LICENSE, "result": 200001}]
)
async def test_without_a_license_the_dock_disconnects_and_comes_again(
    cloud: Cloud, make_dock: MakeDock, reply: dict[str, Any]
) -> None:
    cloud.answers["config"] = lambda _message: reply
    dock = make_dock()
    await step(dock, "disconnect", "ok")
    assert [one.name for one in dock.steps] == ["connect", "config", "disconnect"]
    cloud.answers["config"] = lambda _message: LICENSE
    await dock.onboarded(20)


async def test_unanswered_config_makes_the_dock_disconnect(cloud: Cloud, make_dock: MakeDock) -> None:
    cloud.answers["config"] = lambda _message: None
    dock = make_dock(attempts=2)
    await step(dock, "disconnect", "ok")
    assert outcomes(dock)["config"] == "unanswered"


async def test_bound_devices_skip_get_and_bind(cloud: Cloud, make_dock: MakeDock) -> None:
    cloud.bound = {"DOCK1": {}, "AIRCRAFT1": {}}
    dock = make_dock()
    await dock.onboarded(20)
    assert outcomes(dock)["airport_organization_bind"] == "skipped"
    assert [message["method"] for message in cloud.messages("requests")] == ["config", "airport_bind_status"]


async def test_wrong_code_stops_the_flow_until_a_person_enters_another(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(binding_code="WRONG")
    assert not await dock.settled(20)
    assert dock.steps[-1][1:] == ("airport_organization_get", "refused", "result 210230")
    assert cloud.messages("requests", "airport_organization_bind") == []
    dock.enter_code(ORGANIZATION, CODE)
    await dock.onboarded(20)


async def test_dock_without_values_waits_for_a_person(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(organization_id="", binding_code="")
    assert not await dock.settled(20)
    assert dock.steps[-1].outcome == "waiting"
    dock.enter_code(ORGANIZATION, CODE)
    assert await dock.settled(20)


async def test_refused_status_is_asked_again(cloud: Cloud, make_dock: MakeDock) -> None:
    answer = cloud.answers["airport_bind_status"]
    cloud.answers["airport_bind_status"] = lambda _message: {"result": 210233, "output": {"bind_status": []}}
    dock = make_dock()
    await step(dock, "airport_bind_status", "refused")
    cloud.answers["airport_bind_status"] = answer
    await dock.onboarded(20)


async def test_bound_dock_goes_on_though_its_new_aircraft_is_refused(cloud: Cloud, make_dock: MakeDock) -> None:
    cloud.bound = {"DOCK1": {}}
    dock = make_dock(binding_code="WRONG")
    await dock.onboarded(20)
    assert outcomes(dock)["airport_organization_get"] == "refused"


async def test_refused_aircraft_is_reported_and_the_dock_goes_on(cloud: Cloud, make_dock: MakeDock) -> None:
    infos = [{"sn": "DOCK1", "err_code": 0}, {"sn": "AIRCRAFT1", "err_code": 210232}]
    cloud.answers["airport_organization_bind"] = lambda _message: {
        "result": 0,
        "output": {"err_infos": infos},
    }
    dock = make_dock()
    await dock.onboarded(20)
    assert await step(dock, "airport_organization_bind", "partly refused") == "AIRCRAFT1 210232"


async def test_refused_dock_does_not_announce_itself(cloud: Cloud, make_dock: MakeDock) -> None:
    infos = [{"sn": "DOCK1", "err_code": 210232}, {"sn": "AIRCRAFT1", "err_code": 210232}]
    cloud.answers["airport_organization_bind"] = lambda _message: {
        "result": 0,
        "output": {"err_infos": infos},
    }
    dock = make_dock()
    assert not await dock.settled(20)
    assert await step(dock, "airport_organization_bind", "refused") == "DOCK1 210232, AIRCRAFT1 210232"
    assert cloud.messages("status") == []


async def test_onboarded_says_how_far_it_came(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(binding_code="WRONG")
    await dock.settled(20)
    with pytest.raises(TimeoutError, match=r"DOCK1: not onboarded .* airport_organization_get refused"):
        await dock.onboarded(0.1)


async def test_aircraft_switched_off_leaves_the_topology_and_falls_silent(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_on=True)
    await dock.onboarded(20)
    await dock.switch_aircraft(False)
    assert cloud.messages("status")[-1]["data"]["sub_devices"] == []
    cloud.heard.clear()
    await cloud.wait_for("osd", count=6)
    assert not [topic for topic, _payload in cloud.heard if "AIRCRAFT1" in topic]
    await dock.switch_aircraft(True)
    assert cloud.messages("status")[-1]["data"]["sub_devices"][0]["sn"] == "AIRCRAFT1"
    [state] = await cloud.wait_for("state")
    assert state["gateway"] == "DOCK1"


async def test_dock_alone_has_no_aircraft_to_switch(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_sn=None)
    await dock.onboarded(20)
    assert cloud.messages("status")[0]["data"]["sub_devices"] == []
    with pytest.raises(ValueError, match="has no aircraft"):
        await dock.switch_aircraft(True)


async def test_telemetry_says_alive_in_several_frames(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(latitude=48.1, longitude=11.5).onboarded(20)
    frames = await cloud.wait_for("osd", count=10)
    assert all("method" not in frame and frame["gateway"] == "DOCK1" for frame in frames)
    merged: dict[str, Any] = {}
    for frame in frames:
        merged |= frame["data"]
    assert {"mode_code", "network_state", "sub_device", "drc_state", "battery"} <= set(merged)
    assert merged["latitude"] == pytest.approx(48.1, abs=0.1)
    states = await cloud.wait_for("state", count=2)
    assert all("firmware_version" in state["data"] for state in states)


def gateways(cloud: Cloud, channel: str) -> set[str]:
    return {message["gateway"] for message in cloud.messages(channel)}


async def test_osd_can_be_switched_off(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(sn="QUIET1", osd_rate=0).onboarded(20)
    await until(lambda: "QUIET1" in gateways(cloud, "state"))
    await asyncio.sleep(0.1)
    assert "QUIET1" not in gateways(cloud, "osd")  # the last frames of another test's dock may be under way


async def test_lost_connection_starts_the_walk_again(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    dock.connection.drop()
    await step(dock, "connect", "lost")
    await dock.onboarded(20)
    assert outcomes(dock)["airport_organization_get"] == "skipped"


async def test_stop_says_goodbye_and_frees_the_number(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    await dock.stop()
    assert not dock.connection.is_open
    dock.start()
    await until(lambda: dock.connection.is_open)
