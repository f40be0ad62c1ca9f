"""What `benchmarks/pages.py` runs on a filled database: opens pages as one person, and prints a JSON line for each.

`python -m benchmarks.programs.page_visits PERSON REGEX` opens each page once. They are found in the addresses of the
admin and in the REST API's schema, so that a new one joins by itself. With a JSON list of such lines on standard input
and `-` for the regular expression it opens those again, so often that there is a p95.
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

from devices.models import ServiceCall, ServiceCallBatch  # noqa: E402
from mqtt_bridge.models import Heartbeat  # noqa: E402

AGAIN = 20  # visits, for a p95
WHOLE_AGAIN = 3  # of a file of thousands of rows
CHOSEN = 100  # devices on a page that is opened for the chosen rows of a list: as many as the list shows
OTHERS = ("/metrics", "/preferences/", "/second-factor/", "/sessions/")
SEARCHED = ("7CTDM000000007", "Pier 77", "1000007", "nothing-like-this")
# What the walk through the addresses does not find: arguments in the query string, or one of few names in the path.
ASKED = (
    *(f"/admin/search/?{urlencode({'q': text})}" for text in SEARCHED),
    f"/admin/search/?{urlencode({'q': 'Pier 7', 'format': 'json'})}",
    *(f"/admin/acknowledge/{kind}/" for kind in ("offline", "failed", "wrong_clock")),
    "/admin/organizations/organization/1/close/",
    "/admin/devices/device/inbox/?ignored=yes",
    *(
        f"/admin/devices/device/geojson/?bbox={box}&zoom={zoom}"
        for box, zoom in (("-180,-85,180,85", 2), ("0,0,20,20", 7))
    ),
)
# Forms that are asked for by POST: what is missing keeps them from being carried out.
POSTED = {"/admin/devices/device/commands/read-dock/": {"later": "on"}}
# Files, from the request to the last byte, of so many rows as fit in one that nobody waits long for.
FILES = (
    "/admin/devices/device/export/",
    "/admin/devices/dockconnection/export.csv",
    "/admin/licenses/unlocklicense/export/",
    "/admin/licenses/unlocklicense/export.csv",
)
# Not pages, or of one person's own doing.
PASSED_OVER = re.compile(r"^(login|logout|autocomplete|view_on_site|app_list)$|_export$|_autocomplete$")


class Page(NamedTuple):
    """One address, and the page that it is a variant of: with another filter, order or row."""

    name: str
    address: str
    posted: dict[str, str] = {}  # form fields; {}: it is asked for by GET
    is_file: bool = False  # read to its end, instead of to its first rows


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


def main(person: str, pattern: str) -> None:
    """Open what there is for this person, of which the address matches the pattern, or what standard input names."""
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # what may not be opened is passed over
    reverse("admin:index")  # loads all there is
    gc.collect()
    gc.freeze()  # as the web process
    client = Client(SERVER_NAME="127.0.0.1", headers={"x-forwarded-proto": "https"})
    client.force_login(get_user_model().objects.get(username=f"bench-{person}"))
    if pattern == "-":
        for known in json.load(sys.stdin):
            page = Page(known["page"], known["address"], known["posted"], known["is_file"])
            measure(client, person, page, WHOLE_AGAIN if page.is_file else AGAIN)
        return
    seen: set[tuple[str, bool]] = set()
    warm: set[str] = set()
    for page in pages(client):
        if (page.address, page.is_file) not in seen and re.search(pattern, page.address):
            seen.add((page.address, page.is_file))
            measure(client, person, page, 1, is_cold=page.name not in warm)
            warm.add(page.name)


def pages(client: Client) -> Iterator[Page]:
    """All that this person can open."""
    for address in (*OTHERS, *ASKED):
        yield Page(address.partition("?")[0], address)
    devices = chosen(client)
    for address, fields in POSTED.items():
        yield Page(address, address, {"devices": devices, **fields})
    for model, model_admin in admin.site._registry.items():
        yield from admin_pages(client, f"{model._meta.app_label}_{model._meta.model_name}", model_admin, devices)
    for pattern in admin.site.get_urls():
        if not isinstance(pattern, URLPattern) or not pattern.name or pattern.pattern.converters:
            continue
        if not PASSED_OVER.search(pattern.name):
            address = reverse(f"admin:{pattern.name}")
            yield Page(address, address)
    for address in FILES:
        yield Page(f"{address.partition('?')[0]}, whole", address, is_file=True)
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for path, operations in schema["paths"].items():
        if "get" in operations:
            yield from rest_pages(client, path, operations["get"].get("parameters", ()))


def chosen(client: Client) -> str:
    """The keys of this person's first devices, as the pages of chosen rows want them."""
    response: Any = client.get(reverse("admin:devices_device_changelist"))
    rows = response.context_data["cl"].result_list if response.status_code == 200 else ()
    return ",".join(str(row.pk) for row in rows[:CHOSEN])


# --- the admin -----------------------------------------------------------------------------------


def admin_pages(client: Client, model: str, model_admin: Any, devices: str) -> Iterator[Page]:
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
            yield Page(pattern.name, f"{reverse(f'admin:{pattern.name}')}?{urlencode({'devices': devices})}")
        elif converters in (["object_id"], ["pk"], ["id"]) and rows:
            # The first is an organization's largest, or the newest.
            keys = (
                [1] if "organization_" in pattern.name or pattern.name.endswith("_dock") else [rows[0].pk, rows[-1].pk]
            )
            for key in keys:
                yield Page(pattern.name, reverse(f"admin:{pattern.name}", args=[key]))


def list_queries(changes: Any) -> Iterator[str]:
    """The first choices of each filter, searches, orders, the second and the last page."""
    for spec in changes.filter_specs:
        for choice in list(spec.choices(changes))[: 4 if hasattr(spec, "lookup_val") else 10]:
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


def measure(client: Client, person: str, page: Page, visits: int, *, is_cold: bool = True) -> None:
    """Open it so many times, once more before if it is cold, and print the figures if it can be opened."""
    Heartbeat.objects.update_or_create(
        instance="bench", defaults={"started_at": timezone.now(), "beat_at": timezone.now(), "round_trip_ms": 1}
    )
    meters: list[Meter] = []
    size = 0
    for run in range(visits + is_cold):
        meter = Meter()
        with connection.execute_wrapper(meter), meter:
            response: Any = client.post(page.address, page.posted) if page.posted else client.get(page.address)
            if response.status_code >= 500:
                raise RuntimeError(f"{page.address} answers {response.status_code}")
            if response.status_code != 200:
                return
            if page.is_file:
                size = sum(piece.count(b"\n") for piece in response) - 1
            elif response.streaming:  # an export: until its first rows are there
                pieces = iter(response.streaming_content)
                next(pieces), next(pieces, None)
        response.close()
        if run >= is_cold:
            meters.append(meter)
    times = sorted(meter.seconds for meter in meters)
    slowest = max(meters, key=lambda meter: meter.slowest)
    figures = {
        "person": person, "page": page.name, "address": page.address, "posted": page.posted, "is_file": page.is_file,
        "visits": len(times), "p50": median(times), "p95": times[-1 - len(times) // 20], "rows": size,
        "queries": max(meter.queries for meter in meters), "slowest": slowest.slowest,
        "statement": shortened(slowest.text),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def shortened(sql: str) -> str:
    """A statement without its columns and quotes."""
    return re.sub(r"\bSELECT (DISTINCT )?.*?\bFROM\b", "SELECT … FROM", " ".join(sql.split()), count=1).replace('"', "")


if __name__ == "__main__":
    main(*sys.argv[1:])
