"""Telemetry of a fleet: what one process takes beside binds, and what two take that share it.

Each device sends two frames every two seconds, of 1.5 kB each: together they are the 3 kB of a row. The frames are made
before the clock runs, and come from a process of its own, whose ceiling is measured first: the rate at which the broker
takes them if nobody listens.

Of all frames sent, those count as taken that the bridge has read and not dropped. It reads a fleet part by part, and is
given LAST_WRITES after the last frame for the last parts.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

from benchmarks.harness import tables
from benchmarks.harness.load import BINDS, LoadClient, bind_requests, packet, publish, text
from benchmarks.harness.processes import ROOT, Running, environment, manage, running, wait
from benchmarks.harness.report import Row
from cloudapi.embedded.lifecycle import free_port
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

FRAME = 1500  # bytes
INTERVAL = 2.0  # seconds between two frames of a kind
KINDS = "ab"
SLICES = 100  # in which an interval's frames are sent
LAST_WRITES = 10.0  # seconds
BRIDGE = (["manage.py", "run_mqtt_bridge"], "BRIDGE_METRICS_ADDRESS", "Serving docks")
SHARER = (["manage.py", "run_telemetry"], "TELEMETRY_METRICS_ADDRESS", "Taking telemetry")
Kind = tuple[list[str], str, str]


class Figures(NamedTuple):
    """Of one process, since it started."""

    frames: float
    dropped: float
    flushes: float  # each is one write statement
    cpu: float  # seconds


class Taker:
    """A process that takes telemetry."""

    def __init__(self, kind: Kind, env: dict[str, str], stack: ExitStack) -> None:
        command, setting, sign = kind
        self._url = f"http://{HOST}:{(port := free_port())}/metrics"
        self._process: Running = stack.enter_context(running(command, env | {setting: f"{HOST}:{port}"}, sign=sign))

    def figures(self) -> Figures:
        shown = urllib.request.urlopen(self._url, timeout=10).read().decode()  # noqa: S310 - loopback
        names = ("bridge_telemetry_frames_total", "bridge_telemetry_write_seconds_count")
        frames, flushes = (float(re.findall(rf"^{name} (\S+)$", shown, re.MULTILINE)[0]) for name in names)
        lost = re.findall(
            r'^bridge_dropped_total\{reason="(?:telemetry_\w+|rate_limited)"\} (\S+)$', shown, re.MULTILINE
        )
        return Figures(frames, sum(map(float, lost)), flushes, self._process.cpu())


class Load:
    """The process that sends; its `sent` frames are known when it has ended."""

    def __init__(self, broker: Mosquitto, devices: int, seconds: float, *, rate: float = 0) -> None:
        command = ["-m", "benchmarks.telemetry", str(broker.port), str(devices), str(seconds), str(rate)]
        self._process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._line("ready")

    def _line(self, word: str) -> str:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line.startswith(word):
            raise RuntimeError(f"the load generator ended: {line}")
        return line.removeprefix(word)

    def wait(self) -> tuple[int, float]:
        """How many frames it sent, in how many seconds."""
        sent, seconds = self._line("sent").split()
        self._process.wait()
        return int(sent), float(seconds)


def run(*, devices: int, seconds: float, journal: int) -> list[Row]:
    """The bridge alone at the rate of the fleet, with binds; then one and two sharers at the rate they reach."""
    rate = devices * len(KINDS) / INTERVAL
    with PostgreSQL(settings={"autovacuum": "on"}) as database, Mosquitto() as broker:
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL="")
        manage(env, "migrate", "-v0")
        tables.fill(env, docks=devices // 2, journal=journal)
        sent, took = Load(broker, devices, min(seconds, 10)).wait()
        ceiling = f"load generator alone {sent / took:,.0f}/s, the fleet {rate:,.0f}/s"
        rows = alone(env, broker, devices, seconds, rate, ceiling)
        [one], [first, second] = (shared(env, broker, devices, seconds, count) for count in (1, 2))
    both = first.frames + second.frames
    cost = [part.cpu / part.frames * 1e6 for part in (one, first, second)]
    busiest = max(part.cpu / both * 1e6 for part in (first, second))  # of all frames
    share = f"shares of two {first.frames / both:.2f} and {second.frames / both:.2f}"
    share += f"; broker, database and load generator use the same {os.cpu_count()} cores"
    cpu = {"alone": cost[0], "first of two": cost[1], "second": cost[2]}
    return [
        *rows,
        Row(name="one run_telemetry, as fast as it can", figure=one.frames / seconds, unit="/s", note=ceiling),
        Row(name="two beside it", figure=both / one.frames, unit="x one", bar=1.7, cpu=cpu, note=share),
        # On cores that broker, database and load generator need too, the rate cannot double: the work can.
        Row(name="two, by CPU: of one's for the same frames", figure=cost[0] / busiest, unit="x one", bar=1.7),
    ]  # fmt: skip


def alone(env: dict[str, str], broker: Mosquitto, devices: int, seconds: float, rate: float, ceiling: str) -> list[Row]:
    """The bridge takes all telemetry, while docks bind one after another."""
    with ExitStack() as stack:
        bridge = Taker(BRIDGE, env, stack)
        client, before, waits = LoadClient(HOST, broker.port, replies=BINDS), bridge.figures(), []
        load, began = Load(broker, devices, seconds, rate=rate), time.monotonic()
        while time.monotonic() - began < seconds:
            work = bind_requests(20, prefix=f"T{len(waits)}X", organization_id=tables.ORGANIZATION_ID, code=tables.CODE)
            waits.append(client.run(work, in_flight=1).p95_ms)
            time.sleep(0.2)
        sent, took = load.wait()
        client.close()
        with suppress(TimeoutError):
            wait(lambda: bridge.figures().frames - before.frames >= sent, timeout=LAST_WRITES)
        after, lasted = bridge.figures(), time.monotonic() - began
    frames, flushes = after.frames - before.frames, after.flushes - before.flushes
    lost = after.dropped - before.dropped
    cpu = {"bridge": (after.cpu - before.cpu) / max(frames, 1) * 1e6}
    note = f"{sent / took:,.0f}/s sent, {lost:,.0f} dropped by the bridge; {ceiling}"
    waits.sort()
    return [
        Row(name="the bridge alone: taken of all sent", figure=frames / sent, unit="", bar=0.999, cpu=cpu, note=note),
        Row(name="write statements", figure=flushes / lasted, unit="/s", bar=1.05, at_most=True),
        Row(name="a bind meanwhile, p95", figure=waits[len(waits) // 2], unit="ms", bar=50, at_most=True),
    ]  # fmt: skip


def shared(env: dict[str, str], broker: Mosquitto, devices: int, seconds: float, count: int) -> list[Figures]:
    """What so many take of all that the broker is given."""
    with ExitStack() as stack:
        takers = [Taker(SHARER, env, stack) for _ in range(count)]
        load = Load(broker, devices, seconds)
        before = [taker.figures() for taker in takers]
        load.wait()
        after = [taker.figures() for taker in takers]
    return [
        Figures(*(end - start for end, start in zip(*both, strict=True))) for both in zip(after, before, strict=True)
    ]


def frames(devices: int) -> list[bytes]:
    """The packets of one interval."""
    rnd = random.Random(1)  # noqa: S311
    kinds = []
    for kind in KINDS:
        data: dict[str, object] = {f"{kind}_{number}": round(rnd.random() * 100, 2) for number in range(40)}
        while len(json.dumps(data)) < FRAME - 100:
            data[f"{kind}_list_{len(data)}"] = {"index": len(data), "firmware_version": "03.00.05.05", "voltage": 4123}
        kinds.append(data | ({"mode_code": 0, "latitude": 22.5, "longitude": 113.9} if kind == "a" else {}))
    half = devices // 2
    sns = [*map(tables.DOCK.format, range(half)), *map(tables.AIRCRAFT.format, range(devices - half))]
    payloads = [
        json.dumps({"tid": "1", "bid": "1", "timestamp": 1654070968655, "data": data}).encode() for data in kinds
    ]
    return [publish(None, f"thing/product/{sn}/osd", payload) for payload in payloads for sn in sns]


def send(port: int, packets: Sequence[bytes], seconds: float, rate: float) -> tuple[int, float]:
    """Send them again and again, so many a second, or as fast as the broker takes them if that is 0."""
    with socket.create_connection((HOST, port), timeout=60) as line:
        line.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + text(b"benchmark-telemetry")))
        line.recv(4)
        size = max(1, len(packets) // SLICES)
        slices = [b"".join(packets[first : first + size]) for first in range(0, len(packets), size)]
        print("ready", flush=True)
        sent, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            line.sendall(slices[sent // size % len(slices)])
            sent += size
            if rate and (ahead := sent / rate - (time.monotonic() - began)) > 0:
                time.sleep(ahead)
        return sent, time.monotonic() - began


if __name__ == "__main__":
    broker_port, count, duration, per_second = sys.argv[1:]
    print("sent", *send(int(broker_port), frames(int(count)), float(duration), float(per_second)))
