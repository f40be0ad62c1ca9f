"""Everything at work while one random part after another is killed (docs/reliability.md, "Soak").

SOAK_MINUTES says for how long: 20 in full size. SOAK_SEED repeats an order of faults.
"""

import json
import os
import random
import signal
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import requests
from websockets.exceptions import ConnectionClosed, WebSocketException

from cloudapi.embedded.servers import Mosquitto, PostgreSQL, Redis
from tests.fault import commands, promise
from tests.fault.follower import Follower
from tests.fault.load import QUIET, Load, size
from tests.stack import running_stack, wait_for

pytestmark = pytest.mark.fault

SECONDS = 60.0 * float(os.environ.get("SOAK_MINUTES", size(0.3, 20)))
PAUSE = size((1.0, 3.0), (20.0, 60.0))  # seconds between two faults
GRACE = size(120.0, 60.0)  # seconds after the last fault, until all must be well
DOCKS = size(20, 100)
# Requests per second. A dock that repeats what waited through a fault must stay below its 50 tokens a second.
RATE = size(10.0, 50.0)
COMMANDED_EVERY = 0.5  # seconds
SETTLED = 120.0  # seconds: a process that is younger is not judged by its memory
MOST_GROWTH = 1.25  # of memory, from the second quarter of a process's life to the last
MOST_FILES = 10  # more descriptors than in that quarter
KEY = """
from organizations.models import Organization, OrganizationAPIKey
owner = Organization.objects.get(organization_id="12345678")
print(OrganizationAPIKey.objects.create_key(name="soak", organization=owner, role="manager")[1])
"""


@pytest.fixture
def stack(prepared, tmp_path):
    """A stack whose PostgreSQL, Redis and broker may be killed."""
    with (
        PostgreSQL(durable=True) as server,
        running_stack(
            "postgresql",
            tmp_path,
            server_url=server.url,
            template=prepared("postgresql"),
            broker=Mosquitto(persistence=True),
            redis=Redis(),
            API_REQUESTS_PER_MINUTE="0",
            SERVICE_SILENCE="10",
        ) as running,
    ):
        running.server = server
        yield running


