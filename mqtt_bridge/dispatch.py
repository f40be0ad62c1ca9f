"""A batch of messages to their handlers and the answers back, without a broker.

A batch is cut into waves: wave k holds each device's k-th message, so that one device's messages stay in
order. Inside a wave the messages of one (channel, method) go to their handler together, which makes the number
of queries depend on the kinds of messages, not on their number. Where the route allows it, what a device says
several times in a row is one message for this purpose: else a flood from one dock would be a wave per message.

A message passes three stages, each made once and never changed: a `Delivery` (what arrived), a `Decoded` (what it
says and which route it takes), a `Result` (what became of it). Handlers see none of them, but a plain `Message`.
"""

import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_noop

from mqtt_bridge.database.timeouts import SHORT_WAIT, DatabaseUnavailableError, is_away, is_locked, wait_for_locks
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.monitoring import log_fields, metrics
from mqtt_bridge.protocol import envelope as envelopes
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.envelope import Envelope, RefusedMessageError
from mqtt_bridge.protocol.errors import ProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data
from mqtt_bridge.protocol.redaction import Confidential
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.protocol.topology import says_offline
from mqtt_bridge.router import FALLBACKS, NOT_ENROLLING, Message, Reply, ReplyData, Route, find, label, noted

logger = logging.getLogger(__name__)

CONTROL_CHANNELS = frozenset(FALLBACKS)
# in the journal
HANDLER_FAILED = gettext_noop("handler failed")
UNSENDABLE = gettext_noop("reply cannot be sent")
LONGEST_HOLD = timedelta(seconds=120)  # that a message is put back again and again before it is given up
# Of a message that could not be read, or that nobody reads. Without a tid it is not answered.
UNREAD = Envelope(tid="", bid="", method="", timestamp=None, gateway="", need_reply=False, data=None)
UNREAD_ROUTE: Route[object] = Route(noted)


class Decoded(NamedTuple):
    """What a delivery says, as far as it could be read, and which route it takes."""

    delivery: Delivery
    sn: str  # the topic's: it is a serial number, and the only identity that is believed
    channel: Channel
    route: Route[Any] = UNREAD_ROUTE
    envelope: Envelope = UNREAD  # all that was sent, or what an answer needs of it (see RefusedMessageError)
    is_parsed: bool = False  # the envelope is all that was sent
    data: object = None  # the envelope's, of the type that the route names; None if it cannot be handled

    @property
    def gateway(self) -> str:
        """Whose messages it must stay in order with: the real dock waits for nothing that came through enrolment."""
        return self.delivery.gateway

    @property
    def asks(self) -> bool:
        """Whether the device waits for an answer, ours or another service's."""
        if not self.envelope.tid or topics.reply_channel(self.channel) is None:
            return False
        return self.channel is not Channel.EVENTS or self.envelope.need_reply

    @property
    def is_sign_of_life(self) -> bool:
        """Whether the device itself sent this just now.

        Not what the broker kept or sends in its name: a last will, and what has no tid, for a last will is often that.
        Nor what came through enrolment: anybody with an enrolment account may have sent it. Nor an aircraft's events,
        which its dock sends: one may follow the topology that says that it is off.
        """
        if self.delivery.retained or self.delivery.by_enrolment:
            return False
        if not self.is_parsed:
            return True
        is_farewell = self.channel is Channel.STATUS and says_offline(self.envelope.data)
        is_of_aircraft = self.channel is Channel.EVENTS and self.envelope.gateway not in ("", self.sn)
        return bool(self.envelope.tid) and not is_farewell and not is_of_aircraft


class Result(NamedTuple):
    """What became of a message, once that is committed: the answer to publish, and the facts for the journal."""

    decoded: Decoded
    outcome: Exchange.Outcome
    reason: str = ""  # why it was refused, or what there is to remark
    organization_id: int | None = None  # whom it concerns if nobody owns the gateway
    cost: int = 0  # tokens, beside those of the message
    is_passing: bool = False  # an event that was read and that nobody acts on
    reply: bytes = b""  # to be published; empty if nobody waits for one
    reply_data: ReplyData | None = None  # the `data` in it
    is_owner: bool = False  # `organization_id` owns the gateway

    @property
    def reply_topic(self) -> str:
        return topics.reply_topic(self.decoded.delivery.topic)

    @property
    def qos(self) -> int:
        """At which quality it is published.

        A broker keeps QoS 1 for a dock that is away, and its file holds it beyond its expiry until the dock is back. A
        dock that got no license asks again.
        """
        return 0 if isinstance(self.reply_data, Confidential) else 1

    @property
    def refused_why(self) -> str:
        """Why the message could not be read, for the device's page; "" if it could."""
        return f"{self.decoded.channel}: {self.reason}" if self.outcome == Exchange.Outcome.QUARANTINED else ""


class Wave(NamedTuple):
    """What one step of a batch led to."""

    results: list[Result]  # decided and committed
    held: list[Delivery]  # came across a locked row, or after a message of their device that did: to be tried again


