"""One dock's MQTT connection on an asyncio loop, for many docks in one process."""

# paho's own network thread waits with select(), which fails above descriptor 1,023: hence add_reader().

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from mqtt_bridge.line.client import (
    KEEPALIVE,
    Address,
    MQTTProtocolVersion,
    build_client,
    connect_properties,
    explain_end,
    parse_url,
)
from mqtt_bridge.line.tls import DEFAULT_CERTIFICATES, Certificates

T = TypeVar("T")

PROTOCOLS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
RECEIVE_MAXIMUM = 512
FAILURE = 0x80  # reason codes from here on mean "no" (MQTT 5, 2.4)


class Incoming(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    retain: bool


class RefusedError(ConnectionError):
    """The broker refused: wrong password, or a subscription that its access list denies."""


class Sent(NamedTuple):
    """A message handed to the socket: its packet id and the future of its PUBACK."""

    mid: int
    puback: "asyncio.Future[int | None] | None"

    async def acknowledged(self) -> int:
        """Wait for the PUBACK and return its reason code (always 0 with MQTT 3.1.1 or QoS 0).

        Raises ConnectionError when the connection ended first: the message may have arrived or not.
        """
        reason = 0 if self.puback is None else await self.puback
        if reason is None:
            raise ConnectionError("The connection ended before the broker acknowledged the message.")
        return reason


class Link:
    """One paho client on the running loop, from its connect to its end."""

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        mqtt: str,
        session_expiry: int,
        on_message: Callable[[Incoming], None],
        on_end: Callable[[], None],
        will: tuple[str, bytes] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._version = PROTOCOLS[mqtt]
        self._session_expiry = session_expiry
        self._client = build_client(
            self._address, client_id=client_id, protocol=self._version, clean_start=not session_expiry
        )
        if will is not None:
            self._client.will_set(*will, qos=1)
        self._on_message = on_message
        self._on_end = on_end
        self._pubacks: dict[int, asyncio.Future[int | None]] = {}
        self._connack: asyncio.Future[str] = self._loop.create_future()
        self._suback: asyncio.Future[list[int]] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[str] = self._loop.create_future()

    async def open(self, topics: Iterable[str]) -> list[str]:
        """Connect and subscribe; returns the topics that the access list denies.

        Raises RefusedError, OSError or another ConnectionError.
        """
        client = self._client
        dial = partial(client.connect, self._address.host, self._address.port, KEEPALIVE)
        if self._version == PROTOCOLS["5"]:
            properties = connect_properties(session_expiry=self._session_expiry, receive_maximum=RECEIVE_MAXIMUM)
            dial = partial(dial, clean_start=not self._session_expiry, properties=properties)
        # Blocks on DNS, TCP and TLS, so it runs in a thread; the CONNECT packet leaves from there too.
        try:
            await asyncio.to_thread(dial)
        except OSError as error:
            if not self._address.tls:
                raise
            raise ConnectionError(self._address.explain(error)) from error

        # paho holds locks while it calls these: they only note what happened.

        def receive(_client: object, _data: object, message: Any) -> None:
            incoming = Incoming(message.topic, message.payload, message.qos, message.mid, message.retain)
            # Later, so that a fault in a handler cannot leave paho in the middle of a packet.
            self._loop.call_soon(self._on_message, incoming)

        client.on_connect = lambda _client, _data, _flags, reason, _props: _settle(
            self._connack, str(reason) if reason.is_failure else ""
        )
        client.on_subscribe = lambda _client, _data, _mid, codes, _props: _settle(
            self._suback, [code.value for code in codes]
        )
        client.on_publish = lambda _client, _data, mid, reason, _props: _settle(
            self._pubacks.pop(mid, None), reason.value
        )
        client.on_message = receive
        client.on_disconnect = lambda _client, _data, _flags, reason, _props: self._end(str(reason))
        self._attach()

        refusal = await self._connack
        if refusal:
            raise RefusedError(f"The broker refused the connection: {refusal}.")
        wanted = list(topics)
        client.subscribe([(topic, 1) for topic in wanted])
        granted = await self._suback
        return [topic for topic, code in zip(wanted, granted, strict=True) if code >= FAILURE]

    def _attach(self) -> None:
        """Let the loop read and write the socket."""
        client, loop = self._client, self._loop
        sock = client.socket()
        if sock is None:
            raise ConnectionError(explain_end(client, self._address))
        descriptor = sock.fileno()  # kept: a closed socket no longer knows its own

        def read() -> None:
            client.loop_read()
            # A TLS socket may hold decrypted bytes that the selector cannot see.
            while isinstance(sock := client.socket(), ssl.SSLSocket) and sock.pending():
                client.loop_read()

        def forget(_client: object, _data: object, _sock: object) -> None:
            loop.remove_reader(descriptor)

        def start_writing(_client: object, _data: object, _sock: object) -> None:
            loop.add_writer(descriptor, client.loop_write)

        def stop_writing(_client: object, _data: object, _sock: object) -> None:
            loop.remove_writer(descriptor)

        client.on_socket_close = forget
        client.on_socket_register_write = start_writing
        client.on_socket_unregister_write = stop_writing
        loop.add_reader(descriptor, read)
        if client.want_write():
            loop.add_writer(descriptor, client.loop_write)
        self._tick()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(KEEPALIVE / 4, self._tick)
        self._client.loop_misc()

    def _end(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for puback in self._pubacks.values():
            _settle(puback, None)
        self._pubacks.clear()
        cause = reason if self._connack.done() else explain_end(self._client, self._address)
        lost = ConnectionError(f"The connection ended: {cause}.")
        for answer in (self._connack, self._suback):
            if not answer.done():
                answer.set_exception(lost)
                answer.exception()  # counts as read: open() may have given up
        if not self.ended.done():
            self.ended.set_result(reason)
            self._on_end()

    def send(self, topic: str, payload: bytes, qos: int, retain: bool) -> Sent:
        """Hand a message to the socket; raises ConnectionError when there is none."""
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc != 0:
            raise ConnectionError("Not connected to the broker.")
        if qos == 0:
            return Sent(info.mid, None)
        puback = self._pubacks[info.mid] = self._loop.create_future()
        return Sent(info.mid, puback)

    def drop(self) -> None:
        """Cut the connection without a DISCONNECT, as a lost network does."""
        sock: Any = self._client.socket()
        if sock is None:
            self._end("never opened")
            return
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())
        sock.close()
        self._client.loop_read()  # paho finds the socket closed and cleans up
        self._end("dropped")

    async def close(self, *, within: float) -> None:
        """Send DISCONNECT and wait for the socket to close."""
        if self.ended.done():
            return
        self._client.disconnect()
        await asyncio.wait([self.ended], timeout=within)
        if not self.ended.done():
            self.drop()


def _settle(future: "asyncio.Future[T] | None", result: T) -> None:
    if future is not None and not future.done():
        future.set_result(result)


class Connection:
    """A connection to the broker that can be opened again and again, each time with a new client.

    `topics` are subscribed at QoS 1 at each opening, in one message. The connection stands if the broker grants all
    that are `needed`, by default all of them; what it denied is in `denied`. `session_expiry` (seconds) above 0 keeps
    the session on the broker, so that messages sent in between are delivered at the next opening. `on_message` is
    called on the loop with each `Incoming`. `backoff` is (first, longest) pause between attempts, in seconds. `will`
    is (topic, payload) of what the broker publishes when it loses the connection.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        topics: Iterable[str],
        on_message: Callable[[Incoming], None],
        mqtt: str = "5",
        session_expiry: int = 0,
        timeout: float = 10.0,
        backoff: tuple[float, float] = (0.5, 30.0),
        will: tuple[str, bytes] | None = None,
        certificates: Certificates = DEFAULT_CERTIFICATES,
    ) -> None:
        if mqtt not in PROTOCOLS:
            raise ValueError(f"Unknown MQTT version {mqtt!r}: expected one of {', '.join(PROTOCOLS)}.")
        self.topics = list(topics)
        self.needed = set(self.topics)
        self.denied: list[str] = []
        self._certificates = certificates
        self.url = url
        self._address = parse_url(url, certificates)
        self._timeout = timeout
        self._backoff = backoff
        self._link: Link | None = None
        self._opened = asyncio.Event()
        self._build_link = partial(
            Link,
            client_id=client_id,
            mqtt=mqtt,
            session_expiry=session_expiry,
            on_message=on_message,
            on_end=self._opened.clear,
            will=will,
        )

    @property
    def is_open(self) -> bool:
        """Connected and subscribed, as far as we know."""
        return self._opened.is_set()

    async def open(self) -> None:
        """Connect and subscribe once; raises RefusedError, OSError (no broker there) or TimeoutError."""
        link = self._link = self._build_link(self._address)
        try:
            async with asyncio.timeout(self._timeout):
                self.denied = await link.open(self.topics)
            if missing := [topic for topic in self.denied if topic in self.needed]:
                raise RefusedError(f"The broker denied the subscription to {', '.join(missing)}.")
        except BaseException:
            link.drop()
            raise
        self._opened.set()

    def move(self, url: str) -> None:
        """Drop the connection; from now on it is opened at this address. Raises ValueError for a malformed one."""
        self._address = parse_url(url, self._certificates)
        self.url = url
        self.drop()

    async def open_patiently(self, on_failure: Callable[[Exception], object]) -> None:
        """Try until connected, with growing pauses; `on_failure` gets the error of each failed attempt."""
        pause, longest = self._backoff
        while True:
            try:
                return await self.open()
            except (OSError, TimeoutError) as error:
                on_failure(error)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads docks, no secret
            pause = min(pause * 2, longest)

    async def wait_open(self) -> None:
        """Wait until the connection is there."""
        await self._opened.wait()

    async def wait_lost(self) -> str:
        """Wait until the connection ends, and return why (at once when there is none)."""
        return await asyncio.shield(self._link.ended) if self._link else "never opened"

    async def while_open(self, work: Coroutine[object, None, None]) -> str | None:
        """Do the work until it or the connection ends; returns why the connection did, None if the work did.

        Raises what the work raises.
        """
        doing = asyncio.ensure_future(work)
        lost = asyncio.ensure_future(self.wait_lost())
        try:
            await asyncio.wait([doing, lost], return_when=asyncio.FIRST_COMPLETED)
            return lost.result() if lost.done() else doing.result()
        finally:
            doing.cancel()
            lost.cancel()

    def send(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> Sent:
        """Hand a message to the socket; raises ConnectionError when not connected."""
        if self._link is None or not self.is_open:
            raise ConnectionError("Not connected to the broker.")
        return self._link.send(topic, payload, qos, retain)

    async def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> int:
        """Send and wait for the PUBACK; returns its reason code, raises ConnectionError."""
        return await self.send(topic, payload, qos, retain=retain).acknowledged()

    def drop(self) -> None:
        """Cut the connection without a DISCONNECT, as a lost network does."""
        if self._link is not None:
            self._link.drop()

    async def close(self) -> None:
        """End the connection as a client should; safe to call twice."""
        if self._link is not None:
            await self._link.close(within=1.0)
            self._link = None
