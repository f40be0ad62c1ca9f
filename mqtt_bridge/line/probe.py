"""A connection that asks a broker one thing at a time, to find out what it is like."""

from collections import deque
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Self

from mqtt_bridge.line.client import (
    KEEPALIVE,
    Address,
    Properties,
    ReasonCode,
    build_client,
    connect_properties,
    cut,
    explain_end,
    publish_properties,
    subscriptions,
)

TIMEOUT = 3.0  # seconds for each answer
RECEIVE_MAXIMUM = 65_535


class ProbeRefusedError(OSError):
    """The broker answered, and said no."""


class Probe:
    """A client, as a context manager. Raises OSError, which says why, when there is no answer.

    With `session_expiry` (seconds) the broker keeps its session when it leaves; a probe of the same client id that
    does not start clean has it again. `properties` is what the broker said about itself.
    """

    def __init__(self, address: Address, *, client_id: str, session_expiry: int = 0, clean_start: bool = True) -> None:
        self._address = address
        self._session_expiry = session_expiry
        self._clean_start = clean_start
        self.properties: Properties | None = None
        self._answers: SimpleQueue[tuple[str, int, ReasonCode | None]] = SimpleQueue()  # (kind, packet id, reason)
        self._messages: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._client = build_client(address, client_id=client_id, clean_start=clean_start)
        self._client.connect_timeout = TIMEOUT
        self._client.on_connect = self._note_connected
        self._client.on_disconnect = lambda *_: self._answers.put(("disconnected", 0, None))
        self._client.on_publish = lambda _c, _d, mid, reason, _p: self._answers.put(("published", mid, reason))
        self._client.on_subscribe = lambda _c, _d, mid, reasons, _p: self._answers.put(("subscribed", mid, reasons[0]))
        self._client.on_message = lambda _c, _d, message: self._messages.put((message.topic, bytes(message.payload)))

    def __enter__(self) -> Self:
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                keepalive=KEEPALIVE,
                clean_start=self._clean_start,
                properties=connect_properties(session_expiry=self._session_expiry, receive_maximum=RECEIVE_MAXIMUM),
            )
        except OSError as error:
            raise OSError(self._address.explain(error)) from error
        self._client.loop_start()
        try:
            reason = self._answer("connected", 0)
        except OSError:
            cut(self._client)
            raise
        if reason.is_failure:
            raise ProbeRefusedError(str(reason))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic: str, *, retained: bool = False) -> bool:
        """Whether the broker lets us; with `retained` it sends what it keeps there."""
        wanted = topic if retained else subscriptions([topic], qos=1)
        _, mid = self._client.subscribe(wanted, qos=1)
        return not self._answer("subscribed", mid or 0).is_failure

    def publish(self, topic: str, payloads: list[bytes], *, expiry: int = 60) -> ReasonCode:
        """The broker's answer to the last of these, which are published at QoS 1."""
        mids = deque(
            self._client.publish(topic, payload, qos=1, properties=publish_properties(expiry=expiry)).mid
            for payload in payloads
        )
        reason = self._answer("published", mids.popleft())
        for mid in mids:
            reason = self._answer("published", mid)
        return reason

    def receive(self, *, count: int = 1, silence: float = 1.0) -> list[tuple[str, bytes]]:
        """Up to so many messages (topic, payload), until none came for `silence` seconds."""
        found: list[tuple[str, bytes]] = []
        while len(found) < count:
            try:
                found.append(self._messages.get(timeout=silence))
            except Empty:
                break
        return found

    def _answer(self, kind: str, mid: int) -> ReasonCode:
        deadline = monotonic() + TIMEOUT
        while True:
            try:
                found, of, reason = self._answers.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                raise OSError("the broker did not answer in time") from None
            if reason is None:
                raise OSError(explain_end(self._client, self._address) if kind == "connected" else "it hung up")
            if (found, of) == (kind, mid):
                return reason

    def _note_connected(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.properties = properties
        self._answers.put(("connected", 0, reason))
