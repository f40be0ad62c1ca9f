"""The pipe between the bridge and the session of its control connection, and what passes through it.

`ControlConnection` (`control.py`) is the bridge's end, `Session` (`session.py`) the broker's. Each is used by one
thread, and they share nothing else. With PostgreSQL the session has a process of its own, so that neither waits for the
other's interpreter lock; with SQLite, and in the demo, the same code is a thread.

* The bridge sends first its `Options`, then `Orders`. The answers of a wave leave together.
* The session sends a `Report` once it is connected, one for each `Take`, as soon as a message has arrived or its time
  is up, and one when the connection is lost.

The session owns the MQTT client, the inbox, the tokens of all gateways, and the acknowledgements: by hand, in the order
of arrival, of what was reported as handled and whose answers the broker has. A batch is decided when the bridge asks
for it, so the bridge asks when it has answered the one before, and journals that while the next one comes.

Either end closes when the other one does, however that happened. The bridge then serves anew; the session carries out
the orders that reached it, for they stand for finished work, and disconnects. A session with a process of its own
ignores SIGTERM and SIGINT: whoever stops the bridge may send them to both.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct, msgpack

from mqtt_bridge.line.client import Address
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.monitoring.backlog import Backlog


class Options(Struct):
    """How to connect."""

    address: Address
    client_id: str
    filters: Sequence[str]
    ping_topic: str
    unwanted: Sequence[str] = ()  # what the session may still be subscribed to


class Publish(NamedTuple):
    """An answer goes out; the delivery with packet id `answers` is not acknowledged before (0: no delivery)."""

    topic: str
    payload: bytes
    answers: int = 0
    qos: int = 1


class Take(NamedTuple):
    """The next report is due when there is a message, or after so many seconds."""

    limit: int
    timeout: float


class Orders(Struct, array_like=True):
    """What the session is to do, in this order."""

    answers: list[Publish] = []
    handled: list[int] = []  # packet ids of deliveries that are done and committed
    held: list[Delivery] = []  # came across a locked row: to be handed out again after a rest
    preferred: list[str] = []  # gateways that come first from now on
    charges: list[tuple[str, int]] = []  # tokens that a gateway's work cost, which showed only when it was done
    ping: bytes = b""  # to be published on the topic of pings, and the only one that is admitted there, once
    take: Take | None = None


class Report(Struct, array_like=True):
    """What the session sends."""

    deliveries: list[Delivery]
    drops: dict[str, int]  # messages dropped and replies refused since the last report, by reason
    backlog: Backlog
    lost: str = ""  # why the connection is gone
    is_closed_by_broker: bool = False


encode = msgpack.Encoder().encode
decode_orders = msgpack.Decoder(Orders).decode
decode_report = msgpack.Decoder(Report).decode


class Pipe:
    """One end of the pipe: whole messages, each after its length."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.unsent = bytearray()
        self._received = bytearray()

    def send(self, message: bytes) -> None:
        """Send a message, or as much as there is room for if the socket does not block."""
        self.unsent += len(message).to_bytes(4, "big") + message
        self.flush()

    def flush(self) -> None:
        """Send what there is room for; what nobody reads any more is dropped, and `fill` will see the end."""
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self.unsent:
                del self.unsent[: self.end.send(self.unsent)]

    def fill(self) -> None:
        """Receive what there is, or wait for it; raises EOFError if the other end is closed."""
        try:
            data = self.end.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        self._received += data

    def pop(self) -> bytes | None:
        """The next message, if it has arrived completely."""
        end = 4 + int.from_bytes(self._received[:4], "big")
        if not 4 < end <= len(self._received):
            return None
        message = bytes(self._received[4:end])
        del self._received[:end]
        return message

    def wait(self) -> bytes:
        """The next message."""
        while (message := self.pop()) is None:
            self.fill()
        return message
