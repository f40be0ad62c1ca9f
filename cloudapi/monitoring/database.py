"""What the database and Redis show of the whole server. Every web process reports the same."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Final

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from devices.models import OPEN_STATUSES, BrokerAccount, DeviceState, ServiceCall
from mqtt_bridge.models import Certificate, Exchange, Heartbeat
from organizations.models import FileJob

CACHED: Final = 10.0  # seconds for which what takes more than a row is not read again
PATIENCE: Final = 2_000  # milliseconds that a statement may take: a scrape has ten seconds
REDIS_PATIENCE: Final = 1.0  # seconds
OVERDUE: Final = timedelta(seconds=60)  # after its time a call has been closed, if anybody closes calls

_lock = threading.Lock()
_cached: tuple[float, list[Metric]] = -CACHED, []


class DatabaseCollector(Collector):
    """Reads at each scrape. A database or a Redis that is away is a figure, and no failure."""

    def collect(self) -> Iterator[Metric]:
        try:
            with transaction.atomic():
                if connection.vendor == "postgresql":
                    with connection.cursor() as cursor:
                        cursor.execute(f"SET LOCAL statement_timeout = {PATIENCE}")
                found = [*bridge_metrics(), *certificate_metrics(), *cached_metrics()]
        except (DatabaseError, InterfaceError):
            yield GaugeMetricFamily("database_up", "1 if the database answers.", value=0)
        else:
            yield GaugeMetricFamily("database_up", "1 if the database answers.", value=1)
            yield from found
        if settings.REDIS_URL:
            yield from redis_metrics()


def bridge_metrics() -> Iterator[Metric]:
    """The heartbeat of the bridge, and what it wrote beside it."""
    heartbeat = Heartbeat.objects.current()
    up = heartbeat is not None and not heartbeat.is_stale()
    yield GaugeMetricFamily("bridge_up", "1 if the bridge's ping came back lately.", value=float(up))
    if heartbeat is None:
        return
    age = (timezone.now() - heartbeat.beat_at).total_seconds()
    yield GaugeMetricFamily("bridge_heartbeat_age_seconds", "Since the last ping came back.", value=age)
    yield GaugeMetricFamily(
        "bridge_round_trip_seconds",
        "Through broker, handler and database.",
        value=heartbeat.round_trip_ms / 1000,
    )
    messages = CounterMetricFamily("bridge_messages", "What became of messages.", labels=["outcome"])
    for outcome, count in heartbeat.counters.items():
        messages.add_metric([outcome], count)
    yield messages


def certificate_metrics() -> Iterator[Metric]:
    """How long each certificate is still valid, as a worker last saw it, at most an hour ago."""
    found = GaugeMetricFamily(
        "certificate_expiry_seconds", "Until the certificate expires; below 0: since it did.", labels=["name"]
    )
    now = timezone.now()
    for name, expires_at in Certificate.objects.values_list("name", "expires_at"):
        found.add_metric([name], (expires_at - now).total_seconds())
    yield found


def cached_metrics() -> list[Metric]:
    """The rest; scrapes at one time read it once."""
    global _cached
    with _lock:
        read_at, found = _cached
        if monotonic() - read_at >= CACHED:
            found = [*call_metrics(), *file_metrics(), *device_metrics(), *broker_metrics(), *journal_metrics()]
            _cached = monotonic(), found
    return found


def call_metrics() -> Iterator[Metric]:
    """Commands whose end is not known yet: few, and with an index of their own."""
    now = timezone.now()
    counts = dict(ServiceCall.objects.open().order_by().values_list("status").annotate(Count("pk")))
    calls = GaugeMetricFamily("service_calls_open", "Commands without an end, by state.", labels=["status"])
    for status in OPEN_STATUSES:
        calls.add_metric([status], counts.get(status, 0))
    yield calls
    oldest = ServiceCall.objects.to_be_sent(now).aggregate(oldest=Min(Coalesce("retry_at", "created")))["oldest"]
    yield GaugeMetricFamily(
        "service_calls_oldest_queued_seconds",
        "Age of the oldest command that could be sent now.",
        value=(now - oldest).total_seconds() if oldest else 0,
    )
    late = now - OVERDUE
    is_late = Q(status=ServiceCall.Status.QUEUED, expires__lt=late) | Q(deadline__lt=late)
    yield GaugeMetricFamily(
        "service_calls_overdue",
        "Commands whose time was up a minute ago, and that nobody closed.",
        value=ServiceCall.objects.open().filter(is_late).count(),
    )


def file_metrics() -> Iterator[Metric]:
    """Imports and exports that no worker has taken."""
    oldest = FileJob.objects.filter(status=FileJob.Status.QUEUED).aggregate(oldest=Min("created"))["oldest"]
    yield GaugeMetricFamily(
        "file_jobs_oldest_waiting_seconds",
        "Age of the oldest import or export that no worker has taken.",
        value=(timezone.now() - oldest).total_seconds() if oldest else 0,
    )


def device_metrics() -> Iterator[Metric]:
    """How many devices speak."""
    online = DeviceState.objects.filter(online=True).count()
    yield GaugeMetricFamily("devices_online", "Devices that count as online, aircraft included.", value=online)


def broker_metrics() -> Iterator[Metric]:
    """Whether `manage.py mqtt_acl` keeps up; with EMQX, which asks us each time, there is nothing to keep up with."""
    kinds = BrokerAccount.Kind
    kept = {kinds.DOCK: settings.MQTT_ADMIN_URL, kinds.ENROLMENT: settings.ENROLMENT_MQTT_ADMIN_URL}
    changed = BrokerAccount.objects.filter(kind__in=[kind for kind, url in kept.items() if url])
    late = changed.filter(applied_at=None, updated__lt=timezone.now() - OVERDUE)
    yield GaugeMetricFamily(
        "broker_accounts_out_of_step",
        "Accounts that were changed a minute ago, and that the broker has not taken.",
        value=late.count(),
    )


def journal_metrics() -> Iterator[Metric]:
    """The journal's size as PostgreSQL estimates it: counting millions of rows takes seconds."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples, pg_total_relation_size(oid) FROM pg_class WHERE oid = %s::regclass",
            [Exchange._meta.db_table],
        )
        [(rows, size)] = cursor.fetchall()
    yield GaugeMetricFamily("journal_rows", "Rows of the journal, an estimate.", value=max(0.0, rows))  # -1: unknown
    yield GaugeMetricFamily("journal_bytes", "The journal with its indexes, on disk.", value=size)


def redis_metrics() -> Iterator[Metric]:
    """Whether Redis answers, and how many tasks wait in it for a worker."""
    waiting: int | None = None
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_PATIENCE, socket_connect_timeout=REDIS_PATIENCE
        ) as client:
            waiting = int(client.llen(settings.CELERY_TASK_DEFAULT_QUEUE))
    except redis.RedisError:
        pass
    yield GaugeMetricFamily("redis_up", "1 if Redis answers.", value=float(waiting is not None))
    if waiting is not None:
        yield GaugeMetricFamily("task_queue_messages", "Tasks that no worker has taken.", value=waiting)
