"""A whole fleet comes back at once: each dock with its own connection and account asks what it asks after a start.

The broker is a real Mosquitto that knows every dock's password and lets it use its own topics only. The form with
EMQX's HTTP authentication plays EMQX: before a dock may connect, the server is asked what EMQX would ask.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

import psycopg

from benchmarks import broker_auth
from benchmarks.binds import BRIDGE, CONTENDERS, ECHO, check_answers, cpu_per_message
from benchmarks.harness import load, tables
from benchmarks.harness.processes import Running, environment, manage, running, web_process
from benchmarks.harness.report import Row
from benchmarks.harness.tables import AIRCRAFT
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL, Redis

CONNECTING = (
    200  # docks that are connecting at one time: the kernel's queue for new connections is not what is measured
)
OSD_PERIOD = 2.0  # seconds between two beats of two frames
OSD_FOR = 10.0  # seconds that telemetry goes on after the last answer
TELEMETRY_PATIENCE = 60.0  # seconds after that until the rows must have it
PATIENCE = 120.0  # seconds without any answer after which the rest counts as lost
LEAST = 0.6  # of what the echo answers in the same form
FRAMES = tuple(
    json.dumps({"tid": "t", "bid": "b", "timestamp": 1654070968655, "gateway": "", "data": data}).encode()
    for data in (
        {f"place_{number}": 22.5797123 + number for number in range(20)} | {"mode_code": 0},
        {f"power_{number}": 113.9386 + number for number in range(20)} | {"latitude": 22.57, "longitude": 113.93},
    )
)
ANSWERS = ("thing/product/{}/requests_reply", "sys/product/{}/status_reply", "thing/product/{}/services")


class FleetBroker(Mosquitto):
    """A Mosquitto that knows the docks' accounts, as user name, secret, digest and salt, and the bridge's."""

    def __init__(self, accounts: list[list[str]]) -> None:
        super().__init__(username="bridge", password="hush")  # noqa: S106
        self._accounts = accounts

    def command(self) -> list[str]:
        """Add the docks to the password file, and an access list."""
        lists = self.directory / "lists"
        own = [f"pattern readwrite {root}/product/%u/#" for root in ("thing", "sys")]
        lists.write_text("\n".join(["user bridge", "topic readwrite #", *own, ""]))
        self.config = f"acl_file {lists}"
        command = super().command()
        with (self.directory / "passwords").open("a") as passwords:
            passwords.writelines(f"{name}:$7$101${salt}${digest}\n" for name, _, digest, salt in self._accounts)
        return command


@dataclass
class Storm:
    """What all docks of one run share."""

    asking: asyncio.Event = field(default_factory=asyncio.Event)  # set when all are connected
    answered_at: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # seconds from the first question of a dock to its last answer
    frames: int = 0
    broken: list[str] = field(default_factory=list)  # why connections ended


class Dock(asyncio.Protocol):
    """One dock's connection: connects, asks one question after another, then sends telemetry."""

    def __init__(self, storm: Storm, sn: str, secret: str) -> None:
        self._storm, self._sn, self._secret = storm, sn, secret
        carried = AIRCRAFT.format(int(sn.removeprefix("DOCK")))
        asked = (load.config(sn), load.bind_status(sn, carried), load.update_topo(sn, carried))
        self._questions = [load.publish(number, *one) for number, one in enumerate(asked)]
        self._frames = b"".join(load.publish(None, f"thing/product/{sn}/osd", frame) for frame in FRAMES)
        self._began = 0.0
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport
        login = load.text(self._sn.encode()) * 2 + load.text(self._secret.encode())  # client id and user name
        transport.write(load.packet(0x10, b"\x00\x04MQTT\x04\xc2\x00\x00" + login))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for kind, body in load.packets(self._buffer):
            if kind == load.CONNACK:
                if body[1]:
                    self.subscribed.set_exception(ConnectionError(f"{self._sn}: refused, {body[1]}"))
                    return
                filters = [load.text(one.format(self._sn).encode()) + b"\x01" for one in ANSWERS]
                self.transport.write(load.packet(0x82, b"\x00\x01" + b"".join(filters)))
            elif kind == load.SUBACK:
                self.subscribed.set_result(None)
            elif kind == load.PUBLISH:
                self.transport.write(load.acknowledgement(body))
                self._take_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._storm.broken.append(f"{self._sn}: {exc or 'the broker hung up'}")
        if self._timer is not None:
            self._timer.cancel()

    def ask(self) -> None:
        """Send the first question."""
        self._began = time.perf_counter()
        self.transport.write(self._questions.pop(0))

    def _take_answer(self) -> None:
        now = time.perf_counter()
        self._storm.answered_at.append(now)
        if self._questions:
            self.transport.write(self._questions.pop(0))
            return
        self._storm.waits.append(now - self._began)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(OSD_PERIOD * random.random(), self._send_osd)  # noqa: S311

    def _send_osd(self) -> None:
        self._storm.frames += len(FRAMES)
        self.transport.write(self._frames)
        self._timer = asyncio.get_running_loop().call_later(OSD_PERIOD, self._send_osd)


