"""The pipe between the bridge and the session of its control connection, and what passes through it.

`ControlConnection` (`control.py`) is the bridge's end, `Session` (`session.py`) the broker's. Each is used by one
thread, and they share nothing else. With PostgreSQL the session has a process of its own, so that neither waits for the
other's interpreter lock; with SQLite, and in the demo, the same code is a thread.

* The bridge sends lists of *orders*, which are carried out in turn: `Publish`, `Handled`, `PutBack`, `Prefer`,
  `Charge`, `Ping`, and `Take`, which asks for a batch. The answers of a wave leave together.
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

from msgspec import Struct, msgpack

from mqtt_bridge.line.client import Address
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.monitoring.backlog import Backlog


class Publish(Struct, tag=True, array_like=True):
    """An answer goes out; the delivery with packet id `answers` is not acknowledged before (0: no delivery)."""

    topic: str
    payload: bytes
    answers: int = 0
    qos: int = 1


class Handled(Struct, tag=True, array_like=True):
    """The deliveries with these packet ids are done and committed."""

    mids: list[int]


class PutBack(Struct, tag=True, array_like=True):
    """These came across a locked row."""

    deliveries: Sequence[Delivery]


class Prefer(Struct, tag=True, array_like=True):
    """These gateways come first."""

    gateways: list[str]


class Charge(Struct, tag=True, array_like=True):
    """A gateway made work that showed only when it was done."""

    gateway: str
    tokens: int


class Ping(Struct, tag=True, array_like=True):
    """The only message that is admitted on the topic of pings from now on, once; it is published there."""

    payload: bytes


class Take(Struct, tag=True, array_like=True):
    """The next report is due when there is a message, or after so many seconds."""

    limit: int
    timeout: float


Order = Publish | Handled | PutBack | Prefer | Charge | Ping | Take


class Options(Struct):
    """How to connect: what the bridge sends before anything else."""

    address: Address
    client_id: str
    filters: Sequence[str]
    ping_topic: str
    unwanted: Sequence[str] = ()  # what the session may still be subscribed to


class Report(Struct, array_like=True):
    """What the session sends."""

    deliveries: list[Delivery]
    drops: dict[str, int]  # counts since the last report, by reason
    backlog: Backlog
    lost: str = ""  # why the connection is gone
    is_closed_by_broker: bool = False


encode = msgpack.Encoder().encode
decode_orders = msgpack.Decoder(list[Order]).decode
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
