"""MQTT clients as this project needs them: the only module that imports paho."""

import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mqtt_bridge.line.tls import DEFAULT_CERTIFICATES, Certificates, build_context, explain

# What is not our own.
__all__ = ["Client", "MQTTMessage", "MQTTProtocolVersion", "Properties", "ReasonCode"]

MQTT_ERR_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS
MQTT_ERR_NO_CONN = MQTTErrorCode.MQTT_ERR_NO_CONN
NO_MATCHING_SUBSCRIBERS = 0x10  # reason of a PUBACK: accepted, and there was nobody to hand it to
ACCEPTED = ReasonCode(PacketTypes.PUBACK)
SESSION_TAKEN_OVER = 0x8E  # reason of a DISCONNECT: another client has our client id
UNSPECIFIED = 0x80  # also what paho says where the broker said nothing
KEEPALIVE = 10  # seconds
PUBLISH_WINDOW = 512  # unacknowledged publishes; paho's default of 20 throttles
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


RECEIVED_AT_ONCE = 16 * 1024  # bytes: a TLS record, for what OpenSSL kept no `select` would see
LAST_WORDS = 1.0  # seconds to send what was written before a connection is closed


class Address(NamedTuple):
    """Where a broker listens and as whom to connect."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    certificates: Certificates = DEFAULT_CERTIFICATES

    def explain(self, error: OSError) -> str:
        """What it means that no connection was made."""
        return explain(str(error), self.host) if self.tls else str(error)


def parse_url(url: str, certificates: Certificates = DEFAULT_CERTIFICATES) -> Address:
    """Read `mqtt://user:password@host:port` (`mqtts://` for TLS, `tcp://` as DJI writes it).

    Raises ValueError for another scheme, a missing host or a port out of range.
    """
    parts = urlsplit(url)
    scheme = {"tcp": "mqtt", "ssl": "mqtts"}.get(parts.scheme, parts.scheme)
    if scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"Not an MQTT address: {redact_url(url)!r} (expected mqtt://host:port or mqtts://).")
    return Address(
        host=parts.hostname,
        port=parts.port or DEFAULT_PORTS[scheme],
        tls=scheme == "mqtts",
        username=unquote(parts.username) if parts.username is not None else None,
        password=unquote(parts.password) if parts.password is not None else None,
        certificates=certificates,
    )


def redact_url(url: str) -> str:
    """The address without its password, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


class _BufferedSocket:
    """What paho reads and writes of a `ClientWithoutThread`: paho makes three or four system calls for every packet."""

    def __init__(self, wrapped: socket.socket) -> None:
        self._wrapped = wrapped
        self._received, self._position = b"", 0
        self._end: OSError | None = None
        self._unsent = bytearray()
        self.setblocking = wrapped.setblocking
        self.setsockopt = wrapped.setsockopt

    def fileno(self) -> int:
        return self._wrapped.fileno()

    def fill(self) -> None:
        """Receive what there is; call it when all that was received has been read."""
        try:
            self._received, self._position = self._wrapped.recv(RECEIVED_AT_ONCE), 0
            if not self._received:
                self._end = ConnectionResetError("the broker hung up")
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._end = error

    def has_unread(self) -> bool:
        return self._position < len(self._received) or self._end is not None

    def recv(self, size: int) -> bytes:
        data = self._received[self._position : self._position + size]
        self._position += len(data)
        if not data:
            raise self._end or BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        self._unsent += data
        return len(data)

    def flush(self) -> bool:
        """Send what the kernel takes; whether that was all."""
        with suppress(OSError):  # if it is not just full, `fill` will see why
            while self._unsent:
                del self._unsent[: self._wrapped.send(self._unsent)]
        return not self._unsent

    def close(self) -> None:
        with suppress(OSError):
            self._wrapped.settimeout(LAST_WORDS)
            self._wrapped.sendall(self._unsent)
        self._wrapped.close()


