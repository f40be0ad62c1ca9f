"""`make bench`: what the bridge costs, beside responders that do less, in one run on one machine.

Each round measures every candidate once, on servers of its own; what is printed are medians over the rounds and
their ratios, for absolute figures mean little on a machine with other things to do.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.load import LoadClient, Result, bind_requests
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

ROOT = Path(__file__).parent.parent
ORGANIZATION_ID, CODE = "12345678", "BENC-HMAR-K234"
SETUP = f"""
from organizations.models import BindingCode, Organization
organization = Organization.objects.create(organization_id="{ORGANIZATION_ID}", name="Benchmark")
BindingCode.objects.issue(organization=organization, code="{CODE}")
"""
IN_FLIGHT = 500
SINGLE = 200  # requests sent one at a time

BRIDGE = ["manage.py", "run_mqtt_bridge"]
# name: command, environment, what it prints when it is ready
CANDIDATES: dict[str, tuple[list[str], dict[str, str], str]] = {
    "echo responder": (["-m", "benchmarks.responders", "echo"], {}, "ready"),
    "bridge": (BRIDGE, {}, "Serving docks"),
    "bridge, journal off": (BRIDGE, {"JOURNAL_ENABLED": "false"}, "Serving docks"),
    "one ORM query per message": (["-m", "benchmarks.responders", "naive"], {}, "ready"),
}


@contextmanager
def serving(name: str, env: dict[str, str]) -> Iterator[None]:
    """Run a candidate until the block ends."""
    command, extra, sign = CANDIDATES[name]
    arguments = command if command is BRIDGE else [*command, env["MQTT_URL"]]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=env | extra, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(lambda: _contains(output, sign))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _contains(output: object, sign: str) -> bool:
    output.seek(0)
    return sign in output.read()


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("a candidate did not become ready")
        time.sleep(0.1)


def measure(name: str, requests: int) -> dict[str, Result]:
    """One candidate on a fresh broker and database: first binds, the same again, and one at a time."""
    with PostgreSQL() as database, Mosquitto() as broker:
        env = os.environ | {
            "DATABASE_URL": database.url,
            "MQTT_URL": broker.url,
            "DJANGO_SETTINGS_MODULE": "cloudapi.settings",
        }
        for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", SETUP]):
            subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, check=True)
        with serving(name, env):
            client = LoadClient(HOST, broker.port)
            work = _requests(requests)
            client.run(_requests(300), in_flight=100)  # warm
            results = {
                "first bind": client.run(work, in_flight=IN_FLIGHT),
                "repeated bind": client.run(work, in_flight=IN_FLIGHT),
                "one at a time": client.run(_requests(SINGLE), in_flight=1),
            }
            client.close()
            return results


def _requests(count: int) -> list[tuple[str, bytes]]:
    return bind_requests(count, prefix=f"B{uuid.uuid4().hex[:6]}X", organization_id=ORGANIZATION_ID, code=CODE)


def main() -> None:
    """Measure all candidates in turn and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000)
    options = parser.parse_args()
    figures: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for _ in range(options.rounds):
        for name in CANDIDATES:
            for work, result in measure(name, options.requests).items():
                figures[name, work].append(result)
    print_table(figures, options)


def print_table(figures: dict[tuple[str, str], list[Result]], options: argparse.Namespace) -> None:
    """Medians, and ratios to the echo responder of the same run."""
    print(f"Bind requests at QoS 1, PostgreSQL; medians of {options.rounds} rounds of {options.requests} requests.\n")
    for work, unit in (("first bind", "rate"), ("repeated bind", "rate"), ("one at a time", "p50_ms")):
        title = "answers per second" if unit == "rate" else "median round trip, ms"
        print(f"{work}{f', {IN_FLIGHT} in flight' if unit == 'rate' else ''}: {title}")
        value = {name: median(getattr(result, unit) for result in figures[name, work]) for name in CANDIDATES}
        for name in CANDIDATES:
            ratio = value[name] / value["echo responder"]
            print(f"  {name:28}{value[name]:10.2f}   {ratio:6.2f} x echo")
        if unit == "rate":
            against = value["bridge"] / value["one ORM query per message"]
            print(f"  the bridge answers {against:.2f} x what one ORM query per message does")
        print()


if __name__ == "__main__":
    main()
