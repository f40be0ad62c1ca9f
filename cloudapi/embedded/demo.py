"""The whole server in one process, with simulated docks: what `make demo` runs."""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from cloudapi.embedded.programs import ProgramMissingError
from cloudapi.embedded.servers import Mosquitto, ServerError
from cloudapi.embedded.worker import WorkerError, running_worker
from cloudapi.mqtt_routes import SIMULATED
from devices.diagnosis.onboarding import onboarding
from devices.models import Device
from mqtt_bridge.bridge import Bridge
from mqtt_bridge.lock import FileLock
from mqtt_bridge.models import Exchange
from mqtt_bridge.simulator import services
from mqtt_bridge.simulator.dock import Dock, Options, Step
from mqtt_bridge.simulator.fleet import Fleet, run_in_thread
from organizations.models import BindingCode, Membership, Organization, Role
from organizations.typed import digest_of

HOST = "127.0.0.1"
DATA = settings.BASE_DIR / ".demo"
ADMIN = "admin"
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
    """Serve until Ctrl-C or SIGTERM, in whatever state the data are: what does not work is said in a line each.

    Raises DemoError for a port that is taken, a folder `data` that another demo uses or that cannot be written, and
    where its well-known passwords could do harm; ServerError, WorkerError for a server that does not start.
    """
    if not settings.DEBUG:
        raise DemoError("The demo has well-known passwords; it does not run with DEBUG off.")
    if os.environ.get("DATABASE_URL"):
        raise DemoError("The demo has well-known passwords; it does not write into the database of DATABASE_URL.")
    listener = _listen(port)
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
        _own_database(data) as database,
        closing(_start_broker()) as broker,
    ):
        port = listener.getsockname()[1]
        _configure(port, broker.port)
        _open_database(database, server, say)
        fleet = _fleet(broker.url, docks)
        if server.should_exit:
            return
        with _running_bridge(broker.url), running_worker(broker.url), run_in_thread(fleet) as loop:
            asyncio.run_coroutine_threadsafe(_settle(fleet, server), loop).result()
            if not server.should_exit:
                say(_welcome(port, broker.url, data, fleet))
                _listen_to_technician(fleet.docks[-1], loop, say)
                server.run(sockets=[listener])


@contextmanager
def _ended_by_signal(server: uvicorn.Server) -> Iterator[None]:
    """From here on a signal only sets `server.should_exit`, which each step looks at before it begins.

    An exception at any line would leave threads and the broker behind; uvicorn alone would miss what came earlier.
    """
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except (ProgramMissingError, ServerError, WorkerError):
        if not server.should_exit:  # else Ctrl-C has ended a program that we waited for, too
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(port: int) -> socket.socket:
    """Take the port, any free one for 0, and keep it: what comes before the demo serves waits until it does."""
    try:
        return socket.create_server((HOST, port))
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
def _own_database(data: Path) -> Iterator[Path]:
    """Yield the database in this folder, and keep other demos out of it: their bridge would stand by for ever."""
    lock = FileLock(data / "lock")
    try:
        data.mkdir(parents=True, exist_ok=True)
        is_ours = lock.acquire()
    except OSError as error:
        raise DemoError(f"{data} cannot be used: {error.strerror}. Name another folder with --data.") from None
    if not is_ours:
        raise DemoError("Another demo uses this database. End that one, or name another folder with --data.")
    path = data / "db.sqlite3"
    connections.close_all()
    connections.settings["default"]["NAME"] = str(path)
    try:
        yield path
    finally:
        connections.close_all()
        lock.release()


