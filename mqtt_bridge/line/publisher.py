"""A Celery worker's way to the docks: publishes messages, and returns what became of each."""

import logging
import os
import threading
from collections.abc import Sequence
from enum import Enum
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from django.conf import settings

from mqtt_bridge.line.client import (
    DEFAULT_CERTIFICATES,
    KEEPALIVE,
    MQTT_ERR_NO_CONN,
    NO_MATCHING_SUBSCRIBERS,
    PUBLISH_WINDOW,
    Address,
    Certificates,
    Client,
    ConnectFlags,
    DisconnectFlags,
    Properties,
    ReasonCode,
    build_client,
    connect_properties,
    cut,
    explain_end,
    parse_url,
    publish_properties,
    redact_url,
)

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 3.0  # seconds, for TCP, again for TLS, and again for the broker's answer
PUBACK_TIMEOUT = 3.0  # seconds
RETRY_PAUSE = 1.0  # seconds after a failed connect in which nobody tries again
CLOSE_TIMEOUT = 1.0  # seconds
RECEIVE_MAXIMUM = 1  # nothing is subscribed to


class Receipt(Enum):
    """What is known about a message after `publish`."""

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
            if self._line is not None and not self._line.is_lost:
                return True
            if monotonic() < self._not_before:
                return False
            try:
                line = _Line(self._address)
                line.open()
            except OSError as error:
                logger.warning("No connection to the broker at %s: %s", self._shown_url, self._address.explain(error))
                self._not_before = monotonic() + RETRY_PAUSE
                self._line = None
                return False
            self._line = line
            return True

    def publish(self, topic: str, payload: bytes, *, qos: int, expiry: int) -> Receipt:
        """Publish one message once. Never connects by itself and never sends anything twice."""
        return self.publish_many([Message(topic, payload, qos, expiry)])[0]

    def publish_many(self, messages: Sequence[Message]) -> list[Receipt]:
        """Publish each message once, in their order, without waiting for one before the next; as `publish` does."""
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


class _Fate:
    """What became of one message, once `known` is set."""

    __slots__ = ("known", "receipt")

    def __init__(self) -> None:
        self.known = threading.Event()
        self.receipt = Receipt.UNCONFIRMED


class _Line:
    """One TCP connection to the broker."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()  # never held around publish: paho calls on_publish with its own lock held
        self._fates: dict[int, _Fate] = {}  # by packet id; on_publish may be called before publish() returns it
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._refusal = ""
        self._window = threading.Semaphore(PUBLISH_WINDOW)
        self._client = build_client(address, client_id=f"dock-cloud-publisher-{uuid4().hex[:12]}")
        self._client.connect_timeout = CONNECT_TIMEOUT
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect

    @property
    def is_lost(self) -> bool:
        return self._ended.is_set()

    def open(self) -> None:
        """Connect; raises OSError, with the reason if the broker gave one."""
        self._client.connect(
            self._address.host,
            self._address.port,
            keepalive=KEEPALIVE,
            clean_start=True,
            properties=connect_properties(session_expiry=0, receive_maximum=RECEIVE_MAXIMUM),
        )
        self._client.loop_start()
        is_ready = self._ready.wait(CONNECT_TIMEOUT)
        if not is_ready or self._refusal or self.is_lost:
            cut(self._client)
            raise OSError(self._refusal or "the broker did not answer in time")

    def publish_many(self, messages: Sequence[Message]) -> list[Receipt]:
        """Publish all, then wait for what becomes of them; a wait that is too long ends the connection for all."""
        mids: list[int | None] = []  # packet ids; None for a message that cannot go out
        for message in messages:
            mid = None
            # More at a time than the broker allows would wait inside paho, or make the broker hang up.
            if not self._window.acquire(timeout=PUBACK_TIMEOUT):
                self._give_up()
            elif self.is_lost:
                self._window.release()
            else:
                properties = publish_properties(expiry=message.expiry)
                sent = self._client.publish(message.topic, message.payload, qos=message.qos, properties=properties)
                if sent.rc == MQTT_ERR_NO_CONN:  # paho keeps it for a reconnection, which this client never has
                    self._window.release()
                else:
                    mid = sent.mid
            mids.append(mid)
        receipts = []
        for mid in mids:
            if mid is None:
                receipts.append(Receipt.NOT_SENT)
                continue
            fate = self._fate(mid)
            is_known = self._ended.is_set() or fate.known.wait(PUBACK_TIMEOUT)
            with self._lock:
                del self._fates[mid]
            if not is_known:
                self._give_up()
            receipts.append(fate.receipt)
        return receipts

    def close(self) -> None:
        """Disconnect properly if the broker answers, else cut the connection."""
        self._client.disconnect()
        if not self._ended.wait(CLOSE_TIMEOUT):
            cut(self._client)

    def _give_up(self) -> None:
        if not self.is_lost:
            logger.warning("The broker acknowledged nothing for %.0f s: the connection is given up", PUBACK_TIMEOUT)
            self._ended.set()
            cut(self._client)
        self._window.release()  # nobody needs to wait to publish

    def _fate(self, mid: int) -> _Fate:
        with self._lock:
            return self._fates.setdefault(mid, _Fate())

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refusal = f"refused: {reason}"
        else:
            allowed = getattr(properties, "ReceiveMaximum", PUBLISH_WINDOW)
            self._window = threading.Semaphore(min(allowed, PUBLISH_WINDOW))
        self._ready.set()

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        fate = self._fate(mid)
        if reason.is_failure:
            logger.error("The broker refused a message: %s", reason)
            fate.receipt = Receipt.REFUSED
        elif reason.value == NO_MATCHING_SUBSCRIBERS:
            fate.receipt = Receipt.NO_SUBSCRIBER
        else:
            fate.receipt = Receipt.DELIVERED
        fate.known.set()
        self._window.release()

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not self._ready.is_set():
            self._refusal = explain_end(self._client, self._address)
        self._ended.set()
        with self._lock:
            fates = list(self._fates.values())
        for fate in fates:
            fate.known.set()
        self._window.release()
        self._ready.set()


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
