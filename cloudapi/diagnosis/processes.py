"""Redis, the workers, beat and the bridge: each must have done something lately."""

import secrets
import time
from collections.abc import Iterator
from typing import Final

import redis
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from cloudapi.diagnosis.findings import Finding, note, ok, problem
from cloudapi.tasks import report_alive
from mqtt_bridge.database.lock import LOCK_KEY
from mqtt_bridge.database.timeouts import TELEMETRY_NAME
from mqtt_bridge.models import Heartbeat

TIMEOUT: Final = 2.0  # seconds for Redis
WORKER_TIMEOUT: Final = 5.0  # seconds until a task that we send is done
BEAT_TIMEOUT: Final = 30.0  # seconds; beat sends such a task every 10
PILED_UP: Final = 1_000  # tasks


def check_redis() -> Iterator[Finding]:
    """Whether it answers, and keeps what is in it."""
    if not settings.REDIS_URL:
        if settings.COMMANDS_AVAILABLE:
            yield ok("Redis", "Not used: this process sends commands itself.")
        else:
            yield problem("Redis", "REDIS_URL is not set, so nothing sends commands.", "Set REDIS_URL.")
        return
    options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **options) as client:
            info = client.info()
            waiting = client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    except redis.RedisError as error:
        yield problem("Redis", f"Does not answer: {error}.", "Start it, or correct REDIS_URL.")
        return
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if info.get("maxmemory") and not policy.startswith(("noeviction", "volatile")):
        yield problem("Redis", f"May drop waiting commands ({policy}).", "Set maxmemory-policy noeviction.")
    elif waiting > PILED_UP:
        yield note("Redis", f"{waiting:,} tasks wait in it.", "Start more workers.")
    else:
        yield ok("Redis", f"Version {info.get('redis_version')} answers. It need not keep anything on disk.")


def check_workers() -> Iterator[Finding]:
    """Send a task as a command would be, and see whether it is done."""
    if not settings.REDIS_URL:
        return
    advice = "Start a worker (celery -A cloudapi worker), or see its log."
    key = f"doctor-{secrets.token_hex(8)}"
    try:
        report_alive.apply_async([key], expires=WORKER_TIMEOUT)
        alive = _wait_for(key)
        beat = cache.get("beat")
    except (redis.RedisError, report_alive.OperationalError):
        yield problem("Workers", "Not looked at: Redis does not answer.", "See its line.")
        return
    if alive is None:
        yield problem("Workers", f"No worker did a task within {WORKER_TIMEOUT:.0f} s.", advice)
    elif not alive["broker"]:
        yield problem("Workers", f"The worker on {alive['host']} has no connection to the broker.", advice)
    else:
        yield ok("Workers", f"The one on {alive['host']} took a task and reaches database and broker.")
    if beat and abs(time.time() - beat["at"]) < BEAT_TIMEOUT:
        yield ok("Beat", "Sent its last task less than 30 s ago.")
    elif alive:
        yield problem(
            "Beat", "Sent nothing in the last 30 s.", "Start it (celery -A cloudapi beat), one for all workers."
        )
    else:
        yield note("Beat", "Not known while no worker works.", "Look again then.")


def _wait_for(key: str) -> dict[str, object] | None:
    deadline = time.monotonic() + WORKER_TIMEOUT
    while time.monotonic() < deadline:
        found: dict[str, object] | None = cache.get(key)
        if found:
            return found
        time.sleep(0.05)
    return None


def check_bridge() -> Iterator[Finding]:
    """Its ping goes through broker, handler and database, so it proves that docks are answered."""
    heartbeat = Heartbeat.objects.current()
    if heartbeat is None or heartbeat.is_stale():
        since = f" since {heartbeat.beat_at:%Y-%m-%d %H:%M:%S} UTC" if heartbeat else ""
        yield problem("Bridge", f"Answers no docks{since}.", "Start it (manage.py run_mqtt_bridge), or see its log.")
    else:
        age = (timezone.now() - heartbeat.beat_at).total_seconds()
        yield ok("Bridge", f"Its ping came back {age:.0f} s ago, after {heartbeat.round_trip_ms:.0f} ms.")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = %s",
                [f"SELECT pg_try_advisory_lock({LOCK_KEY})"],
            )
            [(standing_by,)] = cursor.fetchall()
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
                [TELEMETRY_NAME],
            )
            [(sharing,)] = cursor.fetchall()
        if sharing:
            yield ok("Telemetry", f"{sharing} processes of its own share it with the bridge.")
        else:
            yield ok("Telemetry", "The bridge writes all of it.")
        if standing_by:
            yield ok("Stand-by bridge", f"{standing_by} ready to take over.")
        else:
            yield note("Stand-by bridge", "None.", "Start a second bridge, best on another machine.")
