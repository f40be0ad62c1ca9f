"""Celery tasks: publish what docks are asked to do. A task is a hint, the row decides."""

import logging
from collections.abc import Sequence
from time import monotonic
from uuid import UUID

from celery import shared_task
from django.utils import timezone
from prometheus_client import Counter, Histogram

from devices.calls import ending, scheduling, sending
from mqtt_bridge.line.publisher import Message, Publisher, Receipt, publisher
from mqtt_bridge.models import Heartbeat
from mqtt_bridge.monitoring import log_fields

logger = logging.getLogger(__name__)

published = Counter("service_calls_published", "Commands by what the broker said.", ["method", "receipt"])
wait_seconds = Histogram(
    "service_call_wait_seconds",
    "From asking for a command until it was published.",
    ["method"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600),
)

# Seconds that one task may take for many calls; the sweep, every 5 s, goes on. SIGTERM waits for the task.
BUDGET = 4.0


@shared_task  # type: ignore[untyped-decorator]
def publish_service_call(call_id: str) -> None:
    """Publish one call, unless it was published, canceled or closed meanwhile."""
    with log_fields.about(call=call_id):
        _publish([UUID(call_id)])


@shared_task  # type: ignore[untyped-decorator]
def publish_service_calls(call_ids: Sequence[str]) -> None:
    """Publish some calls that were made together, as `publish_service_call`."""
    if isinstance(call_ids, str):  # from a web process of the version before: a batch, whose calls the sweep publishes
        return
    _publish([UUID(call_id) for call_id in call_ids])


@shared_task  # type: ignore[untyped-decorator]
def sweep_service_calls() -> None:
    """Close what ran out of time, then publish what was committed but got no task, or lost it."""
    # The bridge has told it with its first ping, a moment after it began to listen; one that is away gets no grace.
    since = Heartbeat.objects.order_by("-started_at").values_list("started_at", flat=True).first()
    ending.close_overdue(listening_since=since)
    _publish(sending.waiting(timezone.now()))


@shared_task  # type: ignore[untyped-decorator]
def start_due_batches() -> None:
    """Start the batches whose time has come."""
    scheduling.start_due()


def _publish(call_ids: Sequence[UUID]) -> None:
    """Publish these in turn, as long as there are a broker and time; what is left stays queued."""
    line = publisher()
    end = monotonic() + BUDGET
    for start in range(0, len(call_ids), sending.AT_ONCE):
        if monotonic() > end or not line.connect():
            return
        _publish_some(line, call_ids[start : start + sending.AT_ONCE])


def _publish_some(line: Publisher, call_ids: Sequence[UUID]) -> None:
    """Publish these at once; if they cannot be claimed together, one by one, so that no call harms another."""
    try:
        claims = sending.claim_many(call_ids, now=timezone.now())
    except Exception:
        if len(call_ids) == 1:
            with log_fields.about(call=str(call_ids[0])):
                logger.exception("Service call %s could not be published", call_ids[0])
            return
        for call_id in call_ids:
            _publish_some(line, [call_id])
        return
    receipts = line.publish_many([Message(claim.topic, claim.payload, claim.qos, claim.expiry) for claim in claims])
    for claim, receipt in zip(claims, receipts, strict=True):
        published.labels(claim.call.method, receipt.value).inc()
        if receipt is not Receipt.NO_SUBSCRIBER:  # it may be one attempt of many
            wait_seconds.labels(claim.call.method).observe((timezone.now() - claim.call.created).total_seconds())
    sending.record_receipts(zip((claim.call for claim in claims), receipts, strict=True))
