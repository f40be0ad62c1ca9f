"""A batch of messages to their handlers and the answers back, without a broker.

A batch is cut into waves: wave k holds each device's k-th message, so that one device's messages stay in
order. Inside a wave the messages of one (channel, method) go to their handler together, which makes the number
of queries depend on the kinds of messages, not on their number. Where the route allows it, what a device says
several times in a row is one message for this purpose: else a flood from one dock would be a wave per message.
"""

import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import envelope as envelopes
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.envelope import Envelope, RefusedMessageError
from mqtt_bridge.protocol.errors import ProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.protocol.topology import says_offline
from mqtt_bridge.router import LEFT, LEFT_PASSING, Message, Reply, Route, failed, find
from mqtt_bridge.timeouts import SHORT_WAIT, is_away, is_locked, wait_for_locks

logger = logging.getLogger(__name__)

CONTROL_CHANNELS = frozenset(
    {Channel.REQUESTS, Channel.EVENTS, Channel.STATUS, Channel.SERVICES_REPLY, Channel.PROPERTY_SET_REPLY}
)


LONGEST_HOLD = timedelta(seconds=120)  # that a message is put back again and again before it is given up


class DatabaseUnavailableError(Exception):
    """The database does not answer: nothing of the batch may be acknowledged."""


class Handled:
    """What became of one delivery: who it was from, the answer to publish, the facts for the journal."""

    __slots__ = (
        "channel", "cost", "delivery", "envelope", "is_held", "message", "method", "organization_id",
        "outcome", "parsed", "reason", "reply", "reply_data", "reply_topic", "route", "sn",
    )  # fmt: skip

    def __init__(self, delivery: Delivery, sn: str, channel: Channel) -> None:
        self.delivery = delivery
        self.sn = sn
        self.channel = channel
        self.method = ""
        self.envelope: Envelope | None = None
        self.parsed = False
        self.message: Message | None = None
        self.route: Route | None = None
        self.outcome: str = Exchange.Outcome.IGNORED
        self.reason = ""
        self.organization_id: int | None = None
        self.cost = 0  # tokens
        self.is_held = False  # somebody has locked a row that it changes: nothing came of it yet
        self.reply = b""
        self.reply_data: Any = None
        self.reply_topic = ""

    @property
    def refused_why(self) -> str:
        """Why the message could not be read, for the device's page; "" if it could."""
        return f"{self.channel}: {self.reason}" if self.outcome == Exchange.Outcome.QUARANTINED else ""

    def answer(self, reply: Reply | None) -> None:
        """Note the handler's reply; it goes out if the sender wants one."""
        if self._is_left:
            self.reason = Exchange.LEFT_TO_OTHERS
            self.outcome = Exchange.Outcome.IGNORED if self.is_passing else Exchange.Outcome.LEFT
        if reply is None:
            return
        self.reason = reply.reason
        self.organization_id = reply.organization_id
        self.cost = reply.cost
        if not self._wants_reply():
            return
        try:
            self._encode(reply.data)
            self.outcome = Exchange.Outcome.ANSWERED
        except ProtocolError as error:
            self.refuse(Exchange.Outcome.ERROR, f"reply cannot be sent: {error}", _failure(self.route))

    def refuse(self, outcome: str, reason: str, failure: Any) -> None:
        """Note that the message was not understood or failed, and say so to the sender if that is possible."""
        self.outcome = outcome
        self.reason = reason
        if self._wants_reply():
            self._encode(failure)

    @property
    def is_sign_of_life(self) -> bool:
        """Whether the device itself said this just now.

        Not what the broker kept or sends in its name: a last will, and what has no tid, for a last will is often that.
        """
        if self.delivery.retained:
            return False
        if self.envelope is None:
            return True
        is_farewell = self.channel is Channel.STATUS and says_offline(self.envelope.data)
        return bool(self.envelope.tid) and not is_farewell

    @property
    def is_passing(self) -> bool:
        """Whether this is an event that was read and that nobody acts on."""
        if self.message is None or self.route is None or self.outcome == Exchange.Outcome.ERROR:
            return False
        return self.route.passing or (self._is_left and not self._asks)

    @property
    def _is_left(self) -> bool:
        return self.route is LEFT or self.route is LEFT_PASSING

    @property
    def _asks(self) -> bool:
        """Whether the sender waits for an answer, ours or another's."""
        if self.envelope is None or not self.envelope.tid or topics.reply_channel(self.channel) is None:
            return False
        return self.channel is not Channel.EVENTS or self.envelope.need_reply

    def _wants_reply(self) -> bool:
        return self._asks and not self._is_left

    def _encode(self, data: Any) -> None:
        assert self.envelope is not None  # noqa: S101  (_wants_reply said so)
        self.reply_topic = topics.reply_topic(self.delivery.topic)
        self.reply_data = data
        self.reply = envelopes.encode(
            tid=self.envelope.tid,
            bid=self.envelope.bid,
            method=self.method,
            timestamp=time.time_ns() // 1_000_000,
            gateway=self.sn,
            data=data,
        )


def handle(deliveries: Sequence[Delivery]) -> Iterator[list[Handled]]:
    """Handle a batch; yields what is decided and committed, wave by wave, ready to be published.

    What comes across a row that somebody has locked is yielded as `is_held`, and so is all that its device said after
    it: the caller hands these over again later, in the same order.
    Raises DatabaseUnavailableError as soon as the database does not answer; what was yielded before stands.
    """
    decoded = [item for delivery in deliveries if (item := _decode(delivery)) is not None]
    refused = [item for item in decoded if item.message is None]
    if refused:
        yield refused
    held: set[str] = set()  # serial numbers
    for wave in _waves([item for item in decoded if item.message is not None]):
        for item in wave:
            item.is_held = item.sn in held
        _handle_wave([item for item in wave if not item.is_held])
        held.update(item.sn for item in wave if item.is_held)
        yield wave


