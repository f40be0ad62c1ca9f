"""The bytes that a misbehaving dock sends, and how far it gets with them."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from mqtt_bridge.simulator.dock import Dock
from mqtt_bridge.simulator.misbehaviour import MISBEHAVIOURS, Manners
from tests.mqtt_bridge.simulator.cloud import CODE, Cloud, until

MakeDock = Callable[..., Dock]

BIND = {
    "tid": "t",
    "bid": "b",
    "timestamp": 1700000000000,
    "gateway": "DOCK1",
    "method": "airport_organization_bind",
    "data": {
        "bind_devices": [
            {"sn": "DOCK1", "device_binding_code": CODE, "device_model_key": "3-2-0"},
            {"sn": "AIR1", "device_binding_code": CODE, "device_model_key": "0-91-1"},
        ]
    },
}


def said(*names: str) -> dict[str, Any]:
    """The bind request as such a dock sends it."""
    manners = Manners(names)
    message: dict[str, Any] = json.loads(manners.encode(manners.change(BIND)))
    return message


def entries(*names: str, key: str) -> list[Any]:
    return [entry.get(key) for entry in said(*names)["data"]["bind_devices"]]


def test_good_manners_change_nothing() -> None:
    assert said() == BIND
    assert Manners().copies == 1


def test_colon_timestamp_replaces_the_key() -> None:
    message = said("colon-timestamp")
    assert message["timestamp:"] == 1700000000000
    assert "timestamp" not in message


def test_string_timestamp_is_a_text() -> None:
    assert said("string-timestamp")["timestamp"] == "1700000000000"


@pytest.mark.parametrize(("name", "key"), [("no-method", "method"), ("no-bid", "bid")])
def test_key_is_left_out(name: str, key: str) -> None:
    assert said(name) == {other: value for other, value in BIND.items() if other != key}


def test_wrong_gateway_names_another_dock() -> None:
    assert said("wrong-gateway")["gateway"] == "FOREIGNDOCK1"


def test_wrong_code_is_in_each_entry() -> None:
    assert entries("wrong-code", key="device_binding_code") == ["WRONGCODE2345"] * 2


def test_model_keys_are_odd_or_bad() -> None:
    assert entries("odd-model-key", key="device_model_key") == ["3-9999-7"] * 2
    assert entries("bad-model-key", key="device_model_key") == ["dock"] * 2


def test_foreign_dock_is_added_to_the_list() -> None:
    assert entries("foreign-sn", key="sn") == ["DOCK1", "AIR1", "FOREIGNDOCK1"]


def test_last_entry_lacks_its_sn() -> None:
    assert entries("missing-sn", key="sn") == ["DOCK1", None]


def test_misbehaviours_add_up_in_any_order() -> None:
    message = said("no-method", "wrong-code", "string-timestamp")
    assert "method" not in message
    assert message["timestamp"] == "1700000000000"
    assert message["data"]["bind_devices"][0]["device_binding_code"] == "WRONGCODE2345"


def test_trailing_commas_are_the_only_fault_of_the_json() -> None:
    message = {**BIND, "data": {"empty": {}, "list": [1, []], "text": "a,}\n]"}}
    text = Manners(["trailing-commas"]).encode(message).decode()
    with pytest.raises(ValueError, match=r"Expecting|Illegal trailing comma"):
        json.loads(text)
    repaired, commas = re.subn(r",(\n\s*[}\]])", r"\1", text)
    assert json.loads(repaired) == message
    assert commas == 3  # one for the list, one for data, one for the message


def test_unknown_misbehaviour_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown misbehaviour 'rude'"):
        Manners(["rude"])


# Those that a cloud which reads literally can follow; the others need the real server's tolerance.
LITERAL = ["colon-timestamp", "string-timestamp", "odd-model-key", "bad-model-key", "no-bid", "wrong-gateway"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", LITERAL)
async def test_harmless_misbehaviour_does_not_stop_the_dock(cloud: Cloud, make_dock: MakeDock, name: str) -> None:
    dock = make_dock(misbehave=[name])
    await dock.onboarded(20)
    assert dock.ledger.complaints == []


@pytest.mark.asyncio
async def test_wrong_code_is_refused_at_the_organization(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(misbehave=["wrong-code"])
    assert not await dock.settled(20)
    assert dock.steps[-1][1:3] == ("airport_organization_get", "refused")


@pytest.mark.asyncio
async def test_every_request_goes_out_twice(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(misbehave=["duplicate"], aircraft_on=True)
    await dock.onboarded(20)
    tids = [message["tid"] for message in cloud.messages("requests")]
    assert tids[0::2] == tids[1::2]
    await until(lambda: len(dock.ledger.answered_more_than_once()) == 5)
    assert dock.ledger.answered_more_often_than_asked() == []


@pytest.mark.asyncio
async def test_silent_dock_connects_and_says_nothing(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(misbehave=["silence"])
    await until(lambda: dock.connection.is_open)
    with pytest.raises(TimeoutError, match="last: connect ok"):
        await dock.settled(0.2)
    assert cloud.heard == []


@pytest.mark.asyncio
async def test_trailing_commas_reach_the_wire(cloud: Cloud, make_dock: MakeDock) -> None:
    make_dock(misbehave=["trailing-commas"])
    await until(lambda: bool(cloud.heard))
    with pytest.raises(ValueError, match=r"Expecting|Illegal trailing comma"):
        json.loads(cloud.heard[0][1])


def test_each_misbehaviour_says_what_it_is() -> None:
    assert all(one.about for one in MISBEHAVIOURS.values())
