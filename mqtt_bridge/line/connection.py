"""A connection to the broker, which lives as long as its TCP connection and is then replaced; telemetry has one."""

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import cast

from mqtt_bridge.line.client import (
    KEEPALIVE,
    PUBLISH_WINDOW,
    SESSION_TAKEN_OVER,
    UNSPECIFIED,
    Address,
    Client,
    ClientWithoutThread,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    Properties,
    ReasonCode,
    build_client,
    connect_properties,
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
_WHAT_TO_DO = "stop that one, or give each server its own MQTT_CLIENT_ID"


class BrokerUnavailableError(Exception):
    """There is no connection to the broker, or no longer; the text says why."""


class ConnectionClosedError(BrokerUnavailableError):
    """A working connection that the broker closed: it stopped, or gave our client id to another client."""


class Connection:
    """One TCP connection to the broker with its subscriptions. Callbacks (`_on_...`) run in its network thread."""

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
    ) -> None:
        self.lost: str = ""  # why the connection is gone, once it is
        self._has_answered = False
        self._is_closed_by_broker = False
        self._client_id = client_id
        self.window = PUBLISH_WINDOW  # how many unacknowledged publishes the broker takes
        self._address = address
        self._filters = filters
        self._unwanted = unwanted  # what the session may still be subscribed to
        self._ready = threading.Event()
        try:
            client = build_client(
                address,
                kind=ClientWithoutThread,
                client_id=client_id,
                manual_ack=self.qos > 0,
                clean_start=self.clean_start,
            )
        except OSError as error:
            raise BrokerUnavailableError(f"no TLS with our certificates: {error}") from error
        self._client = cast("ClientWithoutThread", client)
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
        self.wait_until_ready()
        if not self._ready.is_set() or self.lost:
            self.close()
            raise BrokerUnavailableError(self.lost or "the broker did not answer in time")

    def wait_until_ready(self) -> None:
        """Let the client take turns until it is connected and subscribed, or CONNECT_TIMEOUT is over."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnect; the broker keeps the session and whatever was not acknowledged."""
        self.lost = self.lost or "closed by us"
        self._client.disconnect()
        self._client.loop_write()

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
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", self.window))
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


class TelemetryConnection(Connection):
    """osd and state: QoS 0, apart from the control connection so that a flood cannot delay a bind.

    It takes a share of them. A broker that refuses to share them, as one does whose access list is older than this
    version, gives all of them.
    """

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        sink: Callable[[str, bytes], None],
        filters: Sequence[str] = SHARED_TELEMETRY_FILTERS,
    ) -> None:
        super().__init__(address, client_id=client_id, filters=filters)

        def pass_on(_client: Client, _data: object, message: MQTTMessage) -> None:
            if not message.retain:
                sink(message.topic, bytes(message.payload))

        self._client.on_message = pass_on
        self._end: socket.socket | None = None  # of a pair; the network thread ends when it is closed

    def _on_subscribe(
        self, client: Client, data: object, mid: int, reasons: Sequence[ReasonCode], properties: Properties | None
    ) -> None:
        if self._filters is SHARED_TELEMETRY_FILTERS and any(reason.is_failure for reason in reasons):
            logger.warning("The broker shares no telemetry with this account (%s): all of it comes here", reasons[0])
            self._filters = TELEMETRY_FILTERS
            client.unsubscribe(list(SHARED_TELEMETRY_FILTERS))
            client.subscribe(subscriptions(TELEMETRY_FILTERS, qos=self.qos))
            return
        super()._on_subscribe(client, data, mid, reasons, properties)

    def wait_until_ready(self) -> None:
        """Start the network thread."""
        self._end, other = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=[other], name="telemetry network", daemon=True)
        self._thread.start()
        self._ready.wait(CONNECT_TIMEOUT)

    def close(self) -> None:
        self.lost = self.lost or "closed by us"
        if self._end is not None:
            self._end.close()
            self._thread.join(CONNECT_TIMEOUT)

    def _run(self, other: socket.socket) -> None:
        with other:
            try:
                while not self.lost:
                    self._client.turn(other, timeout=TURN)
            finally:
                self.lost = self.lost or "the network thread failed"
                super().close()
