"""What `benchmarks/pages.py` runs on a filled database: opens every page, and prints a JSON line for each.

The pages are found in the admin's registry and in the REST API's schema, so that a new one joins by itself.
"""

import gc
import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode

import django

django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import URLPattern, reverse  # noqa: E402
from django.utils import timezone  # noqa: E402
from drf_spectacular.generators import SchemaGenerator  # noqa: E402

from benchmarks.pages import BAR  # noqa: E402
from devices.models import ServiceCall, ServiceCallBatch  # noqa: E402
from mqtt_bridge.models import Heartbeat  # noqa: E402

MORE = 4  # visits of a page that comes near the bar
MAPPED = "/admin/devices/device/geojson/"
OTHERS = (
    "/admin/", "/admin/system/", "/admin/password_change/", "/sessions/", "/second-factor/", "/metrics",
    f"{MAPPED}?zoom=2", f"{MAPPED}?zoom=6&bbox=100,20,120,35",
)  # fmt: skip
SEARCHED = ("7CTDM000000007", "Pier 77", "1000007", "nothing-like-this")


class Page(NamedTuple):
    """One address, and the page that it is a variant of: with another filter, order or row."""

    name: str
    address: str


class Meter:
    """Processor time of this process and of the database's, which others on the machine hardly change; statements."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [pid] = cursor.fetchone()
        self._database = Path(f"/proc/{pid}/schedstat")  # in nanoseconds, where /proc/PID/stat has hundredths
        self.queries, self.slowest, self.text, self.seconds = 0, 0.0, "", 0.0

    def __call__(self, execute: Any, sql: str, *args: Any) -> Any:
        """Runs one statement; a wrapper of Django's."""
        began = self._now()
        try:
            return execute(sql, *args)
        finally:
            took = self._now() - began
            self.queries += 1
            if took > self.slowest:
                self.slowest, self.text = took, sql

    def __enter__(self) -> "Meter":
        self.seconds -= self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now()

    def _now(self) -> float:
        return time.process_time() + int(self._database.read_text().split()[0]) / 1e9


def main(people: Iterable[str], pattern: str) -> None:
    """Open what there is for each of these people, of which the address matches the pattern."""
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # what may not be opened is passed over
    reverse("admin:index")  # loads all there is
    gc.collect()
    gc.freeze()  # as the web process
    for person in people:
        client = Client(SERVER_NAME="127.0.0.1", headers={"x-forwarded-proto": "https"})
        client.force_login(get_user_model().objects.get(username=f"bench-{person}"))
        seen: set[str] = set()
        for page in pages(client):
            if page.address not in seen and re.search(pattern, page.address):
                seen.add(page.address)
                measure(client, person, page)


def pages(client: Client) -> Iterator[Page]:
    """All that this person can open."""
    yield from (Page(path, path) for path in OTHERS)
    for model, model_admin in admin.site._registry.items():
        yield from admin_pages(client, f"{model._meta.app_label}_{model._meta.model_name}", model_admin)
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for path, operations in schema["paths"].items():
        if "get" in operations:
            yield from rest_pages(client, path, operations["get"].get("parameters", ()))


# --- the admin -----------------------------------------------------------------------------------


def admin_pages(client: Client, model: str, model_admin: Any) -> Iterator[Page]:
    """The list in all its forms, the other pages beside it, and those of its first row."""
    address = reverse(f"admin:{model}_changelist")
    response: Any = client.get(address)
    if response.status_code != 200:
        return
    changes = response.context_data["cl"]
    yield Page(f"{model} list", address)
    for query in list_queries(changes):
        yield Page(f"{model} list", f"{address}?{query}")
    rows = list(changes.result_list)
    for pattern in model_admin.get_urls():
        if not isinstance(pattern, URLPattern) or not pattern.name or pattern.name.endswith("_changelist"):
            continue
        converters = list(pattern.pattern.converters)
        if not converters:
            yield Page(pattern.name, reverse(f"admin:{pattern.name}"))
        elif converters in (["object_id"], ["pk"], ["id"]) and rows:
            # The first is an organization's largest, or the newest.
            keys = (
                [1] if "organization_" in pattern.name or pattern.name.endswith("_dock") else [rows[0].pk, rows[-1].pk]
            )
            for key in keys:
                yield Page(pattern.name, reverse(f"admin:{pattern.name}", args=[key]))