def _open_database(path: Path, server: uvicorn.Server, say: Say) -> None:
    """Bring the database up to date; one that cannot be is set aside, and the demo starts afresh."""
    try:
        _check_file(path, server, say)
        _fill_database(server)
    except Exception as error:  # a migration meets anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        connections.close_all()
        aside = path.with_name(f"unusable-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            aside.mkdir()
            for file in path.parent.glob(f"{path.name}*"):
                file.rename(aside / file.name)
            say(f"  The data cannot be used ({reason}); they are in {aside} now, and the demo starts afresh.")
            _fill_database(server)
        except (DatabaseError, OSError) as again:
            raise DemoError(f"{path} cannot be used: {again}. Name another folder with --data.") from None


def _check_file(path: Path, server: uvicorn.Server, say: Say) -> None:
    """Wait until no other program locks it; raises sqlite3.DatabaseError if it is damaged."""
    is_said = False
    while not server.should_exit:
        try:
            with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                [(verdict,)] = database.execute("PRAGMA quick_check(1)")
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
                return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if not is_said:
                say(f"  Another program has locked {path}; the demo goes on when that lets go.")
                is_said = True


def _fill_database(server: uvicorn.Server) -> None:
    if not server.should_exit:
        call_command("migrate", verbosity=0)
        loader = MigrationLoader(connections["default"])
        if newer := sorted(loader.applied_migrations.keys() - loader.disk_migrations.keys()):
            raise DatabaseError(f"another version made them, with the migration {'.'.join(newer[-1])}")
    if not server.should_exit:
        prepare()


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


@transaction.atomic
def prepare() -> None:
    """Make the demo's organizations, users and codes, unless they are there."""
    users = get_user_model().objects
    everybodys = {"password": make_password(PASSWORD)}  # hashed once: that takes a third of a second
    if not users.filter(username=ADMIN).exists():
        users.create(username=ADMIN, email="admin@example.org", is_staff=True, is_superuser=True, **everybodys)
    for organization_id, name, code, members in ORGANIZATIONS:
        organization, is_new = Organization.objects.get_or_create(
            organization_id=organization_id, defaults={"name": name}
        )
        if not organization.binding_codes.filter(digest=digest_of(code)).exists():
            BindingCode.objects.issue(organization=organization, code=code, label="demo", expires_at=None)
        for username, role in members.items():
            user = users.filter(username=username).first()
            is_known = user is not None
            user = user or users.create(username=username, email=f"{username}@example.org", is_staff=True, **everybodys)
            if is_new or not is_known:
                Membership.objects.create(user=user, organization=organization, role=role)


def _fleet(broker_url: str, count: int) -> Fleet:
    """Docks that belong to the organizations in turn; the last one knows no code."""
    services.learn(SIMULATED)
    options = Options(aircraft_stays_on=AIRCRAFT_STAYS_ON)
    fleet = Fleet(count=count, mqtt_url=broker_url, sn_prefix=SN_PREFIX, options=options)
    for position, dock in enumerate(fleet.docks[:-1]):
        organization_id, _, code, _ = ORGANIZATIONS[position % len(ORGANIZATIONS)]
        dock.organization_id, dock.binding_code = organization_id, code
    return fleet


async def _settle(fleet: Fleet, server: uvicorn.Server) -> None:
    """Wait until each dock is onboarded, has nobody who enters a code, or was refused."""
    deadline = time.monotonic() + ONBOARDING_TIMEOUT
    while not all(dock.is_onboarded or _stopped_at(dock) for dock in fleet.docks):
        if server.should_exit or time.monotonic() > deadline:
            return
        await asyncio.sleep(0.05)


def _stopped_at(dock: Dock) -> Step | None:
    """The step at which the dock waits, or from which it begins again and again."""
    return next((step for step in dock.steps if step.outcome in ("waiting", "refused", "unanswered")), None)


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
        f"  User       {ADMIN}, password {PASSWORD} unless you changed it; members, with the same password:",
        *(f"             {username}, {_roles(username)}" for *_, members in ORGANIZATIONS for username in members),
        f"  Broker     {broker_url}",
        f"  Docks      {len(fleet.docks)} simulated; see Devices in the admin",
        f"  Data       {data}, kept for the next start; delete this folder to start afresh",
        "",
        *(f"  {remark}" for remark in _remarks(fleet)),
    ]
    if last.is_onboarded:
        lines.append(f"  {last.sn} is bound already: release it in the admin, then watch it bind again.")
    else:
        lines.append(f"  {last.sn} is online and belongs to nobody yet. Watch it bind.")
    lines += [
        "  Be its technician and type here, as in DJI Pilot 2, the organization ID and the binding code (a wrong one",
        "  is worth a try, too):",
        "",
        *(
            f"      {organization_id} {code}        {_effect(organization_id, code)}"
            for organization_id, _, code, _ in ORGANIZATIONS
        ),
        "",
        "  Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _roles(username: str) -> str:
    """What a person is, in whichever organizations by now."""
    memberships = Membership.objects.filter(user__username=username).select_related("organization")
    return ", ".join(f"{each.role} of {each.organization.name}" for each in memberships) or "in no organization now"


def _effect(organization_id: str, code: str) -> str:
    """What comes of typing this code."""
    row = BindingCode.objects.select_related("organization").get(
        organization__organization_id=organization_id, digest=digest_of(code)
    )
    why_not = row.why_unusable(timezone.now())
    return f"is refused now: {why_not}" if why_not else f"binds it to {row.organization.name}"


def _remarks(fleet: Fleet) -> Iterator[str]:
    """What does not work, because of what people did to the data."""
    for username in (ADMIN, *(username for *_, members in ORGANIZATIONS for username in members)):
        if not get_user_model().objects.get(username=username).is_active:
            yield f"{username} cannot sign in: not active."
    for dock in fleet.docks:
        step = _stopped_at(dock)
        if not dock.is_onboarded and (step is None or step.outcome != "waiting"):
            yield f"{dock.sn} is not onboarded. {_why_not(dock)}"


def _why_not(dock: Dock) -> str:
    """What the journal says, which is written after the dock's answer is sent."""
    device = Device.objects.filter(sn=dock.sn).select_related("organization").first()
    for _ in range(20):
        found = onboarding(dock.sn, device=device, visible=Exchange.objects.all())
        if found.status == "failed":
            break
        time.sleep(0.1)
    return found.words


def _listen_to_technician(dock: Dock, loop: asyncio.AbstractEventLoop, say: Say) -> None:
    """Lines from the terminal, or a pipe in its place, are what a technician types at the last dock, which answers."""

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