class Soak:
    """The processes, one of which is killed at a time, and what watches them."""

    def __init__(self, stack, seed):
        self.stack = stack
        self.random = random.Random(seed)
        self.key = stack.manage("shell", "-v0", "-c", KEY).strip()
        self.bridges = [stack.start_bridge(), stack.start_bridge(wait=False)]
        self.worker = stack.start_worker()
        self.web = stack.start_web()
        self.kills = dict.fromkeys(("bridge", "worker", "broker", "database", "redis", "web"), 0)
        self.samples = {}  # by kind and process id: (seconds, bytes, descriptors)
        self.began = time.monotonic()

    def run(self, seconds):
        """Kill one part after another; each comes back before the next is killed."""
        kinds = []
        next_fault = time.monotonic()
        while time.monotonic() - self.began < seconds:
            if time.monotonic() >= next_fault:
                kinds = kinds or self.random.sample(list(self.kills), len(self.kills))
                kind = kinds.pop()
                getattr(self, f"kill_{kind}")()
                self.kills[kind] += 1
                next_fault = time.monotonic() + self.random.uniform(*PAUSE)
            self.sample()
            time.sleep(1.0)

    def kill_bridge(self):
        place = self.random.randrange(len(self.bridges))
        self.bridges[place].send_signal(signal.SIGKILL)
        self.bridges[place].wait()
        self.bridges[place] = self.stack.start_bridge(wait=False)

    def kill_worker(self):
        os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()
        self.worker = self.stack.start_worker()

    def kill_broker(self):
        self.stack.broker.kill()
        self.stack.broker.start()

    def kill_database(self):
        self.stack.server.kill()
        self.stack.server.start()

    def kill_redis(self):
        self.stack.redis.kill()
        self.stack.redis.start()

    def kill_web(self):
        self.web.process.send_signal(signal.SIGKILL)
        self.web.process.wait()
        self.web.start(self.web.host.rsplit(":", 1)[1])

    def sample(self):
        """Note memory and descriptors of our processes."""
        ours = {"web": [self.web.process], "bridge": self.bridges, "worker": [self.worker], "beat": self.stack.workers}
        for kind, processes in ours.items():
            for process in processes:
                if kind == "beat" and "beat" not in process.args:
                    continue
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    files = [str(file.readlink()) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
                except OSError:  # it has just died, or closed a file
                    continue
                if kind == "bridge" and not self.is_active(files):
                    continue  # a stand-by has fewer
                memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
                self.samples.setdefault((kind, process.pid), []).append((time.monotonic(), memory * 1024, len(files)))

    def is_active(self, files):
        """Whether one of these is a connection to the broker."""
        port = f":{self.stack.broker.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return bool({f"socket:[{fields[9]}]" for fields in lines if fields[2].endswith(port)} & set(files))

    def growth(self):
        """{kind: (growth of memory as a factor, descriptors more)}: the worst of each kind that lived for long."""
        worst = {}
        for (kind, _), samples in self.samples.items():
            began, ended = samples[0][0], samples[-1][0]
            if ended - began < SETTLED:
                continue
            early = [one for one in samples if 0.25 <= (one[0] - began) / (ended - began) < 0.5]
            late = [one for one in samples if (one[0] - began) / (ended - began) >= 0.75]
            if not early or not late:
                continue
            memory = median(one[1] for one in late) / median(one[1] for one in early)
            files = median(one[2] for one in late) - median(one[2] for one in early)
            known = worst.get(kind, (0.0, -1000.0))
            worst[kind] = max(known[0], memory), max(known[1], files)
        return worst


class Integrator(threading.Thread):
    """A program that asks for commands over REST, again under the same Idempotency-Key until it gets an answer."""

    def __init__(self, soak, sns):
        super().__init__(daemon=True)
        self.soak, self.sns = soak, sns
        self.ids, self.refused = [], []
        self.ending = threading.Event()

    def run(self):
        number = 0
        while not self.ending.wait(COMMANDED_EVERY):
            number += 1
            self.ask(self.sns[number % len(self.sns)], number)

    def ask(self, sn, number):
        """Ask for one command until it is refused or made."""
        data = {"license_id": number, "enable": True}
        body = json.dumps({"device": sn, "method": "unlock_license_switch", "data": data, "queue": True}).encode()
        headers = {
            "Authorization": f"Api-Key {self.soak.key}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        while True:
            try:
                url = f"http://{self.soak.web.host}/api/v1/service-calls/"
                answer = requests.post(url, data=body, headers=headers, timeout=10)
            except requests.RequestException:  # the web process is away
                answer = None
            if answer is not None and answer.status_code == 201:
                self.ids.append(answer.json()["id"])
                return
            # 409 as well: what the killed process began under this key may still be going on.
            if answer is not None and answer.status_code < 500 and answer.status_code != 409:
                self.refused.append((answer.status_code, answer.text[:200]))
                return
            time.sleep(0.5)


class Browser(threading.Thread):
    """A client that follows one dock, and connects again when it is cut off."""

    def __init__(self, soak, sn):
        super().__init__(daemon=True)
        self.soak, self.path = soak, f"/ws/devices/{sn}/"
        self.ending = threading.Event()
        self.calls, self.connections = {}, 0

    def run(self):
        while not self.ending.is_set():
            try:
                with self.soak.web.program(self.path, f"Api-Key {self.soak.key}") as socket:
                    self.connections += 1
                    follower = Follower(socket)
                    while not self.ending.is_set():
                        follower.follow(0.5)
                        self.calls = follower.calls
            except (OSError, ConnectionClosed, WebSocketException):
                time.sleep(0.5)


def equals(browser, stack, sn):
    """Whether a browser knows the dock's latest call, and of each call that it knows what the database knows."""
    columns = "c.id, c.version, c.status FROM devices_servicecall c JOIN devices_device d ON d.id = c.device_id"
    rows = stack.rows(f"SELECT {columns} WHERE d.sn = '{sn}' ORDER BY c.created")
    truth = {str(key): (version, status) for key, version, status in rows}
    known = {key: (call["version"], call["status"]) for key, call in browser.calls.items()}
    return known.items() <= truth.items() and list(truth)[-1] in known


@pytest.mark.turns(4)
def test_all_promises_hold_while_one_part_after_another_is_killed(stack, report, monkeypatch):
    monkeypatch.setattr(commands, "CLOSING", 30.0 + commands.CLOSING)  # seconds: the one who closes may be dead, too
    seed = os.environ.get("SOAK_SEED") or str(random.randrange(10**6))
    soak = Soak(stack, seed)
    options = replace(QUIET, osd_rate=1.0)
    with stack.fleet(count=DOCKS, sn_prefix="LOAD", options=options, stagger=0.0) as (fleet, loop):
        load = Load(fleet, loop, rate=RATE, repeat_after=3.0)
        load.start()
        wait_for(lambda: len(stack.bound()) == 2 * DOCKS)
        sns = [dock.sn for dock in fleet.docks]
        integrator, browser = Integrator(soak, sns), Browser(soak, sns[1])
        integrator.start()
        browser.start()
        soak.run(SECONDS)
        wait_for(lambda: integrator.ids)
        integrator.ending.set()
        integrator.join(GRACE)
        load.finish(at_least=1, grace=GRACE)
        commands.wait_until_closed(stack, GRACE)
        wait_for(lambda: equals(browser, stack, sns[1]), GRACE)
        browser.ending.set()
        browser.join(GRACE)
    growth = soak.growth()
    report(
        f"seed {seed}, {SECONDS:.0f} s, killed {soak.kills}; {load.ledger.summary()}; "
        f"{len(integrator.ids)} asked for over REST, {commands.summary(stack, fleet.ledger)}; "
        f"a browser connected {browser.connections} times; growth of memory and descriptors {growth}"
    )
    assert sum(soak.kills.values()) >= 3
    assert promise.broken(stack, load.ledger, longest_wait=2 * GRACE) == []
    assert list(commands.broken(stack, fleet.ledger, asked=len(integrator.ids))) == []
    assert integrator.refused == []
    for kind, (memory, files) in growth.items():
        assert memory < MOST_GROWTH, kind
        assert files <= MOST_FILES, kind
