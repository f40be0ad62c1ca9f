"""What a dock sends and how it handles what it receives, over a real broker and with a cloud played by hand."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.dock import Dock
from mqtt_bridge.simulator.ledger import Ledger
from tests.mqtt_bridge.simulator.cloud import LICENSE, Cloud, until
from tests.mqtt_bridge.simulator.conftest import step

pytestmark = pytest.mark.asyncio
MakeDock = Callable[..., Dock]


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


async def test_event_waits_for_its_reply(cloud: Cloud, make_dock: MakeDock) -> None:
    silences = iter([True])
    cloud.answers["hms"] = lambda _message: None if next(silences, False) else {"result": 0}
    dock = make_dock()
    await dock.onboarded(20)
    assert await dock.send_event("hms", {"list": []}) == {"result": 0}
    assert [event["need_reply"] for event in cloud.messages("events", "hms")] == [1, 1]


async def test_request_survives_a_lost_connection(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(onboard=False)
    await step(dock, "connect", "ok")
    dock.connection.drop()
    assert (await dock.request("config", {}))["result"] == 0


async def test_property_is_set_and_confirmed(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    message = {"tid": "t", "bid": "b", "timestamp": 1700000000000, "data": {"silent_mode": 1}}
    await cloud.connection.publish("thing/product/DOCK1/property/set", json.dumps(message).encode())
    [reply] = await cloud.wait_for("property/set_reply")
    assert (reply["tid"], reply["data"]) == ("t", {"silent_mode": {"result": 0}})
    assert dock.properties == {"silent_mode": 1}
    assert dock.ledger.complaints == []


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
