"""The dock against a real broker and a cloud played by hand."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.dock import Command, Dock
from mqtt_bridge.simulator.ledger import Ledger
from tests.mqtt_bridge.simulator.cloud import CODE, LICENSE, ORGANIZATION, Cloud, until

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


async def step(dock: Dock, name: str, outcome: str) -> str:
    """Wait for a step and return its detail."""

    def found() -> list[str]:
        return [one.detail for one in dock.steps if (one.name, one.outcome) == (name, outcome)]

    await until(lambda: bool(found()))
    return found()[0]


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


async def test_requests_carry_the_documented_envelope(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_on=True).onboarded(20)
    message = cloud.messages("requests", "config")[0]
    assert set(message) == {"tid", "bid", "timestamp", "gateway", "method", "data"}
    assert message["data"] == {"config_type": "json", "config_scope": "product"}
    assert len(str(message["timestamp"])) == 13
    assert message["gateway"] == "DOCK1"
    [topology] = cloud.messages("status")
    assert "gateway" not in topology
    assert topology["data"]["sub_devices"][0]["sn"] == "AIRCRAFT1"


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


async def test_unanswered_request_is_repeated_with_the_same_ids(cloud: Cloud, make_dock: MakeDock) -> None:
    answer = cloud.answers["airport_organization_get"]
    silences = iter([True])
    cloud.answers["airport_organization_get"] = lambda message: None if next(silences, False) else answer(message)
    dock = make_dock()
    await dock.onboarded(20)
    first, second = cloud.messages("requests", "airport_organization_get")
    assert (first["tid"], first["bid"]) == (second["tid"], second["bid"])
    assert first["timestamp"] < second["timestamp"]
    [transaction] = dock.ledger.transactions("airport_organization_get")
    assert (transaction.sends, transaction.answers) == (2, 1)


async def test_topology_is_repeated_until_answered(cloud: Cloud, make_dock: MakeDock) -> None:
    cloud.answers["update_topo"] = lambda _message: None
    dock = make_dock(attempts=1, reply_timeout=0.05)
    await cloud.wait_for("status", count=4)
    assert not dock.is_onboarded
    cloud.answers["update_topo"] = lambda _message: {"result": 0}
    await dock.onboarded(20)


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


async def test_osd_can_be_switched_off(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(osd_rate=0).onboarded(20)
    await cloud.wait_for("state", count=2)
    await asyncio.sleep(0.1)
    assert cloud.messages("osd") == []


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


async def test_command_received_twice_is_in_the_ledger(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    for _ in range(2):
        await cloud.command("DOCK1", "cover_open", {}, tid="t-1")
    await cloud.wait_for("services_reply", count=2)
    assert dock.ledger.commands_received_twice() == [("DOCK1", "t-1")]


async def test_command_with_null_data_is_complained_about(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    await cloud.command("DOCK1", "logout_dji_account", None)
    await cloud.wait_for("services_reply")
    assert [complaint.text for complaint in dock.ledger.complaints] == ["data is not an object."]


async def test_property_is_set_and_confirmed(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    message = {"tid": "t", "bid": "b", "timestamp": 1700000000000, "data": {"silent_mode": 1}}
    await cloud.connection.publish("thing/product/DOCK1/property/set", json.dumps(message).encode())
    [reply] = await cloud.wait_for("property/set_reply")
    assert (reply["tid"], reply["data"]) == ("t", {"silent_mode": {"result": 0}})
    assert dock.properties == {"silent_mode": 1}
    assert dock.ledger.complaints == []


async def test_event_waits_for_its_reply(cloud: Cloud, make_dock: MakeDock) -> None:
    silences = iter([True])
    cloud.answers["hms"] = lambda _message: None if next(silences, False) else {"result": 0}
    dock = make_dock()
    await dock.onboarded(20)
    assert await dock.send_event("hms", {"list": []}) == {"result": 0}
    assert [event["need_reply"] for event in cloud.messages("events", "hms")] == [1, 1]


async def test_lost_connection_starts_the_walk_again(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    dock.connection.drop()
    await step(dock, "connect", "lost")
    await dock.onboarded(20)
    assert outcomes(dock)["airport_organization_get"] == "skipped"


async def test_request_survives_a_lost_connection(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    dock.connection.drop()
    assert (await dock.request("config", {}))["result"] == 0


async def test_stop_says_goodbye_and_frees_the_number(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    await dock.stop()
    assert not dock.connection.is_open
    dock.start()
    await until(lambda: dock.connection.is_open)


async def spoil(cloud: Cloud, make_dock: MakeDock, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Ledger:
    """The ledger after one request whose answer was spoilt."""
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    cloud.change = change
    asking = asyncio.ensure_future(dock.request("config", {}))
    await until(lambda: bool(dock.ledger.complaints))
    asking.cancel()
    return dock.ledger


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda reply: {name: value for name, value in reply.items() if name != key}


@pytest.mark.parametrize(
    ("change", "complaint", "answered"),
    [
        (lambda reply: {**reply, "bid": "other"}, "bid is 'other' instead of", False),
        (lambda reply: {**reply, "method": "other"}, "method is 'other' instead of", False),
        (lambda reply: {**reply, "tid": "other"}, "An answer to nothing that this dock asked", False),
        (without("bid"), "bid is missing", False),
        (without("method"), "method is missing", True),
        (without("data"), "data is not an object", True),
        (without("timestamp"), "timestamp is None, not an integer", True),
        (lambda reply: {**reply, "timestamp": "1700000000000"}, "not an integer", True),
        (lambda reply: {**reply, "timestamp": 1700000000}, "does not have 13 digits", True),
        (lambda reply: {**reply, "timestamp:": 1700000000000}, "Unknown keys: timestamp:", True),
        (lambda reply: {**reply, "gateway": "DOCK2"}, "gateway is 'DOCK2' instead of 'DOCK1'", True),
        (lambda reply: {**reply, "data": {"result": "0"}}, "result is not an integer", True),
        (lambda reply: {**reply, "data": {"result": 0}}, "app_id is not a text", True),
    ],
)
async def test_dock_notices_what_is_wrong_in_a_reply(
    cloud: Cloud,
    make_dock: MakeDock,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    complaint: str,
    answered: bool,
) -> None:
    ledger = await spoil(cloud, make_dock, change)
    assert complaint in ledger.complaints[0].text
    assert bool(ledger.unanswered()) is not answered


async def test_reply_that_is_not_json_is_complained_about(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    await cloud.connection.publish("thing/product/DOCK1/requests_reply", b'{"tid": "x",}')
    await until(lambda: bool(dock.ledger.complaints))
    assert dock.ledger.complaints[0].text.startswith("Not JSON")


async def test_answer_on_the_wrong_topic_is_none(cloud: Cloud, make_dock: MakeDock) -> None:
    cloud.answers["config"] = lambda _message: None
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    asking = asyncio.ensure_future(dock.request("config", {}))
    [message] = await cloud.wait_for("requests")
    cloud.reply("thing/product/DOCK1/events", message, LICENSE)
    await until(lambda: bool(dock.ledger.complaints))
    assert dock.ledger.complaints[0].text == "The answer came on events_reply instead of requests_reply."
    assert len(dock.ledger.unanswered()) == 1
    asking.cancel()


async def test_retained_message_is_complained_about(cloud: Cloud, make_dock: MakeDock) -> None:
    topic, message = "thing/product/DOCKR/services", {"tid": "t", "bid": "b", "method": "m", "data": {}}
    payload = json.dumps({**message, "timestamp": 1700000000000}).encode()
    await cloud.connection.publish(topic, payload, retain=True)
    dock = make_dock(sn="DOCKR", onboard=False)
    await until(lambda: bool(dock.ledger.complaints))
    await cloud.connection.publish(topic, b"", retain=True)
    assert dock.ledger.complaints[0].text == "The message is retained."


async def test_second_answer_with_other_content_is_found(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    await dock.request("flight_areas_get", None)
    [message] = cloud.messages("requests")
    cloud.reply("thing/product/DOCK1/requests", message, {"result": 0})
    await until(lambda: bool(dock.ledger.answered_more_than_once()))
    assert dock.ledger.answered_differently() == []
    cloud.reply("thing/product/DOCK1/requests", message, {"result": 1})
    await until(lambda: bool(dock.ledger.answered_differently()))
    assert dock.ledger.answered_more_often_than_asked()[0].answers == 3
