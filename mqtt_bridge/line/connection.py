"""A connection to a broker, which lives as long as its TCP connection and is then replaced; telemetry has one."""

import logging
import socket
import threading
from collections.abc import Callable, Sequence

from mqtt_bridge.line.client import (
    KEEPALIVE,
    PUBLISH_WINDOW,
    SESSION_TAKEN_OVER,
    UNSPECIFIED,
    Address,
    Client,
    ClientWithoutThread,
    MQTTMessage,
    Properties,
    ReasonCode,
    build_client,
    connect_properties,
    cut,
    explain_end,
    subscriptions,
)
from mqtt_bridge.protocol.envelope import MAX_PAYLOAD
from mqtt_bridge.protocol.topics import SHARED_TELEMETRY_FILTERS, TELEMETRY_FILTERS

logger = logging.getLogger(__name__)

# Unacknowledged messages that the broker may send ahead, as many as MQTT allows. The broker sends in the order of
# arrival and wants acknowledgements in that order: with a narrow window, the flood of one dock would keep the others
# outside, where nothing can be taken before its turn.
RECEIVE_MAXIMUM = 65_535
CONNECT_TIMEOUT = 10.0  # seconds
TURN = 1.0  # seconds between two looks at what is overdue


class BrokerUnavailableError(OSError):
    """There is no connection to the broker, or no longer; the text says why."""


class ConnectionClosedError(BrokerUnavailableError):
    """A working connection that the broker closed: it stopped, or gave our client id to another client."""


class Connection:
    """One TCP connection to a broker. What comes from the broker calls `on_...`, in the network thread."""

    timeout = 3.0  # seconds for the broker's answer
    clean_start = True
    session_expiry = 0
    largest_packet: int | None = None  # bytes

    _client: Client

    def __init__(
        self, address: Address, *, client_id: str, kind: type[Client] = Client, manual_ack: bool = False
    ) -> None:
        self.lost = ""  # why the connection is gone, once it is
        self.window = PUBLISH_WINDOW  # how many unacknowledged publishes the broker takes
        self._address = address
        self._has_answered = False
        self._ready = threading.Event()
        try:
            client = build_client(
                address, client_id=client_id, kind=kind, manual_ack=manual_ack, clean_start=self.clean_start
            )
        except OSError as error:
            raise BrokerUnavailableError(f"no TLS with our certificates: {error}") from error
        self._client = client
        client.connect_timeout = self.timeout
        client.on_connect = lambda _client, _data, _flags, reason, granted: self.on_connect(reason, granted)
        client.on_subscribe = lambda _client, _data, mid, reasons, _properties: self.on_subscribe(mid, reasons)
        client.on_publish = lambda _client, _data, mid, reason, _properties: self.on_publish(mid, reason)
        client.on_message = lambda _client, _data, message: self.on_message(message)
        client.on_disconnect = lambda _client, _data, flags, reason, _properties: self.on_disconnect(
            reason if flags.is_disconnect_packet_from_server or reason.value != UNSPECIFIED else None
        )

    def open(self) -> None:
        """Connect; raises BrokerUnavailableError when that fails or takes too long."""
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                keepalive=KEEPALIVE,
                clean_start=self.clean_start,
                properties=connect_properties(
                    session_expiry=self.session_expiry,
                    receive_maximum=RECEIVE_MAXIMUM,
                    maximum_packet=self.largest_packet,
                ),
            )
        except OSError as error:
            raise BrokerUnavailableError(self._address.explain(error)) from None
        self.wait_until_ready()
        if not self._ready.is_set() or self.lost:
            cut(self._client)
            raise BrokerUnavailableError(self.lost or "the broker did not answer in time")

    def wait_until_ready(self) -> None:
        """Start paho's network thread."""
        self._client.loop_start()
        self._ready.wait(self.timeout)

    def on_connect(self, reason: ReasonCode, granted: Properties | None) -> None:
        if reason.is_failure:
            self.lost = f"refused: {reason}"
            self._ready.set()
        else:
            self._has_answered = True
            self.window = min(self.window, getattr(granted, "ReceiveMaximum", self.window))
            self.begin()

    def begin(self) -> None:
        """The broker let us in."""
        self._ready.set()

    def on_subscribe(self, mid: int, reasons: Sequence[ReasonCode]) -> None: ...

    def on_publish(self, mid: int, reason: ReasonCode) -> None: ...

    def on_message(self, message: MQTTMessage) -> None: ...

    def on_disconnect(self, reason: ReasonCode | None) -> None:
        """`reason` is None if there is none."""
        self.lost = self.lost or self._explain(reason)
        self._ready.set()

    def _explain(self, reason: ReasonCode | None) -> str:
        """Why the broker closed the connection."""
        if not self._has_answered:
            return explain_end(self._client, self._address)
        return f"disconnected: {reason or 'no reason given'}"


