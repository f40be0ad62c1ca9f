"""What real docks do differently, as the cloud receives it."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.simulator.dock import Dock
from mqtt_bridge.simulator.fleet import Fleet
from mqtt_bridge.simulator.habits import HABITS
from tests.mqtt_bridge.simulator.cloud import CODE, ORGANIZATION, Cloud, until
from tests.mqtt_bridge.simulator.conftest import QUICK

MakeDock = Callable[..., Dock]
OFF = {"device_sn": "AIRCRAFT1", "device_model_key": "0-91-1", "device_online_status": 0, "device_paired": 1}
ON = {**OFF, "device_online_status": 1}


@pytest_asyncio.fixture
async def two_docks(broker: Mosquitto) -> AsyncIterator[tuple[Dock, Dock]]:
    """Two docks with one aircraft, which is on in both."""
    fleet = Fleet(
        count=2,
        mqtt_url=broker.url,
        organization_id=ORGANIZATION,
        binding_code=CODE,
        options=QUICK,
        aircraft_on=True,
        habits=["shared-aircraft"],
    )
    fleet.start()
    yield fleet.docks[0], fleet.docks[1]
    await fleet.stop()


def methods(cloud: Cloud) -> list[str]:
    """What docks asked and told, in order."""
    return [json.loads(payload)["method"] for topic, payload in cloud.heard if topic.endswith(("/requests", "/status"))]


def listed(cloud: Cloud) -> list[list[str]]:
    """The aircraft of each topology, in order."""
    return [[sub["sn"] for sub in message["data"]["sub_devices"]] for message in cloud.messages("status")]


def said(cloud: Cloud, sn: str, channel: str = "osd") -> list[dict[str, Any]]:
    """The messages of one device on a channel of telemetry."""
    return [json.loads(payload) for topic, payload in cloud.heard if topic == f"thing/product/{sn}/{channel}"]


async def merged(cloud: Cloud, sn: str = "DOCK1") -> dict[str, Any]:
    """What the dock's partial frames say together, as of now."""
    cloud.heard.clear()
    await until(lambda: len(said(cloud, sn)) >= 6)
    return {name: value for frame in said(cloud, sn) for name, value in frame["data"].items()}


# --- the aircraft of an idle dock


