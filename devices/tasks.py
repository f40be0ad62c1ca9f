"""Celery tasks: publish what docks are asked to do. A task is a hint, the row decides."""

import logging
from collections.abc import Iterable
from time import monotonic
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from devices import service_calls
from mqtt_bridge.publisher import Publisher, publisher

logger = logging.getLogger(__name__)

# Seconds that one task may take for many calls; the sweep, every 5 s, goes on. SIGTERM waits for the task.
BUDGET = 4.0


@shared_task  # type: ignore[untyped-decorator]
def publish_service_call(call_id: str) -> None:
    """Publish one call, unless it was published, canceled or closed meanwhile."""
    _publish([UUID(call_id)])


@shared_task  # type: ignore[untyped-decorator]
def publish_service_calls(batch_id: str) -> None:
    """Publish the calls of a batch."""
    _publish(service_calls.waiting(timezone.now(), batch=UUID(batch_id)))


@shared_task  # type: ignore[untyped-decorator]
def sweep_service_calls() -> None:
    """Close what ran out of time, then publish what was committed but got no task, or lost it."""
    service_calls.close_overdue()
    _publish(service_calls.waiting(timezone.now()))


def _publish(call_ids: Iterable[UUID]) -> None:
    """Publish these in turn, as long as there are a broker and time; what is left stays queued."""
    line = publisher()
    end = monotonic() + BUDGET
    for call_id in call_ids:
        if monotonic() > end or not line.connect():
            return
        try:
            _publish_one(line, call_id)
        except Exception:
            logger.exception("Service call %s could not be published", call_id)


def _publish_one(line: Publisher, call_id: UUID) -> None:
    claim = service_calls.claim(call_id, now=timezone.now())
    if claim is None:
        return
    receipt = line.publish(claim.topic, claim.payload, qos=claim.qos, expiry=claim.expiry)
    service_calls.record_receipt(claim.call, receipt)
