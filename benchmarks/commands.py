"""What a command costs from the form to the browser's last frame, and how many there may be in a second."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any

import psycopg

from benchmarks.harness.browser import DOORS, Browser, Told
from benchmarks.harness.load import SERVICES, LoadClient, service_requests
from benchmarks.harness.processes import ROOT, cpu, environment, manage, running, wait, web_process
from benchmarks.harness.report import Row
from benchmarks.programs.issuer import FIRST_LICENSE
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL, Redis
from mqtt_bridge.line.client import PUBLISH_WINDOW, build_client, connect_properties, parse_url, publish_properties

WARM = 20  # commands before the clock runs
PROCESSES = (1, 2)  # worker processes
BATCH, SINGLE = QUEUES = ("a batch", "single calls")
SERVERS = ("web", "worker", "bridge", "postgresql", "mosquitto", "redis")
BENCHMARK = ("docks", "issuer", "watcher")  # what the benchmark itself uses: it shares the machine
CLOSE_TIMEOUT = 120.0  # seconds

ENDS = """
SELECT count(*) FILTER (WHERE closed IS NULL), extract(epoch FROM max(sent)), extract(epoch FROM max(closed)),
       count(*) FILTER (WHERE status <> 'succeeded')
FROM devices_servicecall WHERE subject = %s
"""
OPEN = "SELECT count(*) FROM devices_servicecall WHERE closed IS NULL"
TIMES = """
SELECT extract(epoch FROM created), extract(epoch FROM sent), extract(epoch FROM closed)
FROM devices_servicecall WHERE id = %s
"""

# What is shown: the name of a figure, its words, and its bar. Rates count from the order to the last command.
LATENCY = (
    ("p50", "POST to the browser's last frame, p50", 25.0),
    ("p95", "POST to the browser's last frame, p95", None),
    ("created", "POST until the call is made", None),
    ("sent", "until a worker claims it", None),
    ("closed", "until the bridge reads the dock's answer", None),
    ("shown", "until the browser has the last frame", None),
    ("answered", "POST to its own answer, beside that", None),
)
ALONE = (
    ("task", "a bare Celery task and back", "ms"),
    ("dock", "a bare MQTT message to a dock and back", "ms"),
    ("bare", "a bare loop, published and answered", "/s"),
)
STEPS = (("issued", 500.0), ("published", 500.0), ("closed", 1500.0))  # in a batch

Figures = dict[str, list[float]]
Clocks = Mapping[str, Callable[[], float]]  # seconds of a processor that a program has used, by its name


def run(*, rounds: int, docks: int, singles: int) -> list[Row]:
    """Measure `rounds` times."""
    figures: Figures = defaultdict(list)
    for _ in range(rounds):
        for name, value in measure(docks, singles).items():
            figures[name].append(value)

    def used(of: str) -> Figures:
        names = (*SERVERS, *BENCHMARK)
        return {name: figures[key] for name in names if (key := f"{of}, cpu of {name}") in figures}

    rows = []
    for door in DOORS:
        for name, words, bar in LATENCY:
            one = figures[f"{door}, {name}"]
            rows.append(
                Row.of(f"{door}: {words}", one, "ms", bar=bar, at_most=True, cpu=used(door) if name == "p50" else None)
            )
    rows += [Row.of(words, figures[name], unit) for name, words, unit in ALONE]
    for queue in QUEUES:
        for processes in PROCESSES:
            kind = f"{queue}, {processes} worker{'s' if processes > 1 else ''}"
            for step, bar in STEPS:
                bar_of_batch = bar if queue == BATCH else None
                times = used(kind) if step == "closed" else None
                rows.append(Row.of(f"{kind}, {step}", figures[f"{kind}, {step}"], "/s", bar=bar_of_batch, cpu=times))
    return rows


def measure(docks: int, singles: int) -> dict[str, float]:
    """Everything once, on servers of its own; first the parts alone."""
    with PostgreSQL() as database, Redis() as redis, Mosquitto() as broker:
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL=redis.url)
        manage(env, "migrate", "-v0")
        with running(["-m", "benchmarks.programs.responders", "docks", broker.url], env, sign="ready") as answering:
            figures = _parts(env, broker, docks)
            with (
                Issuer(env, docks) as issuer,
                running(["manage.py", "run_mqtt_bridge"], env, sign="Serving docks") as bridge,
                running(_celery("cloudapi", "beat", "--schedule", f"{database.directory}/beat"), env, sign="beat"),
                psycopg.connect(database.url, autocommit=True) as rows,
            ):
                clocks: dict[str, Callable[[], float]] = {
                    "bridge": bridge.cpu,
                    "docks": answering.cpu,
                    "issuer": issuer.cpu,
                    "watcher": time.process_time,
                }
                for name, server in (("postgresql", database), ("mosquitto", broker), ("redis", redis)):
                    assert server.process is not None  # noqa: S101
                    clocks[name] = partial(cpu, server.process.pid)
                for processes in PROCESSES:
                    with running(_worker("cloudapi", processes), env, sign="ready.") as worker:
                        clocks["worker"] = worker.cpu
                        if processes == 1:
                            figures |= _latency(env, issuer, rows, singles, clocks)
                        for queue in QUEUES:
                            kind = f"{queue}, {processes} worker{'s' if processes > 1 else ''}"
                            found = _throughput(issuer, rows, clocks, together=queue == BATCH)
                            figures |= {f"{kind}, {name}": value for name, value in found.items()}
        return figures


def _celery(app: str, *arguments: str) -> list[str]:
    return ["-m", "celery", "-A", app, *arguments]


def _worker(app: str, processes: int) -> list[str]:
    return _celery(app, "worker", "--concurrency", str(processes), "--loglevel", "INFO")


# --- parts -----------------------------------------------------------------------------------------


def _parts(env: dict[str, str], broker: Mosquitto, docks: int) -> dict[str, float]:
    """What a round trip over each server costs without us: ms, one at a time; messages a second, many."""
    client = LoadClient(HOST, broker.port, replies=SERVICES)
    client.run(service_requests(WARM, prefix="WARMX"), in_flight=1)
    dock = client.run(service_requests(100, prefix="BAREX"), in_flight=1).p50_ms
    client.close()
    with running(_worker("benchmarks.programs.bare_celery", 1), env, sign="ready."):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.programs.bare_celery"],
            cwd=ROOT, env=env, check=True, capture_output=True, text=True,
        )  # fmt: skip
    task = median(float(seconds) for seconds in done.stdout.split()) * 1000
    return {"dock": dock, "task": task, "bare": _bare_rate(broker.url, docks)}


def _bare_rate(url: str, count: int) -> float:
    """Commands published and answered in a second by a bare loop: QoS 1, as many on the way as ours may have."""
    address = parse_url(url)
    client = build_client(address, client_id="benchmark-loop")
    answered, subscribed = threading.Semaphore(0), threading.Event()
    client.on_message = lambda *_: answered.release()
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_connect = lambda *_: client.subscribe(SERVICES, qos=1)
    client.connect(address.host, address.port, properties=connect_properties(session_expiry=0, receive_maximum=512))
    client.loop_start()
    subscribed.wait(10)
    requests = service_requests(count, prefix="BAREX")
    window = threading.Semaphore(PUBLISH_WINDOW)
    client.on_publish = lambda *_: window.release()
    began = time.perf_counter()
    for topic, payload in requests:
        window.acquire()
        client.publish(topic, payload, qos=1, properties=publish_properties(expiry=15))
    for _ in requests:
        answered.acquire()
    elapsed = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return count / elapsed


# --- one at a time ---------------------------------------------------------------------------------


def _latency(
    env: dict[str, str], issuer: "Issuer", rows: psycopg.Connection, count: int, clocks: Clocks
) -> dict[str, float]:
    """By door: p50 in ms of each step of a command, p95 of the whole, and the processor time of each program."""
    figures: dict[str, float] = {}
    licenses = itertools.count(1)
    with web_process(env) as (web, host), Browser(host, issuer.session, issuer.docks[0]) as browser:
        for door in DOORS:
            for _ in range(WARM):
                browser.command(next(licenses), door)
            with _processor_time({"web": web.cpu, **clocks}, count) as used:
                told = [browser.command(next(licenses), door) for _ in range(count)]
            steps: Figures = defaultdict(list)
            for one in told:
                for name, seconds in _steps(one, rows).items():
                    steps[name].append(seconds * 1000)
            found = {name: median(values) for name, values in steps.items()} | used
            found |= {"p50": found["whole"], "p95": quantiles(steps["whole"], n=20)[-1]}
            figures |= {f"{door}, {name}": value for name, value in found.items()}
    return figures


@contextmanager
def _processor_time(clocks: Clocks, count: int) -> Iterator[dict[str, float]]:
    """What each program uses for one of so many commands, in microseconds, while this lasts."""
    before, used = {name: clock() for name, clock in clocks.items()}, {}
    yield used
    used |= {f"cpu of {name}": (clock() - before[name]) / count * 1e6 for name, clock in clocks.items()}


def _steps(told: Told, rows: psycopg.Connection) -> dict[str, float]:
    created, sent, closed = (float(moment) for moment in rows.execute(TIMES, [told.call]).fetchone())
    return {
        "whole": told.ended - told.posted,
        "answered": told.answered - told.posted,
        "created": created - told.posted,
        "sent": sent - created,
        "closed": closed - sent,
        "shown": told.ended - closed,
    }


# --- many ------------------------------------------------------------------------------------------


class Issuer:
    """The process that commands docks (benchmarks/programs/issuer.py)."""

    def __init__(self, env: dict[str, str], docks: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.programs.issuer", str(docks)],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._license_id = FIRST_LICENSE
        said = self._read()
        self.session: str = said["session"]
        self.docks: list[tuple[int, str]] = [(key, sn) for key, sn in said["docks"]]

    def __enter__(self) -> "Issuer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def cpu(self) -> float:
        """Seconds of a processor that it has used."""
        return cpu(self._process.pid)

    def issue(self, *, together: bool) -> tuple[str, float, float]:
        """Command all docks; returns the subject of the calls, and when that began and was done."""
        self._license_id += 1
        self._process.stdin.write(json.dumps({"license_id": self._license_id, "together": together}) + "\n")
        self._process.stdin.flush()
        said = self._read()
        return f"unlock_license_switch:{self._license_id}", said["began"], said["issued"]

    def _read(self) -> dict[str, Any]:
        return json.loads(self._process.stdout.readline())


def _throughput(issuer: Issuer, rows: psycopg.Connection, clocks: Clocks, *, together: bool) -> dict[str, float]:
    """Calls issued, claimed and closed in a second, each from the order on; and the processor time for each."""
    count = len(issuer.docks)
    with _processor_time(clocks, count) as used:
        subject, began, issued = issuer.issue(together=together)
        wait(lambda: rows.execute(ENDS, [subject]).fetchone()[0] == 0, timeout=CLOSE_TIMEOUT)
        _, sent, closed, failed = rows.execute(ENDS, [subject]).fetchone()
        wait(lambda: not rows.execute(OPEN).fetchone()[0], timeout=CLOSE_TIMEOUT)  # the lists that follow
    if failed:
        raise RuntimeError(f"{failed} of {count} commands did not succeed")
    ends = {"issued": issued, "published": float(sent), "closed": float(closed)}
    return {step: count / (end - began) for step, end in ends.items()} | used
