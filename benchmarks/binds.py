"""What docks wait for: requests answered by the bridge and by programs that do less, on tables of a real size."""

import sys
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg

from benchmarks.harness import load, tables
from benchmarks.harness.load import BINDS, TOPOLOGIES, LoadClient, Request, bind_requests
from benchmarks.harness.processes import Running, cpu, cpu_by_process, environment, manage, running
from benchmarks.harness.report import Row
from benchmarks.harness.tables import AIRCRAFT, CODE, DOCK, ORGANIZATION_ID
from benchmarks.programs.mqttasgi_consumer import FOLDER
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

SETUP = f"""
from organizations.models import BindingCode, Organization
organization = Organization.objects.create(organization_id="{ORGANIZATION_ID}", name="Benchmark")
BindingCode.objects.issue(organization=organization, code="{CODE}")
"""
IN_FLIGHT = 500
SINGLE = 200  # requests sent one at a time
WARM = 300  # requests of each kind before the clock runs

BRIDGE = ["manage.py", "run_mqtt_bridge"]


class Contender(NamedTuple):
    """A program that answers docks."""

    command: list[str]
    sign: str  # what it prints when it is ready
    extra: dict[str, str] = {}
    share: float = 1.0  # of the requests: slow ones get fewer


OURS, ONE_PROCESS, ECHO, NAIVE, MQTTASGI = "bridge", "bridge, one process", "echo", "one query", "mqttasgi"
CONTENDERS = {
    OURS: Contender(BRIDGE, "Serving docks", {"CONTROL_PROCESS": "true"}),
    ONE_PROCESS: Contender(BRIDGE, "Serving docks", {"CONTROL_PROCESS": "false"}),
    ECHO: Contender(["-m", "benchmarks.programs.responders", "echo"], "ready"),
    NAIVE: Contender(["-m", "benchmarks.programs.responders", "naive"], "ready", share=0.2),
    MQTTASGI: Contender(["-m", "benchmarks.programs.mqttasgi_consumer"], "ready", {"PYTHONPATH": str(FOLDER)}, 0.2),
}
# The least that the bridge must answer, as a multiple of the others' rate.
AGAINST_ECHO = {OURS: 0.9, ONE_PROCESS: 0.65}
FIRST_AGAINST_ECHO = {OURS: 0.5, ONE_PROCESS: 0.4}
AGAINST = {NAIVE: 5.0, MQTTASGI: 8.0}
FIRST_AGAINST = {NAIVE: 3.0}
SINGLE_AT_MOST = {"bind_status": 1.5, "first bind": 3.0}  # times one query per message

COMES, FIRST = "update_topo, aircraft comes", "first bind"


def topologies(count: int) -> list[Request]:
    """What each of these docks reports while its aircraft is switched on."""
    return [load.update_topo(DOCK.format(number), AIRCRAFT.format(number)) for number in range(count)]


WORKS: dict[str, Callable[[int], list[Request]]] = {
    "config": lambda count: [load.config(DOCK.format(number)) for number in range(count)],
    "bind_status": lambda count: [
        load.bind_status(DOCK.format(number), AIRCRAFT.format(number)) for number in range(count)
    ],
    COMES: topologies,
    "update_topo": topologies,  # again: nothing is new
    "repeated bind": lambda count: load.binds(
        [DOCK.format(number) for number in range(count)], [AIRCRAFT.format(number) for number in range(count)],
        organization_id=ORGANIZATION_ID, code=CODE,
    ),
    FIRST: lambda count: bind_requests(
        count, prefix=f"B{uuid.uuid4().hex[:6]}X", organization_id=ORGANIZATION_ID, code=CODE
    ),
}  # fmt: skip


class Measured(NamedTuple):
    """What one contender did with one kind of work."""

    figure: float  # answers per second; for one at a time p50 in milliseconds
    cpu: dict[str, float]  # microseconds per message, by process


Figures = dict[tuple[str, str], list[Measured]]  # by contender and work, one of each round


def run(*, rounds: int, requests: int, journal: int) -> list[Row]:
    """Measure all contenders in turn, `rounds` times, on tables that are filled once."""
    figures: Figures = defaultdict(list)
    with PostgreSQL(settings={"autovacuum": "on"}) as database:
        env = environment(DATABASE_URL=database.url, REDIS_URL="")
        manage(env, "migrate", "-v0")
        tables.fill(env, docks=requests, journal=journal)
        for _ in range(rounds):
            for name in CONTENDERS:
                print(f"{name} ...", file=sys.stderr, flush=True)
                for work, measured in measure(name, database, env, requests).items():
                    figures[name, work].append(measured)
    return [*rate_rows(figures), *single_rows(figures), ceiling_row(figures)]


