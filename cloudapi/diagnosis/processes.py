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
from django.utils.translation import gettext as _

from cloudapi.diagnosis.errors import in_words
from cloudapi.diagnosis.findings import Finding, note, ok, problem
from cloudapi.file_jobs.running import ALIVE_FOR
from cloudapi.tasks import report_alive
from devices.templatetags.moments import exact
from mqtt_bridge.database.lock import LOCK_KEY
from mqtt_bridge.database.timeouts import TELEMETRY_NAME
from mqtt_bridge.models import Heartbeat
from organizations.models import FileJob

TIMEOUT: Final = 2.0  # seconds for Redis
WORKER_TIMEOUT: Final = 5.0  # seconds until a task that we send is done
BEAT_TIMEOUT: Final = 30.0  # seconds; beat sends such a task every 10
PILED_UP: Final = 1_000  # tasks


def check_redis() -> Iterator[Finding]:
    """Whether it answers, and keeps what is in it."""
    if not settings.REDIS_URL:
        if settings.COMMANDS_AVAILABLE:
            yield ok(_("Redis"), _("Not used: this process sends commands itself."))
        else:
            yield problem(_("Redis"), _("REDIS_URL is not set, so nothing sends commands."), _("Set REDIS_URL."))
        return
    options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **options) as client:
            info = client.info()
            waiting = client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    except redis.RedisError as error:
        yield problem(
            _("Redis"),
            _("Does not answer: {error}.").format(error=in_words(error)),
            _("Start it, or correct REDIS_URL."),
        )
        return
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if info.get("maxmemory") and not policy.startswith(("noeviction", "volatile")):
        yield problem(
            _("Redis"),
            _("May drop waiting commands ({policy}).").format(policy=policy),
            _("Set maxmemory-policy noeviction."),
        )
    elif waiting > PILED_UP:
        yield note(_("Redis"), _("{waiting:,} tasks wait in it.").format(waiting=waiting), _("Start more workers."))
    else:
        yield ok(
            _("Redis"),
            _("Version {version} answers. It need not keep anything on disk.").format(
                version=info.get("redis_version")
            ),
        )


def check_workers() -> Iterator[Finding]:
    """Send a task as a command would be, and see whether it is done."""
    if not settings.REDIS_URL:
        return
    advice = _("Start a worker (celery -A cloudapi worker), or see its log.")
    key = f"doctor-{secrets.token_hex(8)}"
    try:
        report_alive.apply_async([key], expires=WORKER_TIMEOUT)
        alive = _wait_for(key)
        beat = cache.get("beat")
    except (redis.RedisError, report_alive.OperationalError):
        yield problem(_("Workers"), _("Not checked: Redis does not answer."), _("See the line of Redis."))
        return
    if alive is None:
        yield problem(
            _("Workers"), _("No worker did a task within {seconds:.0f} s.").format(seconds=WORKER_TIMEOUT), advice
        )
    elif not alive["broker"]:
        yield problem(
            _("Workers"), _("The worker on {host} has no connection to the broker.").format(host=alive["host"]), advice
        )
    else:
        yield ok(
            _("Workers"), _("The one on {host} took a task and reaches database and broker.").format(host=alive["host"])
        )
    if beat and abs(time.time() - beat["at"]) < BEAT_TIMEOUT:
        yield ok(_("Beat"), _("Sent its last task less than 30 s ago."))
    elif alive:
        yield problem(
            _("Beat"),
            _("Sent nothing in the last 30 s."),
            _("Start it (celery -A cloudapi beat), one for all workers."),
        )
    else:
        yield note(_("Beat"), _("Not known while no worker works."), _("Look again then."))


def check_files() -> Iterator[Finding]:
    """Whether a worker of `files` showed itself, idle or at work: it may be busy for minutes, so no task is sent."""
    if not settings.COMMANDS_AVAILABLE:
        return
    try:
        alive = cache.get("files")
    except redis.RedisError:
        yield problem(_("Files"), _("Not checked: Redis does not answer."), _("See the line of Redis."))
        return
    waiting = FileJob.objects.filter(status=FileJob.Status.QUEUED).count()
    if alive:
        yield ok(_("Files"), _("A worker makes files; {count} wait.").format(count=waiting))
        return
    text = _("No worker has taken imports and exports for {seconds} s; {count} wait.")
    yield problem(
        _("Files"),
        text.format(seconds=ALIVE_FOR, count=waiting),
        _("Start one (celery -A cloudapi worker --queues=files --pool=solo), or see its log."),
    )


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
        text = _("Answers no docks.")
        if heartbeat:
            text = _("Answers no docks since {moment}.").format(moment=exact(heartbeat.beat_at))
        yield problem(_("Bridge"), text, _("Start it (manage.py run_mqtt_bridge), or see its log."))
    else:
        age = (timezone.now() - heartbeat.beat_at).total_seconds()
        yield ok(
            _("Bridge"),
            _("Its ping came back {age:.0f} s ago, after {milliseconds:.0f} ms.").format(
                age=age, milliseconds=heartbeat.round_trip_ms
            ),
        )
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
            yield ok(_("Telemetry"), _("{count} processes of its own share it with the bridge.").format(count=sharing))
        else:
            yield ok(_("Telemetry"), _("The bridge writes all of it."))
        if standing_by:
            yield ok(_("Stand-by bridge"), _("{count} ready to take over.").format(count=standing_by))
        else:
            yield note(_("Stand-by bridge"), _("None."), _("Start a second bridge, best on another machine."))
