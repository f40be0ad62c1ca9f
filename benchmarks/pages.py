"""What each page and list of the admin and REST costs at full size, for platform staff and for members.

Measured is processor time of the web process and of its database connection, in-process, without the network. Wall
time says the same on an idle machine whose tables are in memory, and nothing on a busy one.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import psycopg

from benchmarks.harness.processes import ROOT, environment, manage
from benchmarks.harness.report import Row
from cloudapi.embedded.servers import Mosquitto, PostgreSQL, Redis

BAR = 0.3  # seconds, for p95
GROWTH = 10  # statements more than for a small organization, which has fewer kinds of things to show
FILL = "from benchmarks.harness import fleet; fleet.fill({scale}); fleet.members()"
AT_ONCE = 2  # people: none pays the processor time of another
DIAGNOSIS = "/admin/system/"  # floods the broker to see what it keeps, whatever the size of the tables
SHOWN = 160  # letters of a statement


def run(*, scale: float, people: str, database_url: str) -> Iterator[Row]:
    """Visit each page as these people; the worst address of each is its row.

    A database that is given is filled if it is empty, and stays, so that the next run need not fill one.
    """
    with ExitStack() as servers:
        # A worker process of a parallel plan would not be counted.
        serial = {"max_parallel_workers_per_gather": "0"}
        url = database_url or servers.enter_context(PostgreSQL(settings=serial)).url
        redis, broker = servers.enter_context(Redis()), servers.enter_context(Mosquitto())
        env = environment(DATABASE_URL=url, REDIS_URL=redis.url, MQTT_URL=broker.url)
        env |= {"API_REQUESTS_PER_MINUTE": "0", "LOG_LEVEL": "ERROR", "DEVICE_OFFLINE_AFTER": "864000"}
        manage(env, "migrate", "-v0")
        manage(env, "collectstatic", "-v0", "--no-input")
        with psycopg.connect(url) as connection:
            is_filled = connection.execute("SELECT 1 FROM devices_device LIMIT 1").fetchone()
        if not is_filled:
            manage(env, "shell", "-v0", "-c", FILL.format(scale=scale))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            visits = [visit for found in pool.map(partial(_visits, env), people.split(",")) for visit in found]
    yield from rows(visits)


def _visits(env: dict[str, str], person: str) -> list[dict]:
    """What each page costs this person, by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.programs.page_visits", person, ""]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(visits: list[dict]) -> Iterator[Row]:
    """One for each page and person, the slowest first, and one for each page that asks more questions of more rows."""
    pages = defaultdict(list)
    for visit in visits:
        pages[visit["person"], visit["page"]].append(visit)
    worst = [max(variants, key=lambda visit: visit["p95"]) for variants in pages.values()]
    for visit in sorted(worst, key=lambda visit: -visit["p95"]):
        variants = pages[visit["person"], visit["page"]]
        note = f"{visit['queries']} queries, the slowest {visit['slowest'] * 1000:.0f} ms: {visit['statement'][:SHOWN]}"
        if len(variants) > 1:
            note = f"worst of {len(variants)}: {visit['address']}; {note}"
        yield Row(
            name=f"{visit['person']}: {visit['page']}", figure=visit["p95"] * 1000, unit="ms, p95",
            low=visit["p50"] * 1000, high=visit["p95"] * 1000,
            bar=None if visit["page"] == DIAGNOSIS else BAR * 1000, at_most=True, note=note,
        )  # fmt: skip
    for person, page in pages:
        small, here = pages.get(("small", page)), pages[person, page]
        if small and person != "small":
            more = max(visit["queries"] for visit in here) - max(visit["queries"] for visit in small)
            if more > GROWTH:
                name = f"{person}: {page}, beside a small organization"
                yield Row(name=name, figure=more, unit="queries", bar=GROWTH, at_most=True)