@dataclass(frozen=True)
class Outcome:
    """What came of one storm."""

    connected: float  # seconds until all docks were connected and subscribed
    rate: float  # answers per second, from the first question to the last answer
    waits: list[float]  # seconds
    lost: int  # answers that never came
    cpu: dict[str, float]  # microseconds per answer, by process
    frames: float  # of telemetry, per second after the last answer
    frame_cpu: dict[str, float]  # microseconds per frame
    wal: float  # kilobytes that PostgreSQL logged per frame
    unseen: int  # docks whose rows had no telemetry in time


def run(*, docks: int, rounds: int, journal: int) -> list[Row]:
    """Let the fleet come back to the echo and to the bridge in turn."""
    outcomes: dict[str, list[Outcome]] = {ECHO: [], "bridge": []}
    with _servers(docks, journal) as (database, env, accounts):
        for _ in range(rounds):
            for name, found in outcomes.items():
                print(f"{name} ...", file=sys.stderr, flush=True)
                found.append(come_back(name, database, env, accounts))
    ours, theirs = outcomes["bridge"], outcomes[ECHO]
    ratio = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    return [
        *(row for name, found in outcomes.items() for row in rows(name, found)),
        Row.of("answers: bridge / echo", ratio, "x", bar=LEAST),
    ]


def run_with_emqx(*, docks: int, journal: int) -> list[Row]:
    """Let it come back to the bridge once, while the broker asks the server about each dock."""
    with _servers(docks, journal) as (database, env, accounts):
        return list(rows("bridge", [come_back("bridge", database, env, accounts, emqx=True)]))


@contextmanager
def _servers(docks: int, journal: int) -> Iterator[tuple[PostgreSQL, dict[str, str], list[list[str]]]]:
    """A database with the fleet in it, the environment of the server's processes, and the docks' accounts."""
    allow_connections(docks)
    with PostgreSQL(settings={"autovacuum": "on"}) as database, Redis() as redis:
        env = environment(DATABASE_URL=database.url, REDIS_URL=redis.url, MQTT_AUTH_SECRET=broker_auth.SECRET)
        manage(env, "migrate", "-v0")
        yield database, env, tables.fill(env, docks=docks, journal=journal, accounts=True)


def rows(name: str, found: list[Outcome]) -> Iterator[Row]:
    """What one contender did."""
    cpu = {process: [one.cpu[process] for one in found] for process in found[0].cpu}
    yield Row.of(f"{name}: answers", [one.rate for one in found], "/s", cpu=cpu)
    yield Row.of(f"{name}: answers lost", [one.lost for one in found], "", bar=0, at_most=True)
    yield Row.of(f"{name}: all connected after", [one.connected for one in found], "s")
    yield Row.of(f"{name}: a dock waits for its three answers, p50", [median(one.waits) for one in found], "s")
    yield Row.of(f"{name}: a dock waits for its three answers, most", [max(one.waits) for one in found], "s")
    cpu = {process: [one.frame_cpu[process] for one in found] for process in found[0].frame_cpu}
    yield Row.of(f"{name}: telemetry after that", [one.frames for one in found], "frames/s", cpu=cpu)
    if name != ECHO:
        unseen = [one.unseen for one in found]
        yield Row.of(f"{name}: docks whose telemetry is not in their rows", unseen, "", bar=0, at_most=True)
    yield Row.of(f"{name}: PostgreSQL's log in telemetry", [one.wal for one in found], "kB a frame")


def allow_connections(docks: int) -> None:
    """Let this process and the brokers it starts have so many files. Raises ValueError if the machine does not."""
    needed = docks + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))