def _decode(delivery: Delivery) -> Handled | None:
    """Read one delivery; None for a topic that no device may use."""
    try:
        sn, channel = topics.parse(delivery.topic)
    except RemoteProtocolError:
        return None
    if channel not in CONTROL_CHANNELS:
        return None
    item = Handled(delivery, sn, channel)
    if delivery.retained:
        item.reason = "retained message"
        return item
    try:
        item.envelope = envelopes.decode(delivery.payload, channel=channel)
        item.parsed = True
        item.method = item.envelope.method
        item.route = find(channel, item.method)
        data = item.envelope.data if item.route.data is None else decode_data(item.route.data, item.envelope.data)
    except RemoteProtocolError as error:
        _quarantine(item, error)
    except Exception:
        # A fault of ours: the broker would send the message again and again if it stopped the bridge.
        logger.exception("The decoder failed on a message of %s", sn)
        item.refuse(Exchange.Outcome.ERROR, "decoder failed", _failure(item.route))
    else:
        item.message = Message(
            sn, channel, item.method, item.envelope.tid, item.envelope.bid, data, delivery.received_at
        )
    return item


def _quarantine(item: Handled, error: RemoteProtocolError) -> None:
    """Refuse what cannot be read, with the answer its method has for that."""
    if isinstance(error, RefusedMessageError):
        item.envelope = error.envelope
    if item.envelope is not None:
        item.parsed = item.parsed or not item.envelope.tid  # only a tid is missing: all else was read
        item.method = item.envelope.method
        item.route = find(item.channel, item.method)
    item.refuse(Exchange.Outcome.QUARANTINED, f"{error.reason}: {error.detail}", _failure(item.route))


def _failure(route: Route | None) -> Any:
    if route is None or route.failure is None:
        return failed(Code.ILLEGAL_ARGUMENT)
    return route.failure


def _waves(items: Sequence[Handled]) -> Iterator[list[Handled]]:
    """Wave k: each device's k-th message, or its k-th run of messages where the route takes runs."""
    waves: list[list[Handled]] = []
    last: dict[str, tuple[int, Handled]] = {}  # of each device: its latest wave and message
    for item in items:
        position, before = last.get(item.sn, (-1, None))
        if before is None or not _continues_run(before, item):
            position += 1
        last[item.sn] = position, item
        if position == len(waves):
            waves.append([])
        waves[position].append(item)
    yield from waves


def _continues_run(before: Handled, item: Handled) -> bool:
    same = (before.channel, before.method) == (item.channel, item.method)
    return same and item.route is not None and item.route.runs


def _handle_wave(wave: Sequence[Handled]) -> None:
    groups: defaultdict[tuple[Channel, str], list[Handled]] = defaultdict(list)
    again: list[Handled] = []  # one by one: their rows may still be locked, for which no other message must wait
    for item in wave:
        (again if item.delivery.was_held else groups[item.channel, item.method]).append(item)
    for group in sorted(groups.values(), key=lambda group: _route(group).writes):
        _attempt(group)
    _attempt_each(again)


def _route(group: Sequence[Handled]) -> Route:
    route = group[0].route
    assert route is not None  # noqa: S101  (decoded messages have one)
    return route


def _attempt(group: Sequence[Handled], *, again: bool = True) -> None:
    """Handle a group in a transaction of its own; if that fails, message by message.

    Its own, because a handler locks rows in the order of their keys, and two in one transaction would not.
    """
    try:
        replies = _run(group)
    except Exception as error:
        if again and not is_locked(error) and is_transient(error):
            _attempt(group, again=False)
        else:
            _attempt_each(group)
        return
    for item, reply in zip(group, replies, strict=True):
        item.answer(reply)


def _attempt_each(items: Sequence[Handled]) -> None:
    """Handle message by message, so that none harms another; what a device says after one that is held is held, too."""
    held: set[str] = set()
    for item in items:
        if item.sn not in held and not _attempt_one(item):
            held.add(item.sn)
        item.is_held = item.sn in held


def _attempt_one(item: Handled, *, again: bool = True) -> bool:
    """Handle one message, hardly waiting for locks; False if it came across one and is not too old to be held.

    What still fails is quarantined and answered.
    """
    try:
        [reply] = _run([item], lock_wait=SHORT_WAIT)
    except Exception as error:
        if is_locked(error):
            if timezone.now() - item.delivery.received_at < LONGEST_HOLD:
                return False
        elif again and is_transient(error):
            return _attempt_one(item, again=False)
        _give_up(item, error)
    else:
        item.answer(reply)
    return True


def _give_up(item: Handled, error: Exception) -> None:
    logger.error("No handler could cope with %s of %s", item.method, item.sn, exc_info=error)
    item.refuse(Exchange.Outcome.ERROR, f"handler failed: {type(error).__name__}", _failure(item.route))


def _run(group: Sequence[Handled], *, lock_wait: int | None = None) -> Sequence[Reply | None]:
    if not _route(group).writes:
        return _call(group)
    with transaction.atomic():
        if lock_wait is not None:
            wait_for_locks(connection, lock_wait)
        return _call(group)


def _call(group: Sequence[Handled]) -> Sequence[Reply | None]:
    replies = _route(group).handler([item.message for item in group if item.message is not None])
    if len(replies) != len(group):
        raise RuntimeError(f"{len(group)} messages got {len(replies)} replies")
    return replies


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
