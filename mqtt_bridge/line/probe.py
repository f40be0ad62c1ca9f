"""A connection that asks a broker one thing at a time, to find out what it is like."""

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Self

from mqtt_bridge.line.client import Address, MQTTMessage, Properties, ReasonCode, publish_properties, subscriptions
from mqtt_bridge.line.connection import BrokerUnavailableError, Connection


class ProbeRefusedError(BrokerUnavailableError):
    """The broker answered, and said no."""


class Probe(Connection):
    """A client, as a context manager. Raises BrokerUnavailableError, which says why, when there is no answer.

    With `session_expiry` (seconds) the broker keeps its session when it leaves; a probe of the same client id that
    does not start clean has it again. `properties` is what the broker said about itself.
    """

    def __init__(self, address: Address, *, client_id: str, session_expiry: int = 0, clean_start: bool = True) -> None:
        self.session_expiry = session_expiry
        self.clean_start = clean_start
        super().__init__(address, client_id=client_id)
        self.properties: Properties | None = None
        self._refusal = ""
        self._answers: SimpleQueue[tuple[int, ReasonCode] | None] = SimpleQueue()  # by packet id; None: no more come
        self._messages: SimpleQueue[tuple[str, bytes]] = SimpleQueue()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BrokerUnavailableError:
            if self._refusal:
                raise ProbeRefusedError(self._refusal) from None
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic: str, *, retained: bool = False) -> bool:
        """Whether the broker lets us; with `retained` it sends what it keeps there."""
        wanted = topic if retained else subscriptions([topic], qos=1)
        _, mid = self._client.subscribe(wanted, qos=1)
        return not self._answer(mid or 0).is_failure

    def publish(self, topic: str, payloads: list[bytes], *, expiry: int = 60) -> ReasonCode:
        """The broker's answer to the last of these, which are published at QoS 1."""
        properties = publish_properties(expiry=expiry)
        sent = [self._client.publish(topic, payload, qos=1, properties=properties) for payload in payloads]
        return [self._answer(one.mid) for one in sent][-1]

    def receive(self, *, count: int = 1, silence: float = 1.0) -> list[tuple[str, bytes]]:
        """Up to so many messages (topic, payload), until none came for `silence` seconds."""
        found: list[tuple[str, bytes]] = []
        while len(found) < count:
            try:
                found.append(self._messages.get(timeout=silence))
            except Empty:
                break
        return found

    def _answer(self, mid: int) -> ReasonCode:
        deadline = monotonic() + self.timeout
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                raise BrokerUnavailableError("the broker did not answer in time") from None
            if answer is None:
                raise BrokerUnavailableError("it hung up")
            if answer[0] == mid:
                return answer[1]

    def on_connect(self, reason: ReasonCode, granted: Properties | None) -> None:
        self.properties = granted
        self._refusal = str(reason) if reason.is_failure else ""
        super().on_connect(reason, granted)

    def on_subscribe(self, mid: int, reasons: Sequence[ReasonCode]) -> None:
        self._answers.put((mid, reasons[0]))

    def on_publish(self, mid: int, reason: ReasonCode) -> None:
        self._answers.put((mid, reason))

    def on_message(self, message: MQTTMessage) -> None:
        self._messages.put((message.topic, bytes(message.payload)))

    def on_disconnect(self, reason: ReasonCode | None) -> None:
        super().on_disconnect(reason)
        self._answers.put(None)
