"""What it costs when EMQX asks the server: a whole fleet comes back at once, each dock with one question whether it is
let in and six what it may do, through a real web process and PostgreSQL."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median, quantiles

from benchmarks.harness.processes import ROOT, Running, environment, manage, web_process
from benchmarks.harness.report import Row
from cloudapi.embedded.servers import PostgreSQL, Redis

SECRET = "the broker's secret, which has fifty characters or more"  # noqa: S105 - of this run
CONNECTIONS = 40  # of EMQX to the server: `pool_size` of its two lists in deploy/emqx/emqx.conf
SETUP = """
import sys
from django.db import connection
from django.utils import timezone
from devices.broker import accounts
from devices.models import Device, Pairing
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization

now, organization = timezone.now(), Organization.objects.create(name="fleet", device_limit=None)
docks = Device.objects.bulk_create(
    Device(sn=f"DOCK{{number:05}}", model_key="3-2-0", organization=organization, claim="code", bound_at=now)
    for number in range({docks})
)
drones = Device.objects.bulk_create(
    Device(sn=f"DRONE{{number:05}}", model_key="0-91-0", organization=organization, gateway=dock, claim="named")
    for number, dock in enumerate(docks)
)
Pairing.objects.bulk_create(
    Pairing(dock=dock, aircraft=drone, since=now, changed_at=now, witness="topology")
    for dock, drone in zip(docks, drones)
)
issued = accounts.issue_many(docks, actor=Actor(AuditEvent.Through.COMMAND))
connection.cursor().execute("ANALYZE")  # as autovacuum does within a minute
sys.stdout.write(" ".join(f"{{row.username}}:{{row.plain}}" for row in issued.accounts))
"""
# What a dock asks for when it comes back; the last is about its aircraft, which costs a query more.
TOPICS = (
    ("subscribe", "thing/product/{sn}/services"), ("subscribe", "thing/product/{sn}/requests_reply"),
    ("subscribe", "sys/product/{sn}/status_reply"), ("publish", "thing/product/{sn}/requests"),
    ("publish", "thing/product/{sn}/osd"), ("publish", "thing/product/{drone}/osd"),
)  # fmt: skip


def run(*, rounds: int, docks: int) -> list[Row]:
    """Let the fleet come back `rounds` times to one server."""
    with PostgreSQL() as database, Redis() as redis:
        env = environment(DATABASE_URL=database.url, REDIS_URL=redis.url, MQTT_URL="mqtt://bridge:hush@127.0.0.1")
        env["MQTT_AUTH_SECRET"] = SECRET
        manage(env, "migrate", "-v0")
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", SETUP.format(docks=docks)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        fleet = [tuple(one.split(":")) for one in done.stdout.split()]
        with web_process(env) as (web, host):
            found = [asyncio.run(_come_back(web, host, fleet)) for _ in range(rounds)]
    rate, p50, p95, used, seconds = (list(column) for column in zip(*found, strict=True))
    questions = f"{docks:,} docks, {1 + len(TOPICS)} questions each"
    return [
        Row.of(f"{questions}: answers of one web process", rate, "/s", cpu={"web": used}),
        Row.of(f"{questions}: all answered after", seconds, "s"),
        Row.of(f"{CONNECTIONS} questions at a time: an answer, p50", p50, "ms"),
        Row.of(f"{CONNECTIONS} questions at a time: an answer, p95", p95, "ms"),
    ]


async def _come_back(web: Running, host: str, fleet: list[tuple[str, ...]]) -> tuple[float, ...]:
    """Let all docks come back; answers a second, p50 and p95 in ms, CPU of the web process in us for each, seconds."""
    waiting = iter(fleet)
    times: list[float] = []

    async def ask_in_turn() -> None:
        async with questions(host) as ask:
            for sn, secret in waiting:
                times.extend(await ask(sn, secret))

    cpu, started = web.cpu(), time.monotonic()
    await asyncio.gather(*(ask_in_turn() for _ in range(CONNECTIONS)))
    seconds = time.monotonic() - started
    spent = 1e6 * (web.cpu() - cpu) / len(times)
    return len(times) / seconds, 1000 * median(times), 1000 * quantiles(times, n=20)[-1], spent, seconds


@asynccontextmanager
async def questions(host: str) -> AsyncIterator[Callable[[str, str], Awaitable[list[float]]]]:
    """A connection of EMQX to the server; it asks all about one dock and returns how long each answer took, in seconds.

    Asking raises RuntimeError if the server does not allow something.
    """
    address, port = host.split(":")
    reader, writer = await asyncio.open_connection(address, int(port))

    async def ask(sn: str, secret: str) -> list[float]:
        login = {"username": sn, "password": secret, "clientid": sn, "peerhost": "192.0.2.7", "listener": "docks"}
        drone = sn.replace("DOCK", "DRONE")
        asked = [("auth", login)]
        for action, topic in TOPICS:
            asked.append(("acl", {"username": sn, "action": action, "topic": topic.format(sn=sn, drone=drone)}))
        times = []
        for path, fields in asked:
            body = json.dumps(fields).encode()
            head = (
                f"POST /mqtt/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"X-Mqtt-Auth-Secret: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            started = time.monotonic()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
            times.append(time.monotonic() - started)
            if b'"allow"' not in content:
                raise RuntimeError(f"{path} of {sn}: {answer.decode()}{content.decode()}")
        return times

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()
