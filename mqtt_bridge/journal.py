"""The journal: one row for every control message of a device and our answer to it."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar, cast

import msgspec
from django.conf import settings
from django.db import DataError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from mqtt_bridge.bulk import append
from mqtt_bridge.dispatch import Handled
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from mqtt_bridge.protocol import envelope as envelopes
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.journal import redact
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.timeouts import is_locked

logger = logging.getLogger(__name__)

PAYLOAD_CAP = 8 * 1024  # characters kept of a payload or a reply
ROW = 200  # bytes that a row takes beside them, about
MAX_GATEWAYS = 100_000  # whose share of today is known
STRANGERS = 20  # shares of a gateway that have together all which belong to nobody: anybody may name ever new ones
MAX_WAITING = 20_000  # rows kept while the journal cannot be written; of more the oldest are lost

LEFT_PATIENCE = timedelta(seconds=10)  # another service has to answer by then
ANSWER_WINDOW = timedelta(minutes=10)  # a later answer is not looked for
ANSWERED = {Channel.REQUESTS_REPLY: Channel.REQUESTS, Channel.EVENTS_REPLY: Channel.EVENTS}

_waiting: list[Exchange] = []  # what could not be written yet

Owners = Callable[[Mapping[str, Collection[Channel]]], dict[str, int | None]]


def write(handled: Sequence[Handled]) -> dict[str, int | None]:
    """Save what was said and answered, in bulk: one query for the owners, who are returned, one for the rows."""
    if not (handled or _waiting) or not settings.JOURNAL_ENABLED:
        return {}
    spoken: defaultdict[str, set[Channel]] = defaultdict(set)
    for item in handled:
        spoken[item.sn].add(item.channel)
    owners = cast("Owners", import_string(settings.GATEWAY_OWNERS))(spoken)
    rows = [_row(item, owners.get(item.sn)) for item in handled if not item.is_passing]
    if passing := [item for item in handled if item.is_passing and not _is_full(owners.get(item.sn))]:
        _count(passing, owners)
        traced = _traced({item.sn for item in passing}, timezone.now())
        rows += [_row(item, owners.get(item.sn)) for item in passing if traced.get(item.sn, -1) == owners.get(item.sn)]
    _save([*_waiting, *_within_allowance(rows, owners)])
    return owners


def _save(rows: list[Exchange]) -> None:
    """Insert these rows; while somebody has locked an organization of theirs, they wait for the next time."""
    try:
        append(Exchange, rows)
    except DataError:
        _write_singly(rows)
    except OperationalError as error:
        if not is_locked(error):
            raise
        logger.warning("The journal cannot be written, a row or a table is locked: %d rows wait", len(rows))
        _waiting[:] = rows[-MAX_WAITING:]
        return
    _waiting.clear()


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


def _traced(sns: Iterable[str], now: datetime) -> dict[str, int | None]:
    """For whom these devices are traced now: by serial number, the primary key of an organization."""
    running = Trace.objects.filter(gateway_sn__in=sns, until__gt=now)
    return {trace.gateway_sn: trace.organization_id for trace in running}


def _count(items: Sequence[Handled], owners: Mapping[str, int | None]) -> None:
    """Keep the latest event of each kind and count: one query to read, one to write. There is one active bridge.

    What a former owner's device sent is replaced, not counted on.
    """
    known = {
        (row.gateway_sn, row.method): row
        for row in PassingEvent.objects.filter(gateway_sn__in={item.sn for item in items}).defer("payload")
    }
    kinds = Counter(sn for sn, _ in known)
    changed: dict[tuple[str, str], PassingEvent] = {}
    for item in items:
        key = (item.sn, item.method[:64])
        if key not in known and kinds[item.sn] >= PassingEvent.MAX_KINDS:
            key = (item.sn, "")
        kinds[item.sn] += key not in known
        before = known.get(key)
        at, owner = item.delivery.received_at, owners.get(item.sn)
        is_first = before is None or before.organization_id != owner
        if is_first and owner is None:
            _Today.strangers.size += ROW + len(item.delivery.payload)
        known[key] = changed[key] = PassingEvent(
            gateway_sn=item.sn,
            organization_id=owner,
            method=key[1],
            count=1 if is_first or before is None else before.count + 1,
            first_at=at if is_first or before is None else before.first_at,
            last_at=at,
            payload=_payload(item),
        )
    PassingEvent.objects.bulk_create(
        changed.values(),
        update_conflicts=True,
        unique_fields=["gateway_sn", "method"],
        update_fields=["organization", "count", "first_at", "last_at", "payload"],
    )


# --- how much is kept --------------------------------------------------------------------------


@dataclass
class _Kept:
    """What one gateway has in the journal of today, for one owner; or all gateways that nobody owns."""

    size: int = 0  # bytes
    skipped: int = 0  # messages
    noted: int = 0  # of those, as the notice has it
    noted_at: datetime | None = None  # `received_at` of the notice


class _Today:
    """In memory, so that it costs no query: after a restart of the bridge each gateway may fill its share again."""

    day: date | None = None
    kept: ClassVar[defaultdict[tuple[str, int | None], _Kept]] = defaultdict(_Kept)
    strangers: ClassVar[_Kept] = _Kept()


def _within_allowance(rows: list[Exchange], owners: Mapping[str, int | None]) -> list[Exchange]:
    """Leave out what is beyond JOURNAL_BYTES_PER_DAY of its gateway, but for a notice that says so, once a day.

    A stranger is who has no owner, whatever organization it names.
    """
    if not settings.JOURNAL_BYTES_PER_DAY:
        return rows
    today = timezone.now().date()
    if _Today.day != today or len(_Today.kept) > MAX_GATEWAYS:
        note_skipped()
        _Today.kept.clear()
    if _Today.day != today:
        _Today.day, _Today.strangers = today, _Kept()
    written = []
    for row in rows:
        owner = owners.get(row.gateway_sn)
        if _is_full(owner):
            kept, sn, organization = _Today.strangers, "", None
        else:
            sn, organization = row.gateway_sn, row.organization_id
            kept = _Today.kept[sn, organization]
            if kept.size < settings.JOURNAL_BYTES_PER_DAY:
                size = len(row.payload.encode()) + len(row.reply.encode()) + ROW
                kept.size += size
                if owner is None:
                    _Today.strangers.size += size
                written.append(row)
                continue
        kept.skipped += 1
        if kept.noted_at is None:
            kept.noted, kept.noted_at = 1, row.received_at
            written.append(
                Exchange(
                    gateway_sn=sn,
                    organization_id=organization,
                    channel=row.channel,
                    received_at=row.received_at,
                    outcome=Exchange.Outcome.IGNORED,
                    reason=_notice(sn, 1),
                )
            )
    return written


def _is_full(owner: int | None) -> bool:
    """Whether nothing more is kept today of who is not known yet, because strangers said too much."""
    limit = STRANGERS * settings.JOURNAL_BYTES_PER_DAY
    return owner is None and limit > 0 and _Today.strangers.size >= limit


def _why(sn: str) -> str:
    return Exchange.FULL if sn else Exchange.FULL_OF_STRANGERS


def _notice(sn: str, skipped: int) -> str:
    return f"{_why(sn)}: {skipped} more are not kept"


def note_skipped(**_tick: object) -> None:
    """Bring the notices up to date; a statement for each gateway that was beyond its allowance since the last time."""
    for sn, kept in [("", _Today.strangers), *((sn, kept) for (sn, _), kept in _Today.kept.items())]:
        if kept.noted_at is not None and kept.skipped != kept.noted:
            notices = Exchange.objects.filter(gateway_sn=sn, received_at=kept.noted_at, method="")
            notices.filter(reason__startswith=_why(sn)).update(reason=_notice(sn, kept.skipped))
            kept.noted = kept.skipped


# --- what others answer ------------------------------------------------------------------------


def note_answers(deliveries: Iterable[Delivery]) -> None:
    """Note the answers of other services to what was left to them; two queries if there are any."""
    answers: dict[tuple[str, str, str], tuple[Any, datetime]] = {}
    for delivery in deliveries:
        with suppress(RemoteProtocolError):
            sn, channel = topics.parse(delivery.topic)
            if channel in ANSWERED:
                envelope = envelopes.decode(delivery.payload, channel=channel)
                answers[sn, ANSWERED[channel], envelope.tid] = envelope.data, delivery.received_at
    if not answers:
        return
    left = Exchange.objects.filter(
        outcome=Exchange.Outcome.LEFT,
        reply="",
        received_at__gt=timezone.now() - ANSWER_WINDOW,
        gateway_sn__in={sn for sn, _, _ in answers},
        tid__in={tid for _, _, tid in answers},
    )
    found = []
    for row in left.only("gateway_sn", "channel", "tid", "received_at"):
        if answer := answers.get((row.gateway_sn, row.channel, row.tid)):
            data, at = answer
            row.reply = _text(data)
            row.reason = f"{Exchange.LEFT_TO_OTHERS}; answered after {(at - row.received_at).total_seconds():.1f} s"
            found.append(row)
    Exchange.objects.bulk_update(found, ["reply", "reason"])


def mark_unanswered(*, listening_since: datetime, now: datetime | None = None) -> int:
    """Say of what was left to others, and what nobody has answered for LEFT_PATIENCE, that it is so; returns how many.

    Only silence that the bridge listened to counts. An answer that comes later is still noted.
    """
    now = now or timezone.now()
    limit = now - LEFT_PATIENCE
    if not settings.MQTT_LEAVE_METHODS or listening_since > limit:
        return 0
    waiting = Exchange.objects.filter(
        outcome=Exchange.Outcome.LEFT,
        reason=Exchange.LEFT_TO_OTHERS,
        received_at__lt=limit,
        received_at__gt=now - ANSWER_WINDOW,
    )
    marked = waiting.update(reason=Exchange.UNANSWERED)
    if marked:
        logger.warning("Nobody answered %d messages that MQTT_LEAVE_METHODS leaves to others", marked)
    return marked


def _device_time(timestamp: int | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp is not None else None
    except (OverflowError, ValueError, OSError):
        return None  # a clock beyond the year 9999
