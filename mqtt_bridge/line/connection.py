"""The bridge's two connections to the broker; each lives as long as its TCP connection and is then replaced."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from mqtt_bridge.line.client import (
    KEEPALIVE,
    MQTT_ERR_SUCCESS,
    PUBLISH_WINDOW,
    SESSION_TAKEN_OVER,
    UNSPECIFIED,
    Address,
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    Properties,
    ReasonCode,
    build_client,
    connect_properties,
    explain_end,
    publish_properties,
    subscriptions,
)
from mqtt_bridge.line.inbox import Delivery, Inbox
from mqtt_bridge.monitoring.metrics import Backlog
from mqtt_bridge.protocol.envelope import MAX_PAYLOAD, MAX_SERVICES_REPLY

SESSION_EXPIRY = 7 * 24 * 3600  # seconds the broker keeps what docks send while no bridge runs
# Unacknowledged messages that the broker may send ahead, as many as MQTT allows. The broker sends in the order of
# arrival and wants acknowledgements in that order: with a narrow window, the flood of one dock would keep the others
# outside, where nothing can be taken before its turn.
RECEIVE_MAXIMUM = 65_535
REPLY_EXPIRY = 60  # seconds; an older reply is of no use to a dock
PUBACK_TIMEOUT = 30.0  # seconds
# The receive maximum does not hold for QoS 0: what a flood sends beyond this is dropped, as QoS 0 allows.
INBOX_LIMIT = 10_000
INBOX_BYTES = 2**30  # that wait to be handled; what comes beyond is dropped
CONNECT_TIMEOUT = 10.0  # seconds
REST = 0.5  # seconds until a message that came across a locked row is tried again
_WHAT_TO_DO = "stop that one, or give each server its own MQTT_CLIENT_ID"


class BrokerUnavailableError(Exception):
    """There is no connection to the broker, or no longer; the text says why."""


class ConnectionClosedError(BrokerUnavailableError):
    """A working connection that the broker closed: it stopped, or gave our client id to another client."""


class Connection:
    """One TCP connection to the broker with its subscriptions. Callbacks (`_on_...`) run in paho's network thread."""

    clean_start = True
    session_expiry = 0
    qos = 0
    largest_payload = MAX_PAYLOAD  # bytes

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        filters: Sequence[str],
        unwanted: Sequence[str] = (),
        window: int = PUBLISH_WINDOW,
    ) -> None:
        self.lost: str = ""  # why the connection is gone, once it is
        self._has_answered = False
        self._is_closed_by_broker = False
        self._client_id = client_id
        self.broker_window = window  # how many unacknowledged publishes the broker takes
        self._address = address
        self._filters = filters
        self._unwanted = unwanted  # what the session may still be subscribed to
        self._ready = threading.Event()
        try:
            self._client = build_client(
                address,
                client_id=client_id,
                manual_ack=self.qos > 0,
                clean_start=self.clean_start,
                window=window,
            )
        except OSError as error:
            raise BrokerUnavailableError(f"no TLS with our certificates: {error}") from error
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect

    def open(self) -> None:
        """Connect and subscribe; raises BrokerUnavailableError when that fails or takes too long."""
        properties = connect_properties(
            session_expiry=self.session_expiry,
            receive_maximum=RECEIVE_MAXIMUM,
            maximum_packet=self.largest_payload * 2,  # what is too large shows in the journal, a giant never comes
        )
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                keepalive=KEEPALIVE,
                clean_start=self.clean_start,
                properties=properties,
            )
        except OSError as error:
            cause = self._address.explain(error)
            raise BrokerUnavailableError(f"{self._address.host}:{self._address.port}: {cause}") from None
        self._client.loop_start()
        if not self._ready.wait(CONNECT_TIMEOUT) or self.lost:
            self.close()
            raise BrokerUnavailableError(self.lost or "the broker did not answer in time")

    def close(self) -> None:
        """Disconnect; the broker keeps the session and whatever was not acknowledged."""
        self.lost = self.lost or "closed by us"
        self._client.disconnect()
        self._client.loop_stop()

    def check(self) -> None:
        """Raise BrokerUnavailableError if the connection is gone, ConnectionClosedError if the broker closed it."""
        if self.lost:
            raise (ConnectionClosedError if self._is_closed_by_broker else BrokerUnavailableError)(self.lost)

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.lost = f"refused: {reason}"
            self._ready.set()
            return
        self._has_answered = True
        self.broker_window = getattr(properties, "ReceiveMaximum", 65535)
        if self._unwanted:
            client.unsubscribe(list(self._unwanted))
        client.subscribe(subscriptions(self._filters, qos=self.qos))

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: Sequence[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self.lost = f"subscription refused: {refused[0]}"
        self._ready.set()

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not self.lost:
            self._is_closed_by_broker = True
            # Not every broker says that it gave our client id to another client: Mosquitto just hangs up.
            if reason.value == SESSION_TAKEN_OVER:
                self.lost = f"another client connected as {self._client_id!r}; {_WHAT_TO_DO}"
            elif not self._has_answered:
                self.lost = explain_end(self._client, self._address)
            elif reason.value == UNSPECIFIED and not flags.is_disconnect_packet_from_server:
                self.lost = (
                    "the broker closed the connection and gave no reason: it stopped, or another client connected as "
                    f"{self._client_id!r}. If this repeats while the broker runs, {_WHAT_TO_DO}"
                )
            else:
                self.lost = str(reason)
        self._ready.set()


class ControlConnection(Connection):
    """Requests, events, replies and topologies: QoS 1, persistent session, acknowledged by hand, in order.

    MQTT wants acknowledgements in the order of arrival; a `Delivery` also belongs to the connection it came by
    and cannot be acknowledged on another, where its packet id means something else.
    """

    clean_start = False
    session_expiry = SESSION_EXPIRY
    qos = 1
    largest_payload = MAX_SERVICES_REPLY

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        filters: Sequence[str],
        unwanted: Sequence[str] = (),
        window: int = PUBLISH_WINDOW,
        admit: Callable[[Delivery], bool] = lambda _delivery: True,
    ) -> None:
        super().__init__(address, client_id=client_id, filters=filters, unwanted=unwanted, window=window)
        self._admit = admit  # asked at arrival, in the network thread; what it refuses is acknowledged, not taken
        self._inbox = Inbox()
        self._lock = threading.Lock()  # never held around publish: paho calls on_publish with its own lock held
        # By packet id, in the order of arrival: how much has to happen before a message may be acknowledged. It has to
        # be handled, and each answer to it has to reach the broker.
        self._unacknowledged: OrderedDict[int, int] = OrderedDict()
        # Of what we published, by packet id: since when it is under way, and the packet id of what it answers, or 0.
        self._outstanding: dict[int, tuple[float, int]] = {}
        self._early: set[int] = set()  # the broker acknowledged them before publish() returned their packet id
        self._refused = 0
        self._dropped = 0
        self._properties = publish_properties(expiry=REPLY_EXPIRY)
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    def take(self, *, limit: int, timeout: float) -> list[Delivery]:
        """What has arrived, at most `limit`, a fair share of each gateway; waits up to `timeout` seconds for one."""
        return self._inbox.take(limit=limit, timeout=timeout)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Hand these out again, in order, after a rest; what their gateways send until then waits behind them."""
        self._inbox.put_back(deliveries, rest=REST)

    def prefer(self, gateways: Iterable[str]) -> None:
        """Let `take` hand out what these send before what others do."""
        self._inbox.prefer(gateways)

    def publish(self, topic: str, payload: bytes, *, answers: Delivery | None = None, qos: int = 1) -> None:
        """Publish; the delivery it answers is not acknowledged before this one is (or, at QoS 0, has been sent)."""
        answered = answers.mid if answers is not None else 0
        if answered:
            with self._lock:
                self._unacknowledged[answered] += 1
        info = self._client.publish(topic, payload, qos=qos, properties=self._properties)
        if info.rc != MQTT_ERR_SUCCESS:
            self.lost = self.lost or f"publish failed: {info.rc}"
            return
        with self._lock:
            if info.mid not in self._early:
                self._outstanding[info.mid] = monotonic(), answered
                return
            self._early.remove(info.mid)
            self._acknowledge([answered])

    def handled(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge these, now or as soon as the broker has the answers to them."""
        with self._lock:
            self._acknowledge([delivery.mid for delivery in deliveries])

    def backlog(self) -> Backlog:
        """What waits here at this moment, and how much had no room."""
        waiting = len(self._inbox), self._inbox.size, len(self._unacknowledged), len(self._outstanding)
        return Backlog(*waiting, self._dropped)

    def take_refused(self) -> int:
        """How many replies the broker's access list refused since the last call."""
        with self._lock:
            refused, self._refused = self._refused, 0
        return refused

    def check(self) -> None:
        super().check()
        with self._lock:
            oldest = next(iter(self._outstanding.values()), None)
        if oldest is not None and monotonic() - oldest[0] > PUBACK_TIMEOUT:
            self.lost = f"the broker acknowledged nothing for {PUBACK_TIMEOUT:.0f} s"
            raise BrokerUnavailableError(self.lost)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        mid = message.mid if message.qos else 0
        if mid in self._unacknowledged:
            return  # MQTT 5 forbids sending it again on the same connection, but some brokers do
        if not mid and len(self._inbox) > INBOX_LIMIT:
            self._dropped += 1
            return
        delivery = Delivery(topic=message.topic, payload=bytes(message.payload), mid=mid, retained=message.retain)
        has_room = self._inbox.size < INBOX_BYTES
        self._dropped += not has_room
        is_wanted = has_room and self._admit(delivery)
        if mid:
            with self._lock:
                # What is refused changes nothing, so there is nothing to commit; it still waits for its turn.
                self._unacknowledged[mid] = int(is_wanted)
                self._acknowledge()
        if is_wanted:
            self._inbox.put(delivery)

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        # Whatever the reason code: the broker has had it, and will not want it again.
        with self._lock:
            self._refused += reason.is_failure
            if mid not in self._outstanding:
                self._early.add(mid)
                return
            _, answered = self._outstanding.pop(mid)
            self._acknowledge([answered])

    def _acknowledge(self, mids: Iterable[int] = ()) -> None:
        """Count down what these wait for (0 is no message), and acknowledge those whose turn it is. Needs the lock."""
        for mid in mids:
            if mid:
                self._unacknowledged[mid] -= 1
        while self._unacknowledged:
            mid, awaited = next(iter(self._unacknowledged.items()))
            if awaited:
                return
            del self._unacknowledged[mid]
            self._client.ack(mid, 1)


class TelemetryConnection(Connection):
    """osd and state: QoS 0, apart from the control connection so that a flood cannot delay a bind."""

    def __init__(
        self, address: Address, *, client_id: str, filters: Sequence[str], sink: Callable[[str, bytes], None]
    ) -> None:
        super().__init__(address, client_id=client_id, filters=filters)

        def pass_on(_client: Client, _data: object, message: MQTTMessage) -> None:
            if not message.retain:
                sink(message.topic, bytes(message.payload))

        self._client.on_message = pass_on
