"""What lists of the REST API cost at the size of a large fleet, over HTTP on a real server."""

import http.client
import json
import subprocess
import sys
import time
from statistics import median, quantiles
from typing import Any

from benchmarks.harness.processes import ROOT, environment, manage, web_process
from cloudapi.embedded.servers import PostgreSQL, Redis

REQUESTS = 100  # of each kind in a round
# Half of them docks, each with its aircraft and what it last told; and an organization that has none.
SETUP = """
import sys
from django.db import connection
from django.utils import timezone
from devices.models import Device, DeviceState
from organizations.models import Organization, OrganizationAPIKey

now, keys = timezone.now(), []
for name in ("full", "empty"):
    organization = Organization.objects.create(name=name)
    keys.append(OrganizationAPIKey.objects.create_key(organization=organization, name=name, role="viewer")[1])
    if name == "empty":
        continue
    half = {docks} // 2
    docks = Device.objects.bulk_create(
        Device(sn=f"DOCK{{number:05}}", model_key="3-2-0", organization=organization, callsign=f"Pier {{number}}")
        for number in range(half)
    )
    aircraft = Device.objects.bulk_create(
        Device(sn=f"DRONE{{number:05}}", model_key="0-91-0", organization=organization, gateway=dock)
        for number, dock in enumerate(docks)
    )
    properties = {{f"field_{{number}}": number for number in range(100)}}
    DeviceState.objects.bulk_create(
        DeviceState(device=device, online=True, last_seen=now, latitude=1, longitude=1, properties=properties)
        for device in [*docks, *aircraft]
    )
connection.cursor().execute("ANALYZE")  # as autovacuum does within a minute
sys.stdout.write(" ".join(keys))
"""


def run(*, rounds: int, docks: int) -> None:
    """Measure `rounds` times on one server and print the table."""
    with PostgreSQL() as database, Redis() as redis:
        env = environment(DATABASE_URL=database.url, REDIS_URL=redis.url, MQTT_URL="mqtt://127.0.0.1")
        env["API_REQUESTS_PER_MINUTE"] = "0"
        manage(env, "migrate", "-v0")
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", SETUP.format(docks=docks)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        full, empty = done.stdout.split()
        figures: dict[str, list[float]] = {}
        with web_process(env) as (_, host):
            pages = {
                "empty": (empty, "/api/v1/devices/?limit=100"),
                "first": (full, "/api/v1/devices/?limit=100"),
                "middle": (full, _deep(host, full, docks // 200)),
                "included": (full, "/api/v1/devices/?limit=100&include=state,account,carried"),
                "filtered": (full, "/api/v1/devices/?limit=100&kind=dock&presence=unknown"),
                "one": (full, "/api/v1/devices/DOCK00007/"),
            }
            for _ in range(rounds):
                for name, (key, path) in pages.items():
                    figures.setdefault(name, []).extend(_times(host, key, path))
    print_table(figures, rounds=rounds, docks=docks)


def _deep(host: str, key: str, pages: int) -> str:
    """The path of a page after so many others."""
    path = "/api/v1/devices/?limit=100"
    connection = http.client.HTTPConnection(host)
    for _ in range(pages):
        path = "/api/" + _get(connection, key, path)["next"].split("/api/", 1)[1]
    return path


def _times(host: str, key: str, path: str) -> list[float]:
    """Seconds of each of REQUESTS requests, one after another on one connection."""
    connection = http.client.HTTPConnection(host)
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        _get(connection, key, path)
        times.append(time.perf_counter() - began)
    return times


def _get(connection: http.client.HTTPConnection, key: str, path: str) -> dict[str, Any]:
    connection.request("GET", path, headers={"Authorization": f"Api-Key {key}"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path} answers {response.status}: {body[:200]!r}")
    return json.loads(body)


def print_table(figures: dict[str, list[float]], *, rounds: int, docks: int) -> None:
    """Milliseconds, and ratios to the page of a fleet that is empty."""
    print(f"\nGET /api/v1/devices/ of {docks:,} devices, one after another; medians of {rounds * REQUESTS}, ms\n")
    least = median(figures["empty"])
    for name, words in (
        ("empty", "a page without a device"),
        ("first", "the first 100"),
        ("middle", "100 from the middle"),
        ("included", "the first 100, with state, account, carried"),
        ("filtered", "100 docks by presence"),
        ("one", "one device"),
    ):
        p50, p95 = median(figures[name]) * 1000, quantiles(figures[name], n=20)[-1] * 1000
        print(f"  {words:46} p50 {p50:7.1f}   p95 {p95:7.1f}   {p50 / least / 1000:5.1f} x the empty page")
