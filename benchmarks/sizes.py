"""What one message costs with 100, 1,000 and 10,000 docks in the tables, and the memory of bridge and worker there."""

import subprocess
import sys

import psycopg

from benchmarks.binds import BRIDGE, FIRST, IN_FLIGHT, WARM, WORKS, cpu_per_message
from benchmarks.harness import load, tables
from benchmarks.harness.load import BINDS, TOPOLOGIES, LoadClient
from benchmarks.harness.processes import ROOT, environment, manage, running, wait
from benchmarks.harness.report import Row
from benchmarks.harness.tables import AIRCRAFT, DOCK
from benchmarks.storm import FRAMES
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL, Redis

SIZES = (100, 1_000, 10_000)  # docks, each with its aircraft and ten journal rows
MOST_MEMORY = 150.0  # megabytes
CLOSE_TIMEOUT = 300.0  # seconds for a command to every dock
COMMAND_ALL = """
from devices.calls import batches
from devices.calls.methods import SWITCH
from devices.models import Device, DeviceState
from organizations.audit import Actor
from organizations.models import AuditEvent
DeviceState.objects.update(online=True)
docks = list(Device.objects.filter(model_key__startswith="3-").select_related("organization", "state"))
data = {"license_id": 240330, "enable": True}
batches.start(devices=docks, method=SWITCH, data=data, actor=Actor(AuditEvent.Through.COMMAND))
"""
OPEN_CALLS = "SELECT count(*) FROM devices_servicecall WHERE closed IS NULL"


def run(*, requests: int, largest: int) -> list[Row]:
    """Measure each size once, up to the largest."""
    rows = []
    for docks in [size for size in SIZES if size < largest] + [largest]:
        print(f"{docks} docks ...", file=sys.stderr, flush=True)
        rows += measure(docks, requests)
    return rows


def measure(docks: int, requests: int) -> list[Row]:
    """A bridge and a worker with so many docks: each kind of request, then a frame of each, and a command to each."""
    with PostgreSQL(settings={"autovacuum": "on"}) as database, Redis() as redis, Mosquitto() as broker:
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL=redis.url)
        manage(env, "migrate", "-v0")
        tables.fill(env, docks=docks, journal=10 * docks)
        servers = {"postgresql": database, "mosquitto": broker}
        worker_command = ["-m", "celery", "-A", "cloudapi", "worker", "--concurrency", "1", "--loglevel", "INFO"]
        with (
            running(BRIDGE, env, sign="Serving docks") as bridge,
            running(worker_command, env, sign="ready.") as worker,
            running(["-m", "benchmarks.programs.responders", "docks", broker.url], env, sign="ready"),
        ):
            client = LoadClient(HOST, broker.port, replies=(BINDS, TOPOLOGIES))
            rates, costs = [], []
            for work, make in WORKS.items():
                # Of all docks, a part at a time: a small fleet asks again and again.
                known = make(min(docks, requests))
                wanted = make(requests) if work == FIRST else (known * (requests // len(known) + 1))[:requests]
                client.run(make(min(docks, WARM)), in_flight=IN_FLIGHT)
                with cpu_per_message(requests, bridge, servers) as used:
                    rates.append((work, client.run(wanted, in_flight=IN_FLIGHT).rate))
                costs.append(used)
            every_dock = [load.bind_status(DOCK.format(one), AIRCRAFT.format(one)) for one in range(docks)]
            client.run(every_dock, in_flight=IN_FLIGHT)
            for one in range(docks):
                client.send(f"thing/product/{DOCK.format(one)}/osd", FRAMES[0])
            client.close()
            _command_all(env, database)
            memory = {"bridge": bridge.memory(), "worker": worker.memory()}
    rows = [
        Row.of(f"{docks:,} docks: {work}", [rate], "/s", cpu={name: [used] for name, used in cost.items()})
        for (work, rate), cost in zip(rates, costs, strict=True)
    ]
    is_large = docks >= SIZES[-1]
    for name, found in memory.items():
        note = ", ".join(f"{one:.0f} MB" for one in found.values()) if len(found) > 1 else ""
        bar = MOST_MEMORY if is_large else None
        total = sum(found.values())
        rows.append(
            Row(name=f"{docks:,} docks: memory of the {name}", figure=total, unit="MB", bar=bar, at_most=True,
                note=note and f"its processes: {note}")
        )  # fmt: skip
    return rows


def _command_all(env: dict[str, str], database: PostgreSQL) -> None:
    """Command every dock in one batch, and wait for all answers."""
    subprocess.run([sys.executable, "manage.py", "shell", "-v0", "-c", COMMAND_ALL], cwd=ROOT, env=env, check=True)
    with psycopg.connect(database.url, autocommit=True) as rows:

        def is_done() -> bool:
            found = rows.execute(OPEN_CALLS).fetchone()
            return found == (0,)

        wait(is_done, timeout=CLOSE_TIMEOUT, every=0.5)
