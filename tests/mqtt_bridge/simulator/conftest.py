"""A real broker, the cloud played by hand, and a dock with quick timeouts."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cloudapi.embedded import programs
from mqtt_bridge.simulator.dock import Dock, Options
from tests.mqtt_bridge.simulator.cloud import CODE, ORGANIZATION, Cloud

QUICK = Options(reply_timeout=0.15, retry_delay=0.1, osd_rate=20, backoff=(0.05, 0.2), connect_timeout=3)
CONFIGURATION = """\
user root
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 100000
"""


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """A private Mosquitto on loopback, which a test may stop and start again."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.port = free_port()
        self.configuration = folder / "mosquitto.conf"
        self.configuration.write_text(CONFIGURATION.format(port=self.port) + extra)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = programs.find("mosquitto")
        command = [str(program.path), "-c", str(self.configuration)]
        self.process = subprocess.Popen(command, env=program.env, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with closing(socket.socket()) as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError("Mosquitto did not start.")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may stop."""
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest_asyncio.fixture
async def cloud(broker: Broker) -> AsyncIterator[Cloud]:
    async with Cloud(broker.url) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def make_dock(broker: Broker) -> AsyncIterator[Callable[..., Dock]]:
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