def measure(name: str, database: PostgreSQL, env: dict[str, str], requests: int) -> dict[str, Measured]:
    """One contender on a fresh broker: each kind of work at full speed, then one at a time."""
    one = CONTENDERS[name]
    reset(database)
    with Mosquitto() as broker:
        # The bridge has its broker from the environment, the others from the command line.
        env = env | one.extra | {"MQTT_URL": broker.url}
        command = one.command if one.command is BRIDGE else [*one.command, broker.url]
        with running(command, env, sign=one.sign) as program:
            client = LoadClient(HOST, broker.port, replies=(BINDS, TOPOLOGIES))
            servers = {"postgresql": database, "mosquitto": broker}
            results = {}
            for work, make in WORKS.items():
                client.run(make(int(WARM * one.share)), in_flight=IN_FLIGHT)
                work_requests = make(int(requests * one.share))
                if work == COMES:
                    switch_off(database)
                with cpu_per_message(len(work_requests), program, servers) as used:
                    result = client.run(work_requests, in_flight=IN_FLIGHT)
                used["generator"] = result.cpu / len(work_requests) * 1e6
                results[work] = Measured(result.rate, used)
            for work in SINGLE_AT_MOST:
                client.run(WORKS[work](20), in_flight=1)
                with cpu_per_message(SINGLE, program, servers) as used:
                    result = client.run(WORKS[work](SINGLE), in_flight=1)
                results[f"{work}, alone"] = Measured(result.p50_ms, used)
            client.close()
    check_answers(database)
    return results


def reset(database: PostgreSQL) -> None:
    """Let the fleet be away, and clean up after the round before."""
    with psycopg.connect(database.url, autocommit=True) as rows:
        rows.execute("UPDATE devices_devicestate SET online = false WHERE online")
        rows.execute("VACUUM ANALYZE")


def switch_off(database: PostgreSQL) -> None:
    """Let all aircraft be switched off, each in its dock."""
    with psycopg.connect(database.url, autocommit=True) as rows:
        rows.execute("UPDATE devices_pairing SET linked_since = NULL WHERE until IS NULL")
        rows.execute(
            "UPDATE devices_devicestate SET online = false"
            " WHERE device_id IN (SELECT aircraft_id FROM devices_pairing WHERE until IS NULL)"
        )
        rows.execute("VACUUM devices_pairing, devices_devicestate")


def check_answers(database: PostgreSQL) -> None:
    """Raise RuntimeError if the bridge refused a request, by its journal: an error is answered quickly."""
    refused = "SELECT method, outcome, reason FROM mqtt_bridge_exchange WHERE outcome <> 'answered' OR reason <> ''"
    with psycopg.connect(database.url) as rows:
        if found := rows.execute(f"{refused} LIMIT 1").fetchone():
            raise RuntimeError(f"not all requests were answered as they should be: {found}")


@contextmanager
def cpu_per_message(
    count: int, program: Running, servers: dict[str, Mosquitto | PostgreSQL]
) -> Iterator[dict[str, float]]:
    """Fill a dictionary with the microseconds of a processor that each process used per message in the block."""

    def now() -> dict[str, float]:
        used = cpu_by_process(program.process.pid, "server")
        return used | {name: cpu(server.process.pid) for name, server in servers.items() if server.process}

    before, used = now(), dict[str, float]()
    yield used
    used |= {name: (seconds - before.get(name, 0.0)) / count * 1e6 for name, seconds in now().items()}


def bind_one_at_a_time(client: LoadClient, count: int) -> load.Result:
    """Bind so many docks, one after another."""
    return client.run(WORKS[FIRST](count), in_flight=1)


# --- rows ------------------------------------------------------------------------------------------


def ratios(figures: Figures, name: str, other: str, work: str) -> list[float]:
    """How many times the figure of another contender, in each round."""
    pairs = zip(figures[name, work], figures[other, work], strict=True)
    return [mine.figure / theirs.figure for mine, theirs in pairs]


def row(figures: Figures, name: str, work: str, unit: str) -> Row:
    """The figure of one contender, with its CPU per message; no bar."""
    found = figures[name, work]
    processes = {process: [one.cpu.get(process, 0.0) for one in found] for process in found[0].cpu}
    return Row.of(f"{work}: {name}", [one.figure for one in found], unit, cpu=processes)


def rate_rows(figures: Figures) -> Iterator[Row]:
    """Answers per second of all, then the bridge's beside the others'."""
    for work in WORKS:
        for name in CONTENDERS:
            yield row(figures, name, work, "/s")
        for name in (OURS, ONE_PROCESS):
            bar = (FIRST_AGAINST_ECHO if work == FIRST else AGAINST_ECHO)[name]
            yield Row.of(f"{work}: {name} / {ECHO}", ratios(figures, name, ECHO, work), "x", bar=bar)
        for other in (NAIVE, MQTTASGI):
            bars = FIRST_AGAINST if work == FIRST else AGAINST
            yield Row.of(f"{work}: {OURS} / {other}", ratios(figures, OURS, other, work), "x", bar=bars.get(other))


def single_rows(figures: Figures) -> Iterator[Row]:
    """How long one waits who is alone."""
    for work, most in SINGLE_AT_MOST.items():
        alone = f"{work}, alone"
        for name in CONTENDERS:
            yield row(figures, name, alone, "ms p50")
        for name in (OURS, ONE_PROCESS):
            values = ratios(figures, name, NAIVE, alone)
            yield Row.of(f"{alone}: {name} / {NAIVE}", values, "x", bar=most, at_most=True)


def ceiling_row(figures: Figures) -> Row:
    """How many times faster than the echo the generator could go with a processor of its own."""
    found = [one for work in WORKS for one in figures[ECHO, work]]
    return Row.of("load generator's ceiling / echo", [1e6 / one.cpu["generator"] / one.figure for one in found], "x")