def handle(deliveries: Iterable[Delivery]) -> Iterator[Wave]:
    """Handle a batch; yields wave by wave what is ready to be published. The caller tries again later what is held.

    Raises DatabaseUnavailableError as soon as the database does not answer; what was yielded before stands.
    """
    read = [_decode(delivery) for delivery in deliveries]
    refused = [item for item in read if isinstance(item, Result)]
    items, kept_out = _keep_out([item for item in read if isinstance(item, Decoded)])
    if refused or kept_out:
        yield Wave(refused + kept_out, [])
    locked: set[str] = set()  # gateways of which something is held
    for wave in _waves(items):
        # The row of a message that was held may still be locked: no other device must wait for it, and what the same
        # device sent after it must not overtake it.
        returned = {item.gateway for item in wave if item.delivery.was_held}
        groups: defaultdict[tuple[bool, bool, Channel, str, bool], list[Decoded]] = defaultdict(list)
        for item in wave:
            if item.gateway not in locked:
                kind = item.channel, item.envelope.method, item.delivery.by_enrolment
                groups[(item.gateway in returned, item.route.writes, *kind)].append(item)
        results: list[Result] = []
        for (is_returned, *_), group in sorted(groups.items(), key=lambda one: one[0][:2]):  # first what only reads
            results += _attempt_each(group, locked) if is_returned else _attempt(group, locked)
        done = {result.decoded.delivery for result in results}
        yield Wave(results, [item.delivery for item in wave if item.delivery not in done])


def _decode(delivery: Delivery) -> Decoded | Result | None:
    """Read one delivery; a Result if it is refused at once; None for a topic that no device may use."""
    try:
        sn, channel, by_enrolment = topics.parse(delivery.topic)
    except RemoteProtocolError:
        return None
    if channel not in CONTROL_CHANNELS:
        return None
    if delivery.retained:
        return Result(Decoded(delivery, sn, channel), Exchange.Outcome.IGNORED, gettext_noop("retained message"))
    route: Route[Any] = UNREAD_ROUTE
    envelope, is_parsed = UNREAD, False
    try:
        envelope = envelopes.decode(delivery.payload, channel=channel)
        is_parsed = True
        route = find(channel, envelope.method, by_enrolment=by_enrolment)
        data = envelope.data if route.data is None else decode_data(route.data, envelope.data)
    except RemoteProtocolError as error:
        if isinstance(error, RefusedMessageError) and error.envelope is not None:
            envelope = error.envelope
            is_parsed = not envelope.tid  # only a tid is missing: all else was read
            route = find(channel, envelope.method, by_enrolment=by_enrolment)
        outcome, reason = Exchange.Outcome.QUARANTINED, f"{error.reason}: {error.detail}"
    except Exception:
        # Our own fault: the broker would send the message again and again if it stopped the bridge.
        with log_fields.about(sn=sn):
            logger.exception("The decoder failed on a message of %s", sn)
        outcome, reason = Exchange.Outcome.ERROR, gettext_noop("decoder failed")
    else:
        return Decoded(delivery, sn, channel, route, envelope, is_parsed, data)
    return _refuse(Decoded(delivery, sn, channel, route, envelope, is_parsed), outcome, reason)


def _keep_out(items: Sequence[Decoded]) -> tuple[list[Decoded], list[Result]]:
    """Refuse what may not come through enrolment; returns the other messages, and these results.

    Only methods of the onboarding, and only of docks that have no account of their own to speak with.
    """
    asking = {item.sn for item in items if item.delivery.by_enrolment}
    if not asking:
        return list(items), []
    admit: Callable[[Set[str]], Set[str]] = import_string(settings.ENROLMENT_GATE)
    admitted = admit(asking)
    handled, kept_out = [], []
    for item in items:
        if not item.delivery.by_enrolment or (item.sn in admitted and item.route is not NOT_ENROLLING):
            handled.append(item)
            continue
        outcome = Exchange.Outcome.ANSWERED if item.asks else Exchange.Outcome.IGNORED
        reason = Exchange.HAS_ACCOUNT if item.sn not in admitted else Exchange.NOT_ENROLLING
        kept_out.append(_refuse(item, outcome, reason))
    return handled, kept_out


def _waves(items: Iterable[Decoded]) -> list[list[Decoded]]:
    """Wave k: each device's k-th message, or its k-th run of messages where the route takes runs."""
    waves: list[list[Decoded]] = []
    latest: dict[str, tuple[int, tuple[Channel, str]]] = {}  # of each gateway: its wave, channel and method
    for item in items:
        kind = item.channel, item.envelope.method
        position, before = latest.get(item.gateway, (-1, None))
        if kind != before or not item.route.runs:
            position += 1
        latest[item.gateway] = position, kind
        if position == len(waves):
            waves.append([])
        waves[position].append(item)
    return waves


