"""The journal: one row for every control message of a device and our answer to it."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_noop

from mqtt_bridge.allowance import Allowance, Repeats
from mqtt_bridge.database import bulk
from mqtt_bridge.database.timeouts import is_locked
from mqtt_bridge.dispatch import Decoded, Result
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from mqtt_bridge.protocol import envelope as envelopes
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.redaction import redact
from mqtt_bridge.protocol.topics import Channel

logger = logging.getLogger(__name__)

PAYLOAD_CAP = 8 * 1024  # characters kept of a payload or a reply
MAX_UNWRITTEN = 20_000  # rows kept while the journal cannot be written; of more the oldest are lost

ANSWERED_AFTER = gettext_noop("answered after {seconds} s")
LEFT_PATIENCE = timedelta(seconds=10)  # another service has to answer by then
ANSWER_WINDOW = timedelta(minutes=10)  # a later answer is not looked for
ANSWERED = {Channel.REQUESTS_REPLY: Channel.REQUESTS, Channel.EVENTS_REPLY: Channel.EVENTS}

_unwritten: list[dict[str, Any]] = []  # what could not be written yet
_allowance = Allowance()
_repeats = Repeats()

Owners = Callable[[Mapping[str, Collection[Channel]]], dict[str, int | None]]


def write(results: Sequence[Result]) -> dict[str, int | None]:
    """Save what was received and answered, in bulk: one query for the owners that no handler knew, one for the rows.

    Events that nobody acts on are only counted, unless a `Trace` of their device runs, and of what a disabled gateway
    repeats most is only counted. Returns the owners: by serial number the primary key of an organization; not of what
    came through enrolment, where nobody is served first.
    """
    if not (results or _unwritten) or not settings.JOURNAL_ENABLED:
        return {}
    channels: defaultdict[str, set[Channel]] = defaultdict(set)
    claimed: dict[str, set[Channel]] = {}  # the serial numbers of what came through enrolment prove nothing
    owners: dict[str, int | None] = {}
    for result in results:
        if result.decoded.delivery.by_enrolment:
            claimed[result.decoded.sn] = {result.decoded.channel}
        elif result.is_owner:
            owners[result.decoded.sn] = result.organization_id
        else:
            channels[result.decoded.sn].add(result.decoded.channel)
    read_owners: Owners = import_string(settings.GATEWAY_OWNERS)
    if unknown := {sn: used for sn, used in channels.items() if sn not in owners}:
        owners |= read_owners(unknown)
    owners_of_claimed = read_owners(claimed) if claimed else {}
    rows = [
        _row(result, owners_of_claimed if result.decoded.delivery.by_enrolment else owners)
        for result in results
        if not result.is_passing
    ]
    passing = [
        result for result in results if result.is_passing and not _allowance.is_full(owners.get(result.decoded.sn))
    ]
    if passing:
        _count_passing([result.decoded for result in passing], owners)
        sns = {result.decoded.sn for result in passing}
        running = Trace.objects.filter(gateway_sn__in=sns, until__gt=timezone.now())
        traced = {trace.gateway_sn for trace in running if trace.organization_id == owners.get(trace.gateway_sn)}
        rows += [_row(result, owners) for result in passing if result.decoded.sn in traced]
    _save([*_unwritten, *_allowance.keep(_repeats.keep(rows), owners)])
    return owners


def note_skipped(**_tick: object) -> None:
    """Bring the notices of what is beyond a gateway's allowance up to date."""
    _allowance.update_notices()


def _save(rows: list[dict[str, Any]]) -> None:
    """Insert these rows; while one of their organizations is locked, they wait for the next time."""
    _unwritten.clear()
    try:
        try:
            bulk.insert(Exchange, rows)
            return
        except (DataError, IntegrityError):
            pass  # the one that the database refuses must not keep the others out
        while rows:
            try:
                with transaction.atomic():
                    bulk.insert(Exchange, rows[:1])
            except (DataError, IntegrityError):  # an organization may be gone that was locked for its deletion before
                logger.exception("A journal row of %s is lost", rows[0]["gateway_sn"])
            rows = rows[1:]
    except OperationalError as error:
        if not is_locked(error):
            raise
        logger.warning("The journal cannot be written, a row or a table is locked: %d rows wait", len(rows))
        _unwritten[:] = rows[-MAX_UNWRITTEN:]


