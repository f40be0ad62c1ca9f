"""What each page and list of the admin and REST costs at full size, for platform staff and for members.

Each page is opened once by each of them, in all its forms: with each filter, search and order. The slowest forms of
each page are then opened again, so often that there is a p95.

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
FILE_BAR = 4 / 16_000  # seconds for each row of a whole file
GROWTH = 10  # statements more than for a small organization, which has fewer kinds of things to show
FILL = "from benchmarks.harness import fleet; fleet.fill({scale}); fleet.members()"
AT_ONCE = 2  # people: none pays the processor time of another
DIAGNOSIS = "/admin/system/"  # floods the broker to see what it keeps, whatever the size of the tables
FORMS = 3  # of a page that are opened again if they come near the bar; of others the slowest
SHOWN = 160  # letters of a statement


def run(*, scale: float, people: str, database_url: str) -> Iterator[Row]:
    """Visit each page as these people; the worst visit of each is its row.

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
            found = pool.map(partial(_visits, env), [(person, "") for person in people.split(",")])
            visits = [visit for each in found for visit in each]
            slowest = slow_forms(visits)
            # Halves: one person, who may open the most, has most of them.
            halves = [(person, half) for person, forms in slowest.items() for half in (forms[::2], forms[1::2])]
            again = [(person, json.dumps(half)) for person, half in halves if half]
            found = pool.map(partial(_visits, env), again)
            often = [visit for each in found for visit in each]
    yield from rows(visits, often)


def _visits(env: dict[str, str], asked: tuple[str, str]) -> list[dict]:
    """What each page costs this person, by a process of its own; of those forms, if some are named."""
    person, forms = asked
    command = [sys.executable, "-m", "benchmarks.programs.page_visits", person, "-" if forms else ""]
    done = subprocess.run(command, cwd=ROOT, env=env, input=forms, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def slow_forms(visits: list[dict]) -> dict[str, list[dict]]:
    """The slowest forms of each page, whoever opened it, by person: the longest first, as the others end beside it."""
    pages: defaultdict[str, list[dict]] = defaultdict(list)
    for visit in visits:
        pages[visit["page"]].append(visit)
    people: defaultdict[str, list[dict]] = defaultdict(list)
    for forms in pages.values():
        forms.sort(key=lambda visit: -visit["p95"])
        for visit in [forms[0], *(form for form in forms[1:FORMS] if form["p95"] > BAR / 2 and not form["is_file"])]:
            people[visit["person"]].append(visit)
    return dict(sorted(people.items(), key=lambda item: -sum(visit["p95"] for visit in item[1])))


def rows(visits: list[dict], often: list[dict]) -> Iterator[Row]:
    """One for each page, the slowest first, and one for each person whose page asks more questions of more rows."""
    pages: defaultdict[str, defaultdict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for visit in visits:
        pages[visit["page"]][visit["person"]].append(visit)
    for worst in sorted(often, key=lambda visit: -visit["p95"]):
        if (page := worst["page"]) not in pages:
            continue  # a faster form of it
        people = pages.pop(page)
        each = ", ".join(f"{person} {_worst(found) * 1000:.0f}" for person, found in people.items())
        what = f"{worst['person']} reads {worst['rows']:,} rows" if worst["is_file"] else f"p95 of {worst['visits']}"
        yield Row(
            name=page, figure=worst["p95"] * 1000, unit="ms" if worst["is_file"] else "ms, p95",
            low=worst["p50"] * 1000, high=worst["p95"] * 1000, at_most=True,
            bar=None if page == DIAGNOSIS else max(BAR, FILE_BAR * worst["rows"]) * 1000,
            note=f"{what}: {worst['address'][:SHOWN]}; "
            f"once each: {each}, the slowest of {sum(map(len, people.values()))}; "
            f"{worst['queries']} queries, the slowest {worst['slowest'] * 1000:.0f} ms: {worst['statement'][:SHOWN]}",
        )  # fmt: skip
        for person, found in people.items():
            more = _most_queries(found) - _most_queries(people.get("small", found))
            if more > GROWTH and not worst["is_file"]:
                name = f"{person}: {page}, beside a small organization"
                yield Row(name=name, figure=more, unit="queries", bar=GROWTH, at_most=True)


def _worst(visits: list[dict]) -> float:
    return max(visit["p95"] for visit in visits)


def _most_queries(visits: list[dict]) -> int:
    return max(visit["queries"] for visit in visits)