def _attempt(group: Sequence[Decoded], locked: set[str]) -> list[Result]:
    """Handle a group together; if that fails, message by message."""
    try:
        replies = _run(group)
    except DatabaseUnavailableError:
        raise
    except Exception:
        return _attempt_each(group, locked)
    return [_answer(item, reply) for item, reply in zip(group, replies, strict=True)]


def _attempt_each(items: Iterable[Decoded], locked: set[str]) -> list[Result]:
    """Handle message by message, so that none harms another; what still fails is answered with an error.

    A message that comes across a locked row, unless it is too old, has no result: its gateway is added to `locked`, of
    which nothing more is handled.
    """
    results: list[Result] = []
    for item in items:
        if item.gateway in locked:
            continue
        try:
            [reply] = _run([item], lock_wait=SHORT_WAIT)
        except DatabaseUnavailableError:
            raise
        except Exception as error:
            if is_locked(error) and timezone.now() - item.delivery.received_at < LONGEST_HOLD:
                locked.add(item.gateway)
                continue
            with _about(item):
                logger.error("No handler could cope with %s of %s", item.envelope.method, item.sn, exc_info=error)
            results.append(_refuse(item, Exchange.Outcome.ERROR, f"{HANDLER_FAILED}: {type(error).__name__}"))
        else:
            results.append(_answer(item, reply))
    return results


def _run(group: Sequence[Decoded], *, lock_wait: int | None = None, again: bool = True) -> Sequence[Reply | None]:
    """Call the handler, in a transaction if its route says so; once more if that may help.

    One transaction per group: a handler locks rows in the order of their keys, and two of them in one would not.
    `lock_wait` is in milliseconds, and in force only within one.
    """
    route, channel, method = group[0].route, group[0].channel, group[0].envelope.method
    messages = [
        Message(
            item.sn,
            channel,
            method,
            item.envelope.tid,
            item.envelope.bid,
            item.data,
            item.delivery.received_at,
            item.delivery.by_enrolment,
        )
        for item in group
    ]
    try:
        with (
            _about(group[0]) if len(group) == 1 else nullcontext(),
            metrics.handler_seconds.labels(channel, label(channel, method)).time(),
            transaction.atomic() if (route.writes and route.atomic) or lock_wait is not None else nullcontext(),
        ):
            if lock_wait is not None:
                wait_for_locks(connection, lock_wait)
            replies = route.handler(messages)
            if len(replies) != len(messages):
                raise RuntimeError(f"{len(messages)} messages got {len(replies)} replies")
            return replies
    except Exception as error:
        if again and not is_locked(error) and is_transient(error):
            return _run(group, lock_wait=lock_wait, again=False)
        raise


def _about(item: Decoded) -> AbstractContextManager[None]:
    """While it lasts, the log names this message."""
    return log_fields.about(sn=item.sn, tid=item.envelope.tid, bid=item.envelope.bid)


def _answer(item: Decoded, reply: Reply | None) -> Result:
    """The result of what a handler dealt with; its reply goes out if the device wants one."""
    route = item.route
    if route.left:
        is_passing = route.passing or not item.asks
        outcome = Exchange.Outcome.IGNORED if is_passing else Exchange.Outcome.LEFT
        return Result(item, outcome, Exchange.LEFT_TO_OTHERS, is_passing=is_passing)
    if reply is None:
        return Result(item, Exchange.Outcome.IGNORED, is_passing=route.passing)
    data, reason, organization_id, cost, is_owner = reply
    if not item.asks:
        return Result(item, Exchange.Outcome.IGNORED, reason, organization_id, cost, route.passing)
    try:
        encoded = _encode(item, data)
    except ProtocolError as error:
        refused = _refuse(item, Exchange.Outcome.ERROR, f"{UNSENDABLE}: {error}")
        return refused._replace(organization_id=organization_id, cost=cost)
    return Result(
        item, Exchange.Outcome.ANSWERED, reason, organization_id, cost, route.passing, encoded, data, is_owner
    )


def _refuse(item: Decoded, outcome: Exchange.Outcome, reason: str) -> Result:
    """The result of what was not understood or failed; the device is sent its route's failure if that is possible."""
    if item.route.left or not item.asks:
        return Result(item, outcome, reason)
    failure = item.route.failure
    return Result(item, outcome, reason, reply=_encode(item, failure), reply_data=failure)


def _encode(item: Decoded, data: ReplyData) -> bytes:
    return envelopes.encode(
        tid=item.envelope.tid,
        bid=item.envelope.bid,
        method=item.envelope.method,
        timestamp=time.time_ns() // 1_000_000,
        gateway=item.sn,
        data=data,
    )


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: a deadlock, a row somebody else made, a connection that broke and came back.

    Raises DatabaseUnavailableError if the database does not answer now.
    """
    if isinstance(error, IntegrityError):
        return True
    if not is_away(error):
        return False
    if isinstance(error.__cause__, sqlite3.OperationalError):  # locked, all of it, for longer than we wait
        raise DatabaseUnavailableError(str(error)) from error
    connection.close()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (OperationalError, InterfaceError) as gone:
        raise DatabaseUnavailableError(str(gone)) from error
    return True
