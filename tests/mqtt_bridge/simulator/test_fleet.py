"""Many docks in one process."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.simulator.fleet import CredentialsFile, Fleet, run_in_thread
from tests.mqtt_bridge.simulator.cloud import CODE, ORGANIZATION, Cloud, until
from tests.mqtt_bridge.simulator.conftest import QUICK

pytestmark = pytest.mark.asyncio
MakeFleet = Callable[..., Fleet]


@pytest_asyncio.fixture
async def make_fleet(broker: Mosquitto) -> AsyncIterator[MakeFleet]:
    fleets: list[Fleet] = []

    def make(**changes: Any) -> Fleet:
        given = {
            "mqtt_url": broker.url,
            "organization_id": ORGANIZATION,
            "binding_code": CODE,
            "stagger": 0,
            "options": replace(QUICK, reply_timeout=2, osd_rate=1),
        }
        fleet = Fleet(**{**given, **changes})
        fleets.append(fleet)
        fleet.start()
        return fleet

    yield make
    for fleet in fleets:
        await fleet.stop()


async def connected(fleet: Fleet) -> None:
    await asyncio.gather(*(dock.connection.wait_open() for dock in fleet.docks))


async def test_fifty_docks_are_onboarded_in_one_process(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=50, sn_prefix="MANY")
    await fleet.onboarded(20)
    assert fleet.docks[0].sns == ["MANY00001", "MANY00001A"]
    assert fleet.docks[-1].sns == ["MANY00050", "MANY00050A"]
    assert len(cloud.bound) == 100
    assert fleet.summary()["update_topo"] == {"ok": 50}
    assert fleet.ledger.complaints == []
    assert "50 of 50 docks onboarded" in fleet.report()


async def test_descriptors_beyond_those_of_select_do(cloud: Cloud, make_fleet: MakeFleet) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1024):
            stack.callback(os.close, os.dup(0))
        fleet = make_fleet(count=2)
        await fleet.onboarded(20)
        await fleet.stop()


async def test_summary_shows_where_docks_stopped(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=3, binding_code="WRONG")
    assert not await fleet.settled(20)
    assert fleet.summary()["airport_organization_get"] == {"refused": 3}
    assert "0 of 3 docks onboarded" in fleet.report()


async def test_fleet_that_is_stuck_names_the_dock(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=2, misbehave=["silence"])
    with pytest.raises(TimeoutError, match="SIMDOCK00001: not onboarded"):
        await fleet.onboarded(0.2)


async def test_each_dock_may_have_its_own_address(broker: Mosquitto, cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=2, mqtt_url=lambda sn: broker.url.replace("//", f"//{sn}:secret@"))
    await fleet.onboarded(20)
    assert "SIMDOCK00002:secret@" in fleet.dock("SIMDOCK00002").connection.url


async def test_load_is_answered_and_measured(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(count=5, options=replace(QUICK, onboard=False))
    await connected(fleet)
    report = await fleet.send_load(requests=200, rate=400, seconds=30)
    assert (report.requests, report.answered) == (200, 200)
    assert 0.4 < report.seconds < 30
    assert 0 < report.p50 <= report.p95 <= report.longest
    methods = [message["method"] for message in cloud.messages("requests")]
    assert {method: methods.count(method) for method in set(methods)} == {
        "airport_bind_status": 100,
        "airport_organization_bind": 100,
    }


async def test_load_repeats_until_answered(cloud: Cloud, make_fleet: MakeFleet) -> None:
    answer, asked = cloud.answers["airport_bind_status"], set()

    def second_time(message: dict[str, Any]) -> dict[str, Any] | None:
        if message["tid"] in asked:
            return answer(message)
        asked.add(message["tid"])
        return None

    cloud.answers["airport_bind_status"] = second_time
    fleet = make_fleet(count=2, options=replace(QUICK, onboard=False))
    report = await fleet.send_load(requests=2, rate=100, repeat_after=0.5, seconds=20)
    assert report.answered == 2
    assert [one.sends for one in fleet.ledger.transactions()] == [2, 2]


async def test_load_without_repeats_reports_what_is_lost(cloud: Cloud, make_fleet: MakeFleet) -> None:
    cloud.answers["airport_bind_status"] = lambda _message: None
    fleet = make_fleet(count=1, options=replace(QUICK, onboard=False))
    report = await fleet.send_load(requests=4, rate=100, repeat_after=None, seconds=1.5)
    assert (report.requests, report.answered) == (4, 2)
    assert len(fleet.ledger.unanswered()) == 2


async def test_load_survives_a_broker_restart(own_broker: Mosquitto, make_fleet: MakeFleet) -> None:
    async with Cloud(own_broker.url) as cloud:
        fleet = make_fleet(count=3, mqtt_url=own_broker.url, options=replace(QUICK, onboard=False))
        await connected(fleet)
        load = asyncio.ensure_future(fleet.send_load(requests=60, rate=100, repeat_after=0.3, seconds=30))
        await until(lambda: len(fleet.ledger.messages) > 20)
        own_broker.kill()
        await cloud.connection.wait_lost()
        await asyncio.to_thread(own_broker.start)
        await cloud.connection.open()
        assert (await load).answered == 60
    assert fleet.ledger.unanswered() == []


async def test_fleet_needs_a_dock() -> None:
    with pytest.raises(ValueError, match="at least one dock"):
        Fleet(count=0, mqtt_url="mqtt://127.0.0.1")


async def test_fleet_in_a_thread_is_led_from_outside(broker: Mosquitto, cloud: Cloud) -> None:
    fleet = Fleet(count=2, mqtt_url=broker.url, options=QUICK)

    def lead() -> bool:
        with run_in_thread(fleet) as loop:
            assert not asyncio.run_coroutine_threadsafe(fleet.settled(20), loop).result()
            for dock in fleet.docks:
                loop.call_soon_threadsafe(dock.enter_code, ORGANIZATION, CODE)
            asyncio.run_coroutine_threadsafe(fleet.onboarded(20), loop).result()
        return any(dock.connection.is_open for dock in fleet.docks)

    assert not await asyncio.to_thread(lead)
    assert len(cloud.bound) == 4


async def test_credentials_are_put_into_the_address(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("sn,username,password,label\nA1,A1.2,p@ss:word/,x\n")
    credentials = CredentialsFile(str(file), "mqtts://ignored:secret@broker:8883")
    assert credentials.urls() == {"A1": "mqtts://A1.2:p%40ss%3Aword%2F@broker:8883"}
    with pytest.raises(ValueError, match="columns sn, username and password"):
        CredentialsFile(str(write(file, "sn,name\nA1,A1\n")), "mqtts://broker").urls()


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


async def test_dock_binds_at_the_enrolment_broker_and_moves_when_it_has_an_account(
    broker: Mosquitto, cloud: Cloud, make_fleet: MakeFleet, tmp_path: Path
) -> None:
    file = write(tmp_path / "accounts.csv", "sn,username,password\nENROL00002,own,secret\n")
    credentials = CredentialsFile(str(file), broker.url)
    fleet = make_fleet(count=2, sn_prefix="ENROL", enrolment_url=broker.url, credentials=credentials)
    await fleet.dock("ENROL00002").onboarded(20)  # it has an account from the beginning
    dock = fleet.dock("ENROL00001")
    await until(lambda: dock.is_enrolled)
    assert not dock.is_onboarded
    assert [step.name for step in dock.steps if step.name in ("update_topo", "enrolment")] == ["enrolment"]
    write(file, "sn,username,password\nENROL00001,first,secret\n")
    await dock.onboarded(20)
    assert "//first:secret@" in dock.connection.url
