"""The whole server in one process, with simulated docks: what `make demo` runs."""

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import uvicorn
from django.conf import settings
from django.db import connections

from cloudapi.embedded.demo_data import ORGANIZATIONS, PASSWORD, DemoError, Say, open_database, own_database
from cloudapi.embedded.demo_welcome import stopped_at, welcome
from cloudapi.embedded.programs import ProgramMissingError
from cloudapi.embedded.servers import HOST, Mosquitto, ServerError
from cloudapi.embedded.worker import WorkerError, running_worker
from cloudapi.environment import text
from cloudapi.mqtt_routes import SIMULATED
from mqtt_bridge.bridge import Bridge
from mqtt_bridge.simulator import commands
from mqtt_bridge.simulator.dock import Dock, Options, Step
from mqtt_bridge.simulator.fleet import Fleet, run_in_thread

DATA = settings.BASE_DIR / ".demo"
BROKER_USER = "demo"
BROKER_PORT = 18830  # the same at every start, unless another process has it
SN_PREFIX = "DEMODOCK"
ONBOARDING_TIMEOUT = 30.0  # seconds
AIRCRAFT_STAYS_ON = 120.0  # seconds after onboarding: enough to read its licenses, as the schedule does every minute


def run(*, port: int, docks: int, say: Say, data: Path = DATA) -> None:
    """Serve until Ctrl-C or SIGTERM, in whatever state the data are: a line for each thing that does not work.

    Raises DemoError for a port that is taken, a folder `data` that another demo uses or that cannot be written, and
    where its well-known passwords could do harm; ServerError, WorkerError for a server that does not start.
    """
    if not settings.DEBUG:
        raise DemoError("The demo has well-known passwords; it does not run with DEBUG off.")
    if text("DATABASE_URL"):
        raise DemoError("The demo has well-known passwords; it does not write into the database of DATABASE_URL.")
    listener = listen(port)
    server = uvicorn.Server(
        uvicorn.Config(
            "cloudapi.asgi:application",
            log_level="warning",
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=65_536,
            timeout_graceful_shutdown=5,
        )
    )
    with (
        closing(listener),
        _ended_by_signal(server),
        own_database(data) as database,
        closing(start_broker()) as broker,
    ):
        address = f"{HOST}:{listener.getsockname()[1]}"
        configure(address, broker.port)
        open_database(database, server, say)
        fleet = make_fleet(broker.url, docks)
        if server.should_exit:
            return
        with _running_bridge(broker.url), running_worker(broker.url), run_in_thread(fleet) as loop:
            deadline = time.monotonic() + ONBOARDING_TIMEOUT
            while not (server.should_exit or all(dock.is_onboarded or stopped_at(dock) for dock in fleet.docks)):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            if not server.should_exit:
                say(welcome(address, broker.url, data, fleet))
                _listen_to_technician(fleet.docks[-1], loop, say)
                server.run(sockets=[listener])


@contextmanager
def _ended_by_signal(server: uvicorn.Server) -> Iterator[None]:
    """From here on a signal only sets `server.should_exit`, which each step checks before it begins.

    An exception at any line would leave threads and the broker behind; uvicorn alone would miss earlier signals.
    """
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except (ProgramMissingError, ServerError, WorkerError):
        if not server.should_exit:  # else Ctrl-C has also ended a program that we waited for
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(port: int) -> socket.socket:
    """Take the port, any free one for 0, and keep it: what connects before the demo serves waits until it does."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise DemoError(f"Port {port} is not free ({error.strerror}); choose another with --port.") from None


def start_broker() -> Mosquitto:
    """Return the running broker, on its usual port unless another process has that. Raises ServerError."""
    with suppress(OSError, ServerError):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, BROKER_PORT))
        return _start_broker_on(BROKER_PORT)
    return _start_broker_on(None)


def _start_broker_on(port: int | None) -> Mosquitto:
    broker = Mosquitto(username=BROKER_USER, password=PASSWORD, port=port)
    try:
        broker.start()
    except ServerError:
        broker.close()
        raise
    return broker


def configure(address: str, broker_port: int) -> None:
    """Give the settings what the environment lacks, and no Redis: another server may use it."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "cloudapi.embedded.memory_layer.MemoryChannelLayer"}}
    if not text("PUBLIC_URL"):
        settings.PUBLIC_URL = f"http://{address}"
    for_docks = {
        "DJI_APP_ID": "100001",
        "DJI_APP_KEY": "demo key, not DJI's",
        "DJI_APP_LICENSE": "demo license, not DJI's",
        "DOCK_MQTT_URL": f"tcp://{HOST}:{broker_port}",
        "DOCK_MQTT_USERNAME": BROKER_USER,
        "DOCK_MQTT_PASSWORD": PASSWORD,
    }
    for name, value in for_docks.items():
        if not getattr(settings, name):
            setattr(settings, name, value)


def make_fleet(broker_url: str, count: int) -> Fleet:
    """Docks that belong to the organizations in turn; the last one knows no code."""
    commands.learn(SIMULATED)
    options = Options(aircraft_stays_on=AIRCRAFT_STAYS_ON)
    fleet = Fleet(count=count, mqtt_url=broker_url, sn_prefix=SN_PREFIX, options=options)
    for position, dock in enumerate(fleet.docks[:-1]):
        organization_id, _, code, _ = ORGANIZATIONS[position % len(ORGANIZATIONS)]
        dock.organization_id, dock.binding_code = organization_id, code
    return fleet


@contextmanager
def _running_bridge(broker_url: str) -> Iterator[None]:
    connections.settings["default"]["CONN_MAX_AGE"] = None
    bridge = Bridge(url=broker_url, client_id=settings.MQTT_CLIENT_ID)
    thread = threading.Thread(target=bridge.run, name="bridge")
    thread.start()
    try:
        yield
    finally:
        bridge.stop()
        thread.join()


def _listen_to_technician(dock: Dock, loop: asyncio.AbstractEventLoop, say: Say) -> None:
    """Take the lines of the terminal, or of a pipe in its place, for what a technician types at this dock."""

    def show(_dock: Dock, step: Step) -> None:
        say(f"  {dock.sn}: {step.name} {step.outcome} {step.detail}".rstrip())

    def listen(descriptor: int) -> None:
        # Unbuffered: a thread that waits inside a buffer's lock aborts an interpreter that ends.
        with suppress(OSError), open(descriptor, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                match line.decode(errors="replace").split():
                    case [organization_id, code]:
                        loop.call_soon_threadsafe(dock.enter_code, organization_id, code)
                    case []:
                        pass
                    case _:
                        say("  Type an organization ID and a binding code, with a space between them.")

    dock.on_step = show
    if sys.stdin is not None and not sys.stdin.closed:
        threading.Thread(target=listen, args=(sys.stdin.fileno(),), name="technician", daemon=True).start()