class ClientWithoutThread(Client):
    """A client that works only in `turn`; all of it is for one thread."""

    _buffered: _BufferedSocket
    _next_look = 0.0  # at the keepalive, on the monotonic clock

    def _create_socket(self) -> _BufferedSocket:  # type: ignore[override]
        self._buffered = _BufferedSocket(cast("socket.socket", super()._create_socket()))
        self.on_socket_register_write = lambda *_: None  # paho would else write each packet at once
        return self._buffered

    def turn(self, other: socket.socket, *, timeout: float) -> bool:
        """Send what there is to send, and wait until the broker or the other socket has sent something.

        What the broker sent is received; returns whether the other one can be read.
        """
        buffered = self._buffered
        if self.want_write():
            self.loop_write()
        if not self.is_open:
            return False
        unsent = [] if buffered.flush() else [buffered.fileno()]
        readable, _, _ = select.select([buffered.fileno(), other.fileno()], unsent, [], timeout)
        if buffered.fileno() in readable:
            buffered.fill()
            if self._ping_t:
                self._ping_t = monotonic()  # the answer to our ping may wait behind all this
            while self.is_open and buffered.has_unread():
                self.loop_read()
        if monotonic() > self._next_look:
            self.loop_misc()
            self._next_look = monotonic() + 1.0
        return other.fileno() in readable

    @property
    def is_open(self) -> bool:
        return self.socket() is not None

    # The packets that come for each message: paho's own methods spend most of their time on properties, which we do not
    # read (and the last one on a search through all that is under way).

    def _handle_publish(self) -> MQTTErrorCode:
        header, packet = self._in_packet["command"], self._in_packet["packet"]
        start = 2 + int.from_bytes(packet[:2], "big")
        message = MQTTMessage(topic=bytes(packet[2:start]))
        message.qos, message.retain = header >> 1 & 3, bool(header & 1)
        if message.qos:
            message.mid = int.from_bytes(packet[start : start + 2], "big")
            start += 2
        size, width = VariableByteIntegers.decode(packet[start : start + 4])  # type: ignore[no-untyped-call]
        message.payload = bytes(packet[start + width + size :])
        if self.on_message:
            self.on_message(self, None, message)
        return MQTT_ERR_SUCCESS if self._manual_ack or not message.qos else self._send_puback(message.mid)

    def _handle_pubackcomp(self, _cmd: str) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        mid = int.from_bytes(packet[:2], "big")
        if self._out_messages.pop(mid, None) and self.on_publish:
            reason = ReasonCode(PacketTypes.PUBACK, identifier=packet[2]) if len(packet) > 2 else ACCEPTED
            cast("Callable[..., None]", self.on_publish)(self, None, mid, reason, None)
        return MQTT_ERR_SUCCESS


def build_client(
    address: Address,
    *,
    client_id: str,
    kind: type[Client] = Client,
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    manual_ack: bool = False,
    clean_start: bool = True,
) -> Client:
    """A paho client, not yet connected, that never reconnects by itself.

    A lost connection is the owner's to replace with a new client: paho would re-send by itself what was
    published while it was disconnected, with its expiry started anew.

    Raises OSError if a file that TLS needs is no use.
    """
    errors: list[str] = []
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=protocol,
        clean_session=clean_start if protocol == MQTTProtocolVersion.MQTTv311 else None,
        manual_ack=manual_ack,
        reconnect_on_failure=False,
        userdata=errors,  # its callbacks say only that the network failed, not why
    )
    client.max_inflight_messages_set(PUBLISH_WINDOW)
    if address.username is not None:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        client.tls_set_context(build_context(address.certificates))

    def note_error(client: Client, _data: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            errors.append(text)
        elif text.startswith("Received CONNACK"):
            client.on_log = None  # it costs time with each packet

    client.on_log = note_error
    # Nagle with delayed acknowledgements costs 40 ms per QoS 1 round trip (docs/reliability.md).
    client.on_socket_open = lambda _client, _userdata, sock: cast("socket.socket", sock).setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )
    return client


def explain_end(client: Client, address: Address) -> str:
    """What it probably means that the broker hung up before its first answer."""
    if not address.tls:
        return "the broker hung up before it answered: a port with TLS needs mqtts://"
    for error in client.user_data_get():
        if "alert" in error:  # with TLS 1.3 the broker's verdict on us comes after the handshake
            return explain(error, address.host)
    what = "refuse our" if address.certificates.client_cert_file else "require a"
    return f"the broker hung up before it answered: it may {what} client certificate (MQTT_CLIENT_CERT_FILE)"


def cut(client: Client) -> None:
    """End the TCP connection at once: what paho or the kernel have not sent yet never goes out.

    The network thread notices and ends by itself; to wait for it could take as long as the broker is silent.
    """
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with suppress(OSError):  # it is gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # what is not sent is dropped
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # past TLS, which the network thread may be using


def connect_properties(*, session_expiry: int, receive_maximum: int, maximum_packet: int | None = None) -> Properties:
    """CONNECT properties: how long the broker keeps our session (seconds), how many messages it may send ahead.

    Messages larger than `maximum_packet` bytes the broker drops instead of sending them.
    """
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_expiry
    properties.ReceiveMaximum = receive_maximum
    if maximum_packet is not None:
        properties.MaximumPacketSize = maximum_packet
    return properties


@cache  # to make them takes as long as to publish a message
def publish_properties(*, expiry: int) -> Properties:
    """PUBLISH properties: after how many seconds the broker drops what it could not deliver."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = expiry
    packed = properties.pack()  # type: ignore[no-untyped-call]
    object.__setattr__(properties, "pack", lambda: packed)  # they are packed anew for each message
    return properties


def subscriptions(filters: Iterable[str], *, qos: int) -> list[tuple[str, SubscribeOptions]]:
    """What `Client.subscribe` takes over MQTT 5: no retained messages, and of answers only those of others."""

    def options(topic: str) -> SubscribeOptions:
        return SubscribeOptions(
            qos=qos, noLocal=topic.endswith("_reply"), retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
        )

    return [(topic, options(topic)) for topic in filters]