class BridgeConnection(Connection):
    """A connection of the bridge with its subscriptions; it works in `turn` and has no thread of paho's."""

    timeout = CONNECT_TIMEOUT
    qos = 0
    largest_packet = 2 * MAX_PAYLOAD  # what is too large shows in the journal, a giant never comes

    _client: ClientWithoutThread

    def __init__(
        self, address: Address, *, client_id: str, filters: Sequence[str], unwanted: Sequence[str] = ()
    ) -> None:
        super().__init__(address, client_id=client_id, kind=ClientWithoutThread, manual_ack=self.qos > 0)
        self.is_closed_by_broker = False
        self._client_id = client_id
        self._filters = filters
        self._unwanted = unwanted  # what the session may still be subscribed to

    def open(self) -> None:
        """Connect and subscribe; raises BrokerUnavailableError when that fails or takes too long."""
        try:
            super().open()
        except BrokerUnavailableError as error:
            self.close()
            raise BrokerUnavailableError(f"{self._address.host}:{self._address.port}: {error}") from None

    def close(self) -> None:
        """Disconnect; the broker keeps the session and whatever was not acknowledged."""
        self.lost = self.lost or "closed by us"
        self._client.disconnect()
        self._client.loop_write()

    def check(self) -> None:
        """Raise BrokerUnavailableError if the connection is gone, ConnectionClosedError if the broker closed it."""
        if self.lost:
            raise (ConnectionClosedError if self.is_closed_by_broker else BrokerUnavailableError)(self.lost)

    def begin(self) -> None:
        if self._unwanted:
            self._client.unsubscribe(list(self._unwanted))
        self._client.subscribe(subscriptions(self._filters, qos=self.qos))

    def on_subscribe(self, mid: int, reasons: Sequence[ReasonCode]) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self.lost = f"subscription refused: {refused[0]}"
        self._ready.set()

    def on_disconnect(self, reason: ReasonCode | None) -> None:
        self.is_closed_by_broker = not self.lost
        super().on_disconnect(reason)

    def _explain(self, reason: ReasonCode | None) -> str:
        what_to_do = "stop that one, or give each server its own MQTT_CLIENT_ID"
        if reason is not None and reason.value == SESSION_TAKEN_OVER:
            return f"another client connected as {self._client_id!r}; {what_to_do}"
        if reason is None and self._has_answered:  # Mosquitto, for one, just hangs up on who lost its client id
            return (
                "the broker closed the connection and gave no reason: it stopped, or another client connected as "
                f"{self._client_id!r}. If this repeats while the broker runs, {what_to_do}"
            )
        return super()._explain(reason)


class TelemetryConnection(BridgeConnection):
    """osd and state: QoS 0, apart from the control connection so that a flood cannot delay a bind.

    It takes a share of them. A broker that refuses to share them, as one does whose access list is older than this
    version, gives all of them.
    """

    def __init__(self, address: Address, *, client_id: str, sink: Callable[[str, bytes], None]) -> None:
        super().__init__(address, client_id=client_id, filters=SHARED_TELEMETRY_FILTERS)
        self._sink = sink
        self._end, self._other_end = socket.socketpair()  # the network thread ends when the first is closed
        self._thread = threading.Thread(target=self._run, name="telemetry network", daemon=True)

    def close(self) -> None:
        self.lost = self.lost or "closed by us"
        self._end.close()
        if self._thread.is_alive():
            self._thread.join(CONNECT_TIMEOUT)
        self._other_end.close()

    def wait_until_ready(self) -> None:
        self._thread.start()
        self._ready.wait(self.timeout)

    def _run(self) -> None:
        try:
            while not self.lost:
                self._client.turn(self._other_end, timeout=TURN)
        finally:
            self.lost = self.lost or "the network thread failed"
            super().close()

    def on_subscribe(self, mid: int, reasons: Sequence[ReasonCode]) -> None:
        if self._filters is SHARED_TELEMETRY_FILTERS and any(reason.is_failure for reason in reasons):
            logger.warning("The broker shares no telemetry with this account (%s): all of it comes here", reasons[0])
            self._filters, self._unwanted = TELEMETRY_FILTERS, SHARED_TELEMETRY_FILTERS
            self.begin()
        else:
            super().on_subscribe(mid, reasons)

    def on_message(self, message: MQTTMessage) -> None:
        if not message.retain:
            self._sink(message.topic, bytes(message.payload))