def _row(result: Result, owners: Mapping[str, int | None]) -> dict[str, Any]:
    """The columns of a new `Exchange`: there are thousands a second, each an instance for nothing."""
    item = result.decoded
    timestamp = item.envelope.timestamp
    try:
        device_time = datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp is not None else None
    except (OverflowError, ValueError, OSError):
        device_time = None  # a clock beyond the year 9999
    return {
        "gateway_sn": item.sn,
        "organization_id": owners.get(item.sn) or result.organization_id,
        "channel": item.channel,
        "method": item.envelope.method[:64],
        "tid": item.envelope.tid,
        "bid": item.envelope.bid,
        "received_at": item.delivery.received_at,
        "device_time": device_time,
        "payload": _payload(item),
        "reply": _text(result.reply_data) if result.reply else "",
        "outcome": result.outcome,
        "reason": result.reason[:200],
        "by_enrolment": item.delivery.by_enrolment,
    }


def _payload(item: Decoded) -> str:
    """The message's data without its secrets; of what could not be parsed only its size and its hash."""
    if item.is_parsed:
        return _text(item.envelope.data)
    payload = item.delivery.payload
    return f"{len(payload)} bytes, SHA-256 {sha256(payload).hexdigest()}"


def _text(data: object) -> str:
    return msgspec.json.encode(redact(data)).decode()[:PAYLOAD_CAP]


def _count_passing(items: Sequence[Decoded], owners: Mapping[str, int | None]) -> None:
    """Keep the latest event of each kind and count: one query to read, one to write. There is one active bridge."""
    known = {
        (row.gateway_sn, row.method): row
        for row in PassingEvent.objects.filter(gateway_sn__in={item.sn for item in items}).defer("payload")
    }
    kinds = Counter(sn for sn, _ in known)
    changed: dict[tuple[str, str], PassingEvent] = {}
    for item in items:
        key = (item.sn, item.envelope.method[:64])
        if key not in known and kinds[item.sn] >= PassingEvent.MAX_KINDS:
            key = (item.sn, "")
        kinds[item.sn] += key not in known
        owner, at, before = owners.get(item.sn), item.delivery.received_at, known.get(key)
        if before is not None and before.organization_id != owner:
            before = None  # what a former owner's device sent is replaced, not counted on
        if before is None and owner is None:
            _allowance.count_stranger(len(item.delivery.payload))
        known[key] = changed[key] = PassingEvent(
            gateway_sn=item.sn,
            organization_id=owner,
            method=key[1],
            count=before.count + 1 if before else 1,
            first_at=before.first_at if before else at,
            last_at=at,
            payload=_payload(item),
        )
    PassingEvent.objects.bulk_create(
        changed.values(),
        update_conflicts=True,
        unique_fields=["gateway_sn", "method"],
        update_fields=["organization", "count", "first_at", "last_at", "payload"],
    )


# --- what others answer ------------------------------------------------------------------------


def note_answers(deliveries: Iterable[Delivery]) -> None:
    """Note the answers of other services to what was left to them; two queries if there are any."""
    answers: dict[tuple[str, str, str], tuple[object, datetime]] = {}
    for delivery in deliveries:
        with suppress(RemoteProtocolError):
            sn, channel, _ = topics.parse(delivery.topic)
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
            after = ANSWERED_AFTER.format(seconds=f"{(at - row.received_at).total_seconds():.1f}")
            row.reason = f"{Exchange.LEFT_TO_OTHERS}; {after}"
            found.append(row)
    Exchange.objects.bulk_update(found, ["reply", "reason"])


def mark_unanswered(*, listening_since: datetime, now: datetime | None = None) -> int:
    """Mark what was left to others and has had no answer for LEFT_PATIENCE; returns how many messages that is.

    Only silence since `listening_since` counts. An answer that comes later is still noted.
    """
    now = now or timezone.now()
    limit = now - LEFT_PATIENCE
    if not settings.MQTT_LEAVE_METHODS or listening_since > limit:
        return 0
    unanswered = Exchange.objects.filter(
        outcome=Exchange.Outcome.LEFT,
        reason=Exchange.LEFT_TO_OTHERS,
        received_at__lt=limit,
        received_at__gt=now - ANSWER_WINDOW,
    )
    marked = unanswered.update(reason=Exchange.UNANSWERED)
    if marked:
        logger.warning("Nobody answered %d messages that MQTT_LEAVE_METHODS leaves to others", marked)
    return marked
