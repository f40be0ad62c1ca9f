"""`manage.py simulate_docks` as a process, against a real broker."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudapi.embedded.servers import Mosquitto
from tests.mqtt_bridge.simulator.cloud import CODE, ORGANIZATION, Cloud

pytestmark = pytest.mark.asyncio
ROOT = Path(__file__).resolve().parents[3]
RIGHT = ("--organization-id", ORGANIZATION, "--binding-code", CODE)


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        yield broker


# The lines must come at once, whatever the environment says of buffering.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
ENVIRONMENT["DJANGO_SETTINGS_MODULE"] = "tests.mqtt_bridge.management.bare_settings"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "simulate_docks",
        *arguments,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def run(*arguments: str) -> tuple[int | None, str, str]:
    """Exit code, output, errors."""
    process = await start(*arguments)
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_onboarded_docks_end_it_with_success(broker: Mosquitto) -> None:
    async with Cloud(broker.url) as cloud:
        code, out, err = await run("--count=2", f"--mqtt-url={broker.url}", *RIGHT, "--exit-when-onboarded")
    assert (code, err) == (0, "")
    assert "SIMDOCK00002 airport_organization_bind ok\n" in out
    assert "2 of 2 docks onboarded" in out
    assert set(cloud.bound) == {"SIMDOCK00001", "SIMDOCK00001A", "SIMDOCK00002", "SIMDOCK00002A"}


async def test_dock_that_is_refused_ends_it_with_failure(broker: Mosquitto) -> None:
    async with Cloud(broker.url):
        code, out, err = await run(
            f"--mqtt-url={broker.url}", *RIGHT, "--misbehave=wrong-code", "--exit-when-onboarded"
        )
    assert code == 1
    assert "SIMDOCK00001 airport_organization_get refused result 210230\n" in out
    assert err == "CommandError: Not all docks were onboarded.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_in_good_order(broker: Mosquitto, number: signal.Signals) -> None:
    async with Cloud(broker.url) as cloud:
        process = await start(f"--mqtt-url={broker.url}", *RIGHT, "--sn-prefix=TEST", "--no-aircraft")
        assert process.stdout is not None
        async with asyncio.timeout(20):
            async for line in process.stdout:
                if b"update_topo" in line:
                    break
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"1 of 1 docks onboarded" in out
    assert cloud.messages("status")[0]["data"]["sub_devices"] == []
    assert all("TEST00001" in topic for topic, _payload in cloud.heard)


async def test_docks_serve_with_the_faults_they_are_given(broker: Mosquitto) -> None:
    async with Cloud(broker.url) as cloud:
        process = await start(f"--mqtt-url={broker.url}", *RIGHT, "--fault=stripped", "--fault=duplicate")
        await cloud.wait_for("status", seconds=20)
        await cloud.command("SIMDOCK00001", "unlock_license_list", {"device_model_domain": 3})
        replies = await cloud.wait_for("services_reply", count=2)
        process.send_signal(signal.SIGTERM)
        out, _err = await process.communicate()
    assert [reply["data"] for reply in replies] == [{"result": 0}, {"result": 0}]
    assert b" 0 complaints" in out


async def test_docks_have_the_habits_they_are_given(broker: Mosquitto) -> None:
    async with Cloud(broker.url) as cloud:
        habits = ("--habit=bound-alone", "--habit=no-domain")
        code, out, _err = await run(f"--mqtt-url={broker.url}", *RIGHT, *habits, "--exit-when-onboarded")
    assert (code, set(cloud.bound)) == (0, {"SIMDOCK00001"})
    assert "SIMDOCK00001 update_topo ok aircraft on\nSIMDOCK00001 update_topo ok aircraft off\n" in out
    assert not any("domain" in message["data"] for message in cloud.messages("status"))


async def test_bad_arguments_are_named() -> None:
    code, _out, err = await run("--mqtt-url=http://127.0.0.1")
    assert (code, err[:29]) == (1, "CommandError: Not an MQTT add")
    code, _out, err = await run("--mqtt-url=mqtt://127.0.0.1", "--fault=rude")
    assert (code, err[:35]) == (1, "CommandError: Unknown fault 'rude':")
    code, _out, err = await run("--mqtt-url=mqtt://127.0.0.1", "--habit=lazy")
    assert (code, err[:35]) == (1, "CommandError: Unknown habit 'lazy':")
    code, _out, err = await run("--mqtt-url=mqtt://127.0.0.1", "--credentials=nowhere.csv")
    assert (code, "nowhere.csv" in err, "Traceback" in err) == (1, True, False)
    code, _out, err = await run("--mqtt-url=mqtt://127.0.0.1", "--count=0")
    assert (code, err) == (1, "CommandError: A fleet has at least one dock, not 0.\n")
