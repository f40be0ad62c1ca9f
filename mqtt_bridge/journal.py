"""The journal: one row for every control message of a device and our answer to it."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any, cast

import msgspec
from django.conf import settings
from django.db import DataError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from mqtt_bridge.bulk import append
from mqtt_bridge.dispatch import Handled
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol.journal import redact
from mqtt_bridge.protocol.topics import Channel

logger = logging.getLogger(__name__)

PAYLOAD_CAP = 8 * 1024  # characters kept of a payload or a reply
PRUNE_CHUNK = 1_000  # rows deleted at once
PRUNE_TIME = 0.3  # seconds that docks wait for the bridge at most

Owners = Callable[[Mapping[str, Collection[Channel]]], dict[str, int | None]]


def write(handled: Sequence[Handled]) -> None:
    """Save what was said and answered, in bulk: one query for the owners, one for the rows."""
    if not handled or not settings.JOURNAL_ENABLED:
        return
    spoken: defaultdict[str, set[Channel]] = defaultdict(set)
    for item in handled:
        spoken[item.sn].add(item.channel)
    owners = cast("Owners", import_string(settings.GATEWAY_OWNERS))(spoken)
    rows = [_row(item, owners.get(item.sn)) for item in handled]
    try:
        append(Exchange, rows)
    except DataError:
        _write_singly(rows)


def _write_singly(rows: Iterable[Exchange]) -> None:
    """Save all rows but those that the database refuses, which must not keep the others out."""
    for row in rows:
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except DataError:
            logger.exception("A journal row of %s is lost", row.gateway_sn)


def _row(item: Handled, owner: int | None) -> Exchange:
    envelope = item.envelope
    return Exchange(
        gateway_sn=item.sn,
        organization_id=owner or item.organization_id,
        channel=item.channel,
        method=item.method[:64],
        tid=envelope.tid if envelope else "",
        bid=envelope.bid if envelope else "",
        received_at=item.delivery.received_at,
        device_time=_device_time(envelope.timestamp if envelope else None),
        payload=_payload(item),
        reply=_text(item.reply_data) if item.reply else "",
        outcome=item.outcome,
        reason=item.reason[:200],
    )


def _payload(item: Handled) -> str:
    """The message's data without its secrets; of what could not be parsed only how large it was and its hash."""
    payload = item.delivery.payload
    if item.envelope is None or not item.parsed:
        return f"{len(payload)} bytes, SHA-256 {sha256(payload).hexdigest()}"
    return _text(item.envelope.data)


def _text(data: Any) -> str:
    return msgspec.json.encode(redact(data)).decode()[:PAYLOAD_CAP]


def _device_time(timestamp: int | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp is not None else None
    except (OverflowError, ValueError, OSError):
        return None  # a clock beyond the year 9999


def prune(*, now: datetime | None = None, **_tick: object) -> int:
    """Delete rows older than JOURNAL_DAYS, for at most PRUNE_TIME; returns how many went."""
    limit = (now or timezone.now()) - timedelta(days=settings.JOURNAL_DAYS)
    until = monotonic() + PRUNE_TIME
    total = deleted = _prune_chunk(limit)
    while deleted == PRUNE_CHUNK and monotonic() < until:
        deleted = _prune_chunk(limit)
        total += deleted
    return total


def _prune_chunk(limit: datetime) -> int:
    old = Exchange.objects.filter(received_at__lt=limit).order_by("received_at").values_list("pk", flat=True)
    deleted, _ = Exchange.objects.filter(pk__in=list(old[:PRUNE_CHUNK])).delete()
    return deleted
