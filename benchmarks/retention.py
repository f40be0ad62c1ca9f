"""What pruning costs docks: bind requests beside tables that are full of old rows, with and without who prunes them."""

from benchmarks.binds import BRIDGE, SETUP, bind_one_at_a_time
from benchmarks.harness.load import BINDS, LoadClient
from benchmarks.harness.processes import environment, manage, running
from cloudapi.embedded.servers import HOST, Mosquitto, PostgreSQL

FILL = """
from django.db import connection
from django.utils import timezone
from cloudapi.retention import TABLES
from devices.models import Device
from licenses.models import LicenseFile
from organizations.models import Organization

harbour = Organization.objects.get()
dock = Device.objects.create(sn="OLD", model_key="3-2-0", organization=harbour, bound_at=timezone.now())
file = LicenseFile.objects.create(organization=harbour, name="1.kmz", md5="1" * 32, size=1, content=b"x")
KEYS = {{"organization": str(harbour.pk), "device": str(dock.pk), "file": str(file.pk)}}
OTHERS = {{
    "TextField": "repeat('x', 300)",
    "JSONField": "'{{}}'",
    "BooleanField": "true",
    "UUIDField": "gen_random_uuid()",
}}


def value(field):
    kind = field.get_internal_type()
    if kind == "DateTimeField":
        return "now() - interval '5000 days' + n * interval '1 millisecond'"
    if field.null:
        return "NULL"
    if kind == "ForeignKey":
        return KEYS[field.name]
    if kind == "CharField":
        return f"left(n::text, {{field.max_length}})"
    return OTHERS.get(kind, "1")


for kept in TABLES:
    fields = [field for field in kept.model._meta.concrete_fields if field.get_internal_type() != "BigAutoField"]
    columns = ", ".join(f'"{{field.column}}"' for field in fields)
    values = ", ".join(map(value, fields))
    with connection.cursor() as cursor:
        table = kept.model._meta.db_table
        cursor.execute(f"INSERT INTO {{table}} ({{columns}}) SELECT {{values}} FROM generate_series(1, {rows}) n")
        cursor.execute(f"ANALYZE {{table}}")
"""
# Without a pause, which the task that does this takes.
PRUNE = """
import time
from collections import Counter
from cloudapi.retention import prune
print("pruning", flush=True)
began, gone = time.monotonic(), Counter()
while more := prune(seconds=2.0):
    gone.update(more)
    if not more.total():
        break
    print(f"{{gone.total() / (time.monotonic() - began):.0f}} rows a second", flush=True)
"""


def run(*, rows: int, requests: int) -> None:
    """Bind one dock after another, before and while old rows of every kept table go, and print both."""
    with PostgreSQL() as database, Mosquitto() as broker:
        env = environment(DATABASE_URL=database.url, MQTT_URL=broker.url, REDIS_URL="")
        manage(env, "migrate", "-v0")
        manage(env, "shell", "-v0", "-c", SETUP)
        manage(env, "shell", "-v0", "-c", FILL.format(rows=rows))
        with running(BRIDGE, env, sign="Serving docks"):
            client = LoadClient(HOST, broker.port, replies=BINDS)
            bind_one_at_a_time(client, 100)  # warm
            figures = {"alone": bind_one_at_a_time(client, requests)}
            prune = ["manage.py", "shell", "-v0", "-c", PRUNE.format()]
            with running(prune, env, sign="rows a second") as pruning:
                figures["beside who prunes"] = bind_one_at_a_time(client, requests)
                rate = pruning.said().splitlines()[-1]
            client.close()
    print(f"Bind requests one after another, {rows} old rows in each table that is pruned: ms.\n")
    for name, result in figures.items():
        print(f"  {name:24} p50 {result.p50_ms:6.1f}   p95 {result.p95_ms:6.1f}")
    ratio = figures["beside who prunes"].p95_ms / figures["alone"].p95_ms
    print(f"  p95 {ratio:.1f} x alone, while {rate} went\n")