def come_back(
    name: str, database: PostgreSQL, env: dict[str, str], accounts: list[list[str]], *, emqx: bool = False
) -> Outcome:
    """One storm on a broker of its own; raises RuntimeError if an answer of the bridge was wrong."""
    with psycopg.connect(database.url, autocommit=True) as rows:
        rows.execute("UPDATE devices_devicestate SET online = false, last_seen = NULL, properties = '{}'")
        rows.execute("VACUUM ANALYZE")
    with FleetBroker(accounts) as broker:
        env = env | {"MQTT_URL": broker.url}
        command = BRIDGE if name == "bridge" else [*CONTENDERS[name].command, broker.url]
        with running(command, env, sign="Serving docks" if name == "bridge" else "ready") as program:
            if emqx:
                with web_process(env) as (_, host):
                    outcome = asyncio.run(_storm(accounts, program, database, broker, recorded=True, host=host))
            else:
                outcome = asyncio.run(_storm(accounts, program, database, broker, recorded=name == "bridge"))
    check_answers(database)
    return outcome


def _without_telemetry(database: PostgreSQL, docks: int) -> int:
    """How many docks are not online, or have rows without what their two frames said."""
    there = "SELECT count(*) FROM devices_devicestate WHERE online AND properties ?& array['place_1', 'power_1']"
    with psycopg.connect(database.url) as rows:
        found = rows.execute(there).fetchone()
    return docks - (int(found[0]) if found else 0)


async def _storm(
    accounts: list[list[str]],
    program: Running,
    database: PostgreSQL,
    broker: Mosquitto,
    *,
    recorded: bool,
    host: str = "",
) -> Outcome:
    """Connect all docks, let all ask at once, and let telemetry go on for a while, until it is `recorded` if it is."""
    servers = {"postgresql": database, "mosquitto": broker}
    storm = Storm()
    loop = asyncio.get_running_loop()
    waiting, docks = iter(accounts), list[Dock]()

    async def connect_some() -> None:
        async with AsyncExitStack() as stack:
            ask = await stack.enter_async_context(broker_auth.questions(host)) if host else None
            for sn, secret, *_ in waiting:
                if ask is not None:
                    await ask(sn, secret)
                _, dock = await loop.create_connection(
                    lambda sn=sn, secret=secret: Dock(storm, sn, secret), HOST, broker.port
                )
                await dock.subscribed
                docks.append(dock)

    began = time.perf_counter()
    await asyncio.gather(*(connect_some() for _ in range(broker_auth.CONNECTIONS if host else CONNECTING)))
    connected = time.perf_counter() - began
    wanted = 3 * len(docks)
    with cpu_per_message(wanted, program, servers) as used:
        generator, began = time.process_time(), time.perf_counter()
        for dock in docks:
            dock.ask()
        seen, quiet_since = 0, began
        while len(storm.answered_at) < wanted and time.perf_counter() - quiet_since < PATIENCE:
            await asyncio.sleep(0.05)
            if len(storm.answered_at) > seen:
                seen, quiet_since = len(storm.answered_at), time.perf_counter()
        used["generator"] = (time.process_time() - generator) / wanted * 1e6
    expected = int(OSD_FOR / OSD_PERIOD * len(FRAMES) * len(docks))
    with cpu_per_message(expected, program, servers) as frame_used:
        frames, since, wal = storm.frames, time.perf_counter(), _wal(database)
        await asyncio.sleep(OSD_FOR)
        frames, passed, wal = storm.frames - frames, time.perf_counter() - since, _wal(database) - wal
    since, missing = time.perf_counter(), len(docks)
    while missing and recorded and time.perf_counter() - since < TELEMETRY_PATIENCE:
        missing = await asyncio.to_thread(_without_telemetry, database, len(docks))
    if storm.broken:
        raise RuntimeError(f"{len(storm.broken)} connections broke, the first: {storm.broken[0]}")
    for dock in docks:
        dock.transport.abort()
    return Outcome(
        connected=connected,
        rate=len(storm.answered_at) / (max(storm.answered_at) - began),
        waits=storm.waits,
        lost=wanted - len(storm.answered_at),
        cpu=used,
        frames=frames / passed,
        frame_cpu=frame_used,
        wal=wal / expected / 1000,
        unseen=missing if recorded else 0,
    )


def _wal(database: PostgreSQL) -> int:
    """Bytes that PostgreSQL has written to its log."""
    with psycopg.connect(database.url) as rows:
        found = rows.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    return int(found[0]) if found else 0
