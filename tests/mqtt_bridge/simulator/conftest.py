"""A real broker, the cloud played by hand, and a dock with quick timeouts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.simulator.dock import Dock, Options
from tests.mqtt_bridge.simulator.cloud import CODE, ORGANIZATION, Cloud, until

QUICK = Options(reply_timeout=0.5, retry_delay=0.1, osd_rate=20, backoff=(0.05, 0.2), connect_timeout=10)


@pytest.fixture(scope="session")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
def own_broker() -> Iterator[Mosquitto]:
    """A broker that a test may kill."""
    with Mosquitto() as broker:
        yield broker


@pytest_asyncio.fixture
async def cloud(broker: Mosquitto) -> AsyncIterator[Cloud]:
    async with Cloud(broker.url) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def make_dock(broker: Mosquitto) -> AsyncIterator[Callable[..., Dock]]:
    """Build and start a dock that knows the right code; keywords change the dock or its options."""
    docks: list[Dock] = []

    def make(**changes: Any) -> Dock:
        names = [name for name in changes if name in Options.__dataclass_fields__]
        options = replace(QUICK, **{name: changes.pop(name) for name in names})
        given: dict[str, Any] = {
            "aircraft_sn": "AIRCRAFT1",
            "organization_id": ORGANIZATION,
            "binding_code": CODE,
            "options": options,
        }
        dock = Dock(changes.pop("url", broker.url), changes.pop("sn", "DOCK1"), **{**given, **changes})
        docks.append(dock)
        dock.start()
        return dock

    yield make
    await asyncio.gather(*(dock.stop() for dock in docks))


async def step(dock: Dock, name: str, outcome: str) -> str:
    """Wait for a step and return its detail."""

    def found() -> list[str]:
        return [one.detail for one in dock.steps if (one.name, one.outcome) == (name, outcome)]

    await until(lambda: bool(found()))
    return found()[0]