def list_queries(changes: Any) -> Iterator[str]:
    """Each choice of each filter, searches, orders, the second and the last page."""
    for spec in changes.filter_specs:
        for choice in list(spec.choices(changes))[: 4 if hasattr(spec, "lookup_val") else 15]:
            if query := choice.get("query_string", "")[1:]:
                yield query
        if spec.template.endswith("method_filter.html"):  # a text field
            yield from (urlencode({spec.parameter_name: value}) for value in ("config", "nothing"))
    if changes.search_fields:
        yield from (urlencode({"q": text}) for text in SEARCHED)
    for column in changes.sortable_by if changes.sortable_by is not None else changes.list_display:
        if column in changes.list_display:
            number = list(changes.list_display).index(column)
            yield from (f"o={number}", f"o=-{number}")
    if changes.paginator.num_pages > 1:
        yield from ("p=2", f"p={changes.paginator.num_pages}")


# --- REST ----------------------------------------------------------------------------------------

NOW = datetime.now(UTC)


def rest_pages(client: Client, path: str, parameters: Iterable[dict[str, Any]]) -> Iterator[Page]:
    """A route, with each value of each of its parameters."""
    try:
        address = re.sub(r"{(\w+)}", lambda found: key_of(client, path, found[1]), path)
    except LookupError:
        return
    yield Page(f"GET {path}", address)
    for parameter in parameters:
        if parameter["in"] == "query":
            for value in values_of(parameter):
                yield Page(f"GET {path}", f"{address}?{urlencode({parameter['name']: value})}")
    response = client.get(address)
    if response["Content-Type"] == "application/json" and (following := response.json().get("next")):
        yield Page(f"GET {path}", following.partition("127.0.0.1")[2])


def key_of(client: Client, path: str, name: str) -> str:
    """What stands in this place of the path: the first row's of the list above it. LookupError if there is none."""
    before = path.partition("{")[0]
    found = client.get(f"{before}?limit=1").json().get("results", [])
    if not found:
        raise LookupError(before)
    return str(found[0][name])


def values_of(parameter: dict[str, Any]) -> list[str]:
    """What a client may ask for with this parameter: all there is of some, an example of others."""
    name, schema = parameter["name"], parameter["schema"]
    schema = schema.get("items", schema)
    if "enum" in schema:
        return [str(value) for value in schema["enum"]]
    if schema.get("type") == "boolean":
        return ["true", "false"]
    if schema.get("format") == "date-time":
        return [(NOW - timedelta(days=days)).isoformat() for days in (1, 300)]
    batch, call = ServiceCallBatch.objects.first(), ServiceCall.objects.exclude(retry_of=None).first()
    examples: dict[str, list[Any]] = {
        "device": ["7CTDM000000007"], "gateway": ["7CTDM000000007"], "organization": ["10000001", "10000003"],
        "search": list(SEARCHED), "method": ["config", "unlock_license_list"], "limit": [500], "model_key": ["3-2-0"],
        "requested_by": ["person7"], "batch": [batch and batch.pk], "retry_of": [call and call.retry_of_id],
        "tid": [call and call.tid], "bid": [call and call.bid], "license_id": [1000007], "type": [3],
        "md5": ["0" * 32], "idempotency_key": ["key"],
    }  # fmt: skip
    return [str(value) for value in examples.get(name, ())]


# --- measuring -----------------------------------------------------------------------------------


def measure(client: Client, person: str, page: Page) -> None:
    """Open it some times, and print the figures if it can be opened."""
    Heartbeat.objects.update_or_create(
        instance="bench", defaults={"started_at": timezone.now(), "beat_at": timezone.now(), "round_trip_ms": 1}
    )
    meters: list[Meter] = []
    for run in range(2 + MORE):  # the first warms up
        if run == 2 and not BAR / 2 < meters[0].seconds < 10 * BAR:
            break
        meter = Meter()
        with connection.execute_wrapper(meter), meter:
            response: Any = client.get(page.address)
            if response.status_code >= 500:
                raise RuntimeError(f"{page.address} answers {response.status_code}")
            if response.status_code != 200:
                return
            if response.streaming:  # an export: until its first rows are there
                pieces = iter(response.streaming_content)
                next(pieces), next(pieces, None)
        response.close()
        if run:
            meters.append(meter)
    times = sorted(meter.seconds for meter in meters)
    slowest = max(meters, key=lambda meter: meter.slowest)
    figures = {
        "person": person, "page": page.name, "address": page.address, "p50": median(times),
        "p95": times[-1 - len(times) // 20], "queries": max(meter.queries for meter in meters),
        "slowest": slowest.slowest, "statement": shortened(slowest.text),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def shortened(sql: str) -> str:
    """A statement without its columns and quotes."""
    return re.sub(r"\bSELECT (DISTINCT )?.*?\bFROM\b", "SELECT … FROM", " ".join(sql.split()), count=1).replace('"', "")


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2])