@pytest.mark.asyncio
async def test_idle_dock_has_its_aircraft_on_for_the_onboarding_and_off_then(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    assert listed(cloud) == [["AIRCRAFT1"], []]
    await until(lambda: bool(said(cloud, "AIRCRAFT1") and said(cloud, "AIRCRAFT1", "state")))
    state = await merged(cloud)
    assert (state["mode_code"], state["drone_in_dock"], state["sub_device"]) == (0, 1, OFF)
    assert said(cloud, "AIRCRAFT1") == []
    assert dock.ledger.complaints == []


@pytest.mark.asyncio
async def test_aircraft_of_an_idle_dock_is_on_now_and_then(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_off_for=0.1, aircraft_on_for=0.1).onboarded(20)
    await until(lambda: len(listed(cloud)) >= 6)
    assert listed(cloud)[:6] == [["AIRCRAFT1"], []] * 3


@pytest.mark.asyncio
async def test_aircraft_may_stay_on_for_a_while_after_the_onboarding(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_stays_on=0.2).onboarded(20)
    assert listed(cloud) == [["AIRCRAFT1"]]
    await until(lambda: listed(cloud) == [["AIRCRAFT1"], []])


@pytest.mark.asyncio
async def test_idle_dock_comes_back_with_its_aircraft_off(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    dock.connection.drop()
    await until(lambda: len(listed(cloud)) == 3)
    await dock.onboarded(20)
    assert listed(cloud) == [["AIRCRAFT1"], [], []]


@pytest.mark.asyncio
@pytest.mark.parametrize(("on", "aircraft"), [(True, ["AIRCRAFT1"]), (False, [])])
async def test_aircraft_is_kept_on_or_off(cloud: Cloud, make_dock: MakeDock, on: bool, aircraft: list[str]) -> None:
    await make_dock(aircraft_on=on, aircraft_off_for=0.0, aircraft_on_for=0.0).onboarded(20)
    await until(lambda: len(said(cloud, "DOCK1")) >= 9)
    assert listed(cloud) == [aircraft]
    assert bool(said(cloud, "AIRCRAFT1")) is on
    assert (await merged(cloud))["sub_device"] == (ON if on else OFF)


@pytest.mark.asyncio
async def test_dock_without_an_aircraft_says_so(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_sn=None).onboarded(20)
    state = await merged(cloud)
    assert (state["drone_in_dock"], state["sub_device"]["device_sn"]) == (0, "")
    assert state["sub_device"]["device_paired"] == 0


# --- its topology


@pytest.mark.asyncio
async def test_topology_comes_before_the_binding_and_not_again(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(habits=["topology-first"], aircraft_on=True)
    await dock.onboarded(20)
    await until(lambda: bool(said(cloud, "DOCK1") and said(cloud, "AIRCRAFT1")))
    assert methods(cloud) == [
        "update_topo",
        "config",
        "airport_bind_status",
        "airport_organization_get",
        "airport_organization_bind",
    ]


@pytest.mark.asyncio
async def test_dock_without_topology_is_onboarded_and_its_osd_names_the_aircraft(
    cloud: Cloud, make_dock: MakeDock
) -> None:
    dock = make_dock(habits=["no-topology"])
    await dock.onboarded(20)
    assert (await merged(cloud))["sub_device"] == OFF
    await dock.switch_aircraft(True)
    assert (await merged(cloud))["sub_device"] == ON
    assert "update_topo" not in methods(cloud)
    assert dock.ledger.transactions("update_topo") == []


@pytest.mark.asyncio
async def test_topology_may_lack_the_domain(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(habits=["no-domain"]).onboarded(20)
    topology = cloud.messages("status")[0]["data"]
    assert (topology["type"], topology["sub_devices"][0]["type"]) == (2, 91)
    assert "domain" not in topology
    assert "domain" not in topology["sub_devices"][0]


@pytest.mark.asyncio
async def test_topology_may_come_on_the_other_topic(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(habits=["thing-status"])
    await dock.onboarded(20)
    topics = {topic for topic, _payload in cloud.heard if topic.endswith("/status")}
    assert topics == {"thing/product/DOCK1/status"}
    assert dock.ledger.unanswered() == []


# --- what it binds, and how it names its aircraft


@pytest.mark.asyncio
async def test_dock_bound_alone_names_its_aircraft_in_its_osd(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(habits=["bound-alone", "no-topology"]).onboarded(20)
    [status] = cloud.messages("requests", "airport_bind_status")
    assert status["data"] == {"devices": [{"sn": "DOCK1"}]}
    assert set(cloud.bound) == {"DOCK1"}
    assert (await merged(cloud))["sub_device"] == OFF


@pytest.mark.asyncio
@pytest.mark.parametrize("changes", [{"model_key": "3-1-0"}, {"habits": ["product-type"]}])
async def test_a_dock_1_calls_the_model_of_its_aircraft_product_type(
    cloud: Cloud, make_dock: MakeDock, changes: dict[str, Any]
) -> None:
    await make_dock(**changes).onboarded(20)
    sub_device = (await merged(cloud))["sub_device"]
    assert sub_device["product_type"] == "0-91-1"
    assert "device_model_key" not in sub_device


# --- other aircraft


@pytest.mark.asyncio
async def test_both_docks_list_their_aircraft_and_it_names_the_one_it_links_through(
    cloud: Cloud, two_docks: tuple[Dock, Dock]
) -> None:
    first, second = two_docks
    for dock in two_docks:
        await dock.onboarded(20)
    assert listed(cloud) == [[f"{first.sn}A"]] * 2
    for dock in two_docks:
        assert (await merged(cloud, dock.sn))["sub_device"]["device_sn"] == f"{first.sn}A"
    assert (await merged(cloud, f"{first.sn}A"))["best_link_gateway"] == first.sn
    assert {frame["gateway"] for frame in said(cloud, f"{first.sn}A")} == {first.sn}
    await second.switch_aircraft(False)
    assert listed(cloud)[-1] == []
    assert (await merged(cloud, f"{first.sn}A"))["best_link_gateway"] == first.sn


@pytest.mark.asyncio
async def test_aircraft_links_through_the_other_dock_when_one_lets_it_go(
    cloud: Cloud, two_docks: tuple[Dock, Dock]
) -> None:
    first, second = two_docks
    for dock in two_docks:
        await dock.onboarded(20)
    await first.switch_aircraft(False)
    assert (await merged(cloud, f"{first.sn}A"))["best_link_gateway"] == second.sn
    assert said(cloud, f"{first.sn}A")[-1]["gateway"] == second.sn


@pytest.mark.asyncio
async def test_docks_of_a_fleet_share_in_pairs() -> None:
    fleet = Fleet(count=3, mqtt_url="mqtt://127.0.0.1", habits=iter(["shared-aircraft"]))
    assert [dock.sns[1][-2:] for dock in fleet.docks] == ["1A", "1A", "3A"]


@pytest.mark.asyncio
async def test_replaced_aircraft_is_in_osd_and_topology(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(habits=["replaced-aircraft"], aircraft_on=True).onboarded(20)
    assert listed(cloud) == [["AIRCRAFT1"], ["DOCK1B"]]
    assert (await merged(cloud))["sub_device"] == {**ON, "device_sn": "DOCK1B"}
    await until(lambda: bool(said(cloud, "DOCK1B")))
    assert said(cloud, "AIRCRAFT1") == []


@pytest.mark.asyncio
async def test_aircraft_is_replaced_while_it_is_off(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    await dock.replace_aircraft("AIRCRAFT2", "0-91-0")
    assert listed(cloud)[-1] == []
    assert (await merged(cloud))["sub_device"] == {**OFF, "device_sn": "AIRCRAFT2", "device_model_key": "0-91-0"}
    await dock.switch_aircraft(True)
    assert cloud.messages("status")[-1]["data"]["sub_devices"][0]["sn"] == "AIRCRAFT2"
    with pytest.raises(ValueError, match="Not a model key"):
        await dock.replace_aircraft("AIRCRAFT3", "M3D")


@pytest.mark.asyncio
async def test_unpaired_aircraft_stays_in_the_dock_and_is_no_longer_bound(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_on=True)
    await dock.onboarded(20)
    await dock.unpair_aircraft()
    assert listed(cloud)[-1] == []
    state = await merged(cloud)
    assert (state["drone_in_dock"], state["sub_device"]) == (1, {**OFF, "device_paired": 0})
    assert [device.sn for device in dock.bind_devices] == ["DOCK1"]
    with pytest.raises(ValueError, match="has no aircraft"):
        await dock.switch_aircraft(True)


# --- its connection


@pytest.mark.asyncio
async def test_dock_that_reconnects_is_onboarded_again_and_again(cloud: Cloud, make_dock: MakeDock) -> None:
    make_dock(habits=["reconnects"], reconnect_every=0.1)
    await until(lambda: len(cloud.messages("requests", "config")) >= 4)


@pytest.mark.asyncio
async def test_last_will_is_a_topology_without_tid_that_says_offline(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(habits=["last-will"], backoff=(60.0, 60.0))
    await dock.onboarded(20)
    cloud.answers["update_topo"] = lambda _message: None  # as there is nothing to answer with
    cloud.heard.clear()
    dock.connection.drop()
    [will] = await cloud.wait_for("status")
    data = {"domain": "3", "type": 2, "sub_type": 0, "sub_devices": [], "online": False}
    assert will == {"method": "update_topo", "data": data}


# --- the table


@pytest.mark.asyncio
@pytest.mark.parametrize("aircraft_on", [None, True])
@pytest.mark.parametrize("name", HABITS)
async def test_onboarding_works_with_every_habit(
    broker: Mosquitto, cloud: Cloud, name: str, aircraft_on: bool | None
) -> None:
    fleet = Fleet(
        count=2,
        mqtt_url=broker.url,
        organization_id=ORGANIZATION,
        binding_code=CODE,
        options=replace(QUICK, reply_timeout=2),
        aircraft_on=aircraft_on,
        habits=[name],
    )
    fleet.start()
    try:
        await fleet.onboarded(20)
        assert {dock.sn for dock in fleet.docks} <= set(cloud.bound)
        assert fleet.ledger.complaints == []
    finally:
        await fleet.stop()


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["lazy"], "Unknown habit 'lazy': expected one of topology-first"),
        (["no-topology", "no-domain"], "The habit no-topology cannot be combined with no-domain"),
    ],
)
def test_unknown_habit_and_one_that_makes_no_sense_are_refused(names: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Dock("mqtt://127.0.0.1", "DOCK1", habits=names)
