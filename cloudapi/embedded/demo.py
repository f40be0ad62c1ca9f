"""The whole server in one process, with simulated docks: what `make demo` runs."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections

from cloudapi.embedded.servers import Mosquitto, ServerError
from cloudapi.embedded.worker import running_worker
from devices.models import Device
from mqtt_bridge.bridge import Bridge
from mqtt_bridge.lock import FileLock
from mqtt_bridge.simulator.dock import Dock, Options, Step
from mqtt_bridge.simulator.fleet import Fleet, run_in_thread
from organizations.models import BindingCode, Membership, Organization, Role, digest_of

HOST = "127.0.0.1"
DATA = settings.BASE_DIR / ".demo"
PASSWORD = "demo-demo"  # noqa: S105  (of a server that listens on loopback only)
BROKER_USER = "demo"
BROKER_PORT = 18830  # the same at every start, unless somebody has it
SN_PREFIX = "DEMODOCK"
ONBOARDING_TIMEOUT = 30.0  # seconds
AIRCRAFT_STAYS_ON = 120.0  # seconds after onboarding: enough to read its licenses, as the schedule does every minute
# organization ID, name, a binding code without end, members
ORGANIZATIONS = (
    ("10000001", "Harbour Survey", "DEMO-HARB-2345", {"alice": Role.MANAGER, "bob": Role.VIEWER}),
    ("10000002", "Northern Grid", "DEMO-GRID-2345", {"charlie": Role.MANAGER}),
)
WHAT_A_DOCK_IS_TOLD = {
    "DJI_APP_ID": "100001",
    "DJI_APP_KEY": "demo key, not DJI's",
    "DJI_APP_LICENSE": "demo license, not DJI's",
}

Say = Callable[[str], Any]


class DemoError(Exception):
    """Why the demo cannot run, for people."""


def run(*, port: int, docks: int, say: Say, data: Path = DATA) -> None:
    """Serve until Ctrl-C or SIGTERM; raises DemoError for a port that is taken, a server that does not start or a
    folder `data` that another demo uses, and where its well-known passwords could do harm.
    """
    if not settings.DEBUG:
        raise DemoError("The demo has well-known passwords; it does not run with DEBUG off.")
    if os.environ.get("DATABASE_URL"):
        raise DemoError("The demo has well-known passwords; it does not write into the database of DATABASE_URL.")
    _check_port(port)
    with _own_database(data), closing(_start_broker()) as broker:
        _configure(port, broker.port)
        call_command("migrate", verbosity=0)
        prepare()
        fleet = _fleet(broker.url, docks)
        with _running_bridge(broker.url), running_worker(broker.url), run_in_thread(fleet) as loop:
            asyncio.run_coroutine_threadsafe(_settle(fleet), loop).result()
            say(_welcome(port, broker.url, data, fleet))
            _listen_to_technician(fleet.docks[-1], loop, say)
            uvicorn.run(
                "cloudapi.asgi:application",
                host=HOST,
                port=port,
                log_level="warning",
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=65_536,
            )


def _check_port(port: int) -> None:
    try:
        _bind(port)
    except OSError as error:
        raise DemoError(f"Port {port} is not free ({error.strerror}); choose another with --port.") from None


def _start_broker() -> Mosquitto:
    """The broker, running: on its usual port unless somebody has that; raises ServerError."""
    with suppress(OSError, ServerError):
        _bind(BROKER_PORT)
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


def _bind(port: int) -> None:
    """Take the port and give it back; raises OSError if it is not free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


@contextmanager
def _own_database(data: Path) -> Iterator[None]:
    """Use a database in this folder, and keep other demos out of it: their bridge would stand by for ever."""
    data.mkdir(parents=True, exist_ok=True)
    lock = FileLock(data / "lock")
    if not lock.acquire():
        raise DemoError("Another demo uses this database. End that one, or name another folder with --data.")
    connections.close_all()
    connections.settings["default"]["NAME"] = str(data / "db.sqlite3")
    try:
        yield
    finally:
        lock.release()


