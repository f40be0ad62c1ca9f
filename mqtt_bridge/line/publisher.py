"""A Celery worker's way to the docks: publishes messages, and returns what became of each."""

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from enum import Enum
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from django.conf import settings

from mqtt_bridge.line.client import (
    MQTT_ERR_NO_CONN,
    NO_MATCHING_SUBSCRIBERS,
    Address,
    ReasonCode,
    cut,
    parse_url,
    publish_properties,
    redact_url,
)
from mqtt_bridge.line.connection import BrokerUnavailableError, Connection
from mqtt_bridge.line.tls import DEFAULT_CERTIFICATES, Certificates

logger = logging.getLogger(__name__)

PUBACK_TIMEOUT = 3.0  # seconds
RETRY_PAUSE = 1.0  # seconds after a failed connect in which nobody tries again
CLOSE_TIMEOUT = 1.0  # seconds


class Receipt(Enum):
    """What is known about a message after `publish_many`."""

    DELIVERED = "delivered"  # the broker has it for somebody; at QoS 0: it is written to the socket
    NO_SUBSCRIBER = "no subscriber"  # the broker had nobody to hand it to
    REFUSED = "refused"  # the broker rejected it (access list, quota), and would again; nobody got it
    UNCONFIRMED = "unconfirmed"  # no answer: it may have arrived, or still may
    NOT_SENT = "not sent"  # it never reached the wire and never will


class Message(NamedTuple):
    """What to publish, at QoS 0 or 1; the broker drops it after `expiry` seconds (1 or more)."""

    topic: str
    payload: bytes
    qos: int
    expiry: int


class Publisher:
    """A connection to the broker that is replaced, never repaired, when it fails. For many threads."""

    def __init__(self, url: str, certificates: Certificates = DEFAULT_CERTIFICATES) -> None:
        """Raises ValueError for what is not an MQTT address."""
        self._address = parse_url(url, certificates)
        self._shown_url = redact_url(url)
        self._line: _Line | None = None
        self._opening = threading.Lock()
        self._not_before = 0.0

    def connect(self) -> bool:
        """Whether there is a connection, made if need be; takes at most nine seconds, six without TLS."""
        with self._opening:
            if self._line is not None and not self._line.lost:
                return True
            if monotonic() < self._not_before:
                return False
            self._line = None
            try:
                line = _Line(self._address)
                line.open()
            except BrokerUnavailableError as error:
                logger.warning("No connection to the broker at %s: %s", self._shown_url, error)
                self._not_before = monotonic() + RETRY_PAUSE
                return False
            self._line = line
            return True

    def publish_many(self, messages: Sequence[Message]) -> list[Receipt]:
        """Publish each message once, in their order, without waiting for one before the next.

        Never connects by itself and never sends anything twice.
        """
        for message in messages:
            if message.qos not in (0, 1) or message.expiry < 1:  # an expiry of 0 means "never" to Mosquitto
                raise ValueError(f"Cannot publish with QoS {message.qos} and an expiry of {message.expiry} s.")
        line = self._line
        return [Receipt.NOT_SENT] * len(messages) if line is None else line.publish_many(messages)

    def close(self) -> None:
        """Disconnect; `connect` connects again."""
        with self._opening:
            line, self._line = self._line, None
        if line is not None:
            line.close()


class _Line(Connection):
    """One TCP connection to the broker."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, client_id=f"dock-cloud-publisher-{uuid4().hex[:12]}")
        # What becomes of each, by packet id; on_publish may be called before publish() returns it, and whichever comes
        # first makes the entry (`setdefault`, which needs no lock: paho calls on_publish with its own lock held).
        self._fates: dict[int, Future[Receipt]] = {}
        self._ended = threading.Event()
        self._window = threading.Semaphore(self.window)

    def publish_many(self, messages: Sequence[Message]) -> list[Receipt]:
        """Publish all, then wait for what becomes of them; a wait that is too long ends the connection for all."""
        mids = [self._publish(message) for message in messages]
        receipts = []
        for mid in mids:
            if mid is None:
                receipts.append(Receipt.NOT_SENT)
                continue
            fate = self._fates.setdefault(mid, Future())
            try:
                receipts.append(fate.result(0 if self.lost else PUBACK_TIMEOUT))
            except TimeoutError:
                self._give_up()
                receipts.append(Receipt.UNCONFIRMED)
            del self._fates[mid]
        return receipts

    def close(self) -> None:
        """Disconnect properly if the broker answers, else cut the connection."""
        self._client.disconnect()
        if not self._ended.wait(CLOSE_TIMEOUT):
            cut(self._client)

    def _publish(self, message: Message) -> int | None:
        """Returns its packet id; None if it cannot go out."""
        # More at a time than the broker allows would wait inside paho, or make the broker hang up.
        if not self._window.acquire(timeout=PUBACK_TIMEOUT):
            self._give_up()
            return None
        if not self.lost:
            properties = publish_properties(expiry=message.expiry)
            sent = self._client.publish(message.topic, message.payload, qos=message.qos, properties=properties)
            if sent.rc != MQTT_ERR_NO_CONN:  # paho would keep it for a reconnection, which this client never has
                return sent.mid
        self._window.release()
        return None

    def _give_up(self) -> None:
        if not self.lost:
            self.lost = f"the broker acknowledged nothing for {PUBACK_TIMEOUT:.0f} s"
            logger.warning("The connection is given up: %s", self.lost)
            cut(self._client)
        self._window.release()  # nobody needs to wait to publish

    def begin(self) -> None:
        self._window = threading.Semaphore(self.window)
        super().begin()

    def on_publish(self, mid: int, reason: ReasonCode) -> None:
        if reason.is_failure:
            logger.error("The broker refused a message: %s", reason)
            receipt = Receipt.REFUSED
        else:
            receipt = Receipt.NO_SUBSCRIBER if reason.value == NO_MATCHING_SUBSCRIBERS else Receipt.DELIVERED
        self._fates.setdefault(mid, Future()).set_result(receipt)
        self._window.release()

    def on_disconnect(self, reason: ReasonCode | None) -> None:
        super().on_disconnect(reason)
        for fate in list(self._fates.values()):
            if not fate.done():
                fate.set_result(Receipt.UNCONFIRMED)
        self._window.release()
        self._ended.set()


# By process id: after a fork the connection is the parent's. Its publisher stays here, for to collect it would run
# paho's clean-up on that connection.
_publishers: dict[int, Publisher] = {}


def publisher() -> Publisher:
    """This process's publisher to `settings.MQTT_URL`, made at its first use."""
    process = os.getpid()
    if process not in _publishers:
        # Of two threads the first wins.
        _publishers.setdefault(process, Publisher(settings.MQTT_URL, settings.MQTT_CERTIFICATES))
    return _publishers[process]
