"""What the bridge costs: bind requests, beside responders that do less."""

import uuid
from collections import defaultdict
from statistics import median

from benchmarks.load import BINDS, LoadClient, Result, bind_requests
from benchmarks.processes import environment, manage, running
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

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
Figures = dict[tuple[str, str], list[Result]]


def run(*, rounds: int, requests: int) -> None:
    """Measure all candidates in turn, `rounds` times, and print the table."""
    figures: Figures = defaultdict(list)
    for _ in range(rounds):
        for name in CANDIDATES:
            for work, result in measure(name, requests).items():
                figures[name, work].append(result)
    print(f"Bind requests at QoS 1, PostgreSQL; medians of {rounds} rounds of {requests} requests.\n")
    print_table(figures)


def measure(name: str, requests: int) -> dict[str, Result]:
    """One candidate on a fresh broker and database: first binds, the same again, and one at a time."""
    with PostgreSQL() as database, Mosquitto() as broker:
        command, extra, sign = CANDIDATES[name]
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL="") | extra
        manage(env, "migrate", "-v0")
        manage(env, "shell", "-v0", "-c", SETUP)
        with running(command if command is BRIDGE else [*command, broker.url], env, sign=sign):
            client = LoadClient(HOST, broker.port, replies=BINDS)
            work = _requests(requests)
            client.run(_requests(300), in_flight=100)  # warm
            results = {
                "first bind": client.run(work, in_flight=IN_FLIGHT),
                "repeated bind": client.run(work, in_flight=IN_FLIGHT),
                "one at a time": bind_one_at_a_time(client, SINGLE),
            }
            client.close()
            return results


def bind_one_at_a_time(client: LoadClient, count: int) -> Result:
    """Bind so many docks, one after another."""
    return client.run(_requests(count), in_flight=1)


def _requests(count: int) -> list[tuple[str, bytes]]:
    return bind_requests(count, prefix=f"B{uuid.uuid4().hex[:6]}X", organization_id=ORGANIZATION_ID, code=CODE)


def print_table(figures: Figures) -> None:
    """Medians, and ratios to the echo responder of the same run."""
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