def _configure(port: int, broker_port: int) -> None:
    """Tell the settings what the environment did not, and nothing of the Redis that another server may use."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "cloudapi.embedded.memory_layer.MemoryChannelLayer"}}
    if not os.environ.get("PUBLIC_URL"):
        settings.PUBLIC_URL = f"http://{HOST}:{port}"
    dock_account = {
        "DOCK_MQTT_URL": f"tcp://{HOST}:{broker_port}",
        "DOCK_MQTT_USERNAME": BROKER_USER,
        "DOCK_MQTT_PASSWORD": PASSWORD,
    }
    for name, value in (WHAT_A_DOCK_IS_TOLD | dock_account).items():
        if not getattr(settings, name):
            setattr(settings, name, value)


def prepare() -> None:
    """Make the demo's organizations, users and codes, unless they are there."""
    users = get_user_model().objects
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", "admin@example.org", PASSWORD)
    for organization_id, name, code, members in ORGANIZATIONS:
        organization, _ = Organization.objects.get_or_create(organization_id=organization_id, defaults={"name": name})
        if not organization.binding_codes.filter(digest=digest_of(code)).exists():
            BindingCode.objects.issue(organization=organization, code=code, label="demo", expires_at=None)
        for username, role in members.items():
            if not users.filter(username=username).exists():
                user = users.create_user(username, f"{username}@example.org", PASSWORD, is_staff=True)
                Membership.objects.create(user=user, organization=organization, role=role)


def _fleet(broker_url: str, count: int) -> Fleet:
    """Docks that belong to the organizations in turn; the last one knows no code."""
    options = Options(aircraft_stays_on=AIRCRAFT_STAYS_ON)
    fleet = Fleet(count=count, mqtt_url=broker_url, sn_prefix=SN_PREFIX, options=options)
    for position, dock in enumerate(fleet.docks[:-1]):
        organization_id, _, code, _ = ORGANIZATIONS[position % len(ORGANIZATIONS)]
        dock.organization_id, dock.binding_code = organization_id, code
    return fleet


async def _settle(fleet: Fleet) -> None:
    await fleet.settled(ONBOARDING_TIMEOUT)


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


def _welcome(port: int, broker_url: str, data: Path, fleet: Fleet) -> str:
    last = fleet.docks[-1]
    lines = [
        "",
        f"  Admin      http://{HOST}:{port}/admin/",
        f"  User       admin, password {PASSWORD}; members, with the same password:",
        *(
            f"             {username}, {role.value} of {name}"
            for _, name, _, members in ORGANIZATIONS
            for username, role in members.items()
        ),
        f"  Broker     {broker_url}",
        f"  Docks      {len(fleet.docks)} simulated; see Devices in the admin",
        f"  Data       {data}, kept for the next start; delete this folder to start afresh",
        "",
    ]
    if Device.objects.filter(sn=last.sn, organization__isnull=False).exists():
        lines.append(f"  {last.sn} is bound already: release it in the admin, then watch it bind again.")
    else:
        lines.append(f"  {last.sn} is online and belongs to nobody yet. Watch it bind.")
    lines += [
        "  Be its technician and type here, as in DJI Pilot 2, the organization ID and the binding code (a wrong one",
        "  is worth a try, too):",
        "",
        *(
            f"      {organization_id} {code}        binds it to {name}"
            for organization_id, name, code, _ in ORGANIZATIONS
        ),
        "",
        "  Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _listen_to_technician(dock: Dock, loop: asyncio.AbstractEventLoop, say: Say) -> None:
    """Lines from the terminal are what a technician types at the last dock; its steps are shown."""

    def show(_dock: Dock, step: Step) -> None:
        say(f"  {dock.sn}: {step.name} {step.outcome} {step.detail}".rstrip())

    def listen() -> None:
        for line in sys.stdin:
            match line.split():
                case [organization_id, code]:
                    loop.call_soon_threadsafe(dock.enter_code, organization_id, code)
                case []:
                    pass
                case _:
                    say("  Type an organization ID and a binding code, with a space between them.")

    dock.on_step = show
    if sys.stdin is not None and not sys.stdin.closed and os.isatty(sys.stdin.fileno()):
        threading.Thread(target=listen, name="technician", daemon=True).start()
