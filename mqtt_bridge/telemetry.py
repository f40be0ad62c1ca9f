"""Telemetry on its way to the database: kept per device in memory, merged and handed over once a second."""

import logging
import secrets
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from django.conf import settings
from django.db import close_old_connections
from django.utils.module_loading import import_string

from mqtt_bridge.database.timeouts import is_away
from mqtt_bridge.line.client import Address
from mqtt_bridge.line.connection import BrokerUnavailableError, TelemetryConnection
from mqtt_bridge.monitoring import metrics
from mqtt_bridge.protocol import envelope as envelopes
from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.model_keys import NOT_CONNECTED
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

FLUSH_INTERVAL = 1.0  # seconds
# In one write, or a quarter of those that wait if that is more. A message takes three times its room when it is read,
# and its part of the statement as much again: 10,000 devices in one write took 300 MB.
DEVICES = 2_500
BACKLOG = 100_000  # messages kept when the database is slow; more are dropped
BACKLOG_BYTES = 128 * 1024 * 1024
REASON_CAP = 200  # characters
PAUSE = 1.0  # seconds until `run` tries again to reach the broker
CHECK_INTERVAL = 0.2  # seconds between two looks at its connection


def milliseconds(at: datetime) -> int:
    """Since 1970."""
    return int(at.timestamp() * 1000)


class Message(NamedTuple):
    """The newest message of a kind in a frame."""

    at: int  # when it arrived, ms since 1970
    keys: tuple[str, ...]  # its properties


@lru_cache(maxsize=1024)
def kind_of(keys: tuple[str, ...]) -> str:
    """Short for these keys, and the same in each process."""
    return f"{zlib.crc32(','.join(keys).encode(errors='replace')):08x}"


@dataclass(slots=True)
class Frame:
    """What one device sent since its last write; later values win.

    Docks send their osd in several messages, each with other properties, and every two seconds the same ones again:
    those with the same properties are of one kind. state messages come once, on a change, so that each property of them
    is a kind of its own.
    """

    sn: str
    received_at: datetime
    timestamp: int | None = None  # the device's clock at the newest message, ms
    data: dict[str, Any] = field(default_factory=dict)  # plain JSON, one value for each key
    data_since: datetime | None = None  # when the oldest message in `data` arrived
    kinds: dict[str, Message] = field(default_factory=dict)  # that make up `data`, in the order of arrival
    gateway: str = ""  # through which it spoke, as it claims
    refused: int = 0  # messages and values that could not be read
    refused_at: datetime | None = None  # the newest of them
    refused_why: str = ""
    unread: list[tuple[Channel, bytes, datetime]] = field(default_factory=list)  # in the order of arrival

    def add(self, channel: Channel, payload: bytes, at: datetime, counters: Counter[str]) -> None:
        """Merge one osd or state message, and count what came of it."""
        self.received_at = max(self.received_at, at)
        try:
            envelope = envelopes.decode(payload, channel=channel)
            if not isinstance(envelope.data, dict):
                raise RemoteProtocolError("data_invalid", f"data is of type {type(envelope.data).__name__}")
        except RemoteProtocolError as error:
            counters["telemetry_refused"] += 1
            self.refuse(f"{channel}: {error.reason}: {error.detail}", at)
            return
        counters["telemetry"] += 1
        self.timestamp = envelope.timestamp or self.timestamp
        self.gateway = envelope.gateway or self.gateway
        if envelope.not_numbers:
            counters["telemetry_not_numbers"] += envelope.not_numbers
            what = envelope.not_a_number or "an element of a list"
            self.refuse(f"{channel}: {what} is not a number", at, count=envelope.not_numbers)
        if not envelope.data:
            counters["telemetry_without_data"] += 1
            return
        self.data.update(envelope.data)
        self.data_since = self.data_since or at
        keys = tuple(envelope.data)
        for kind, members in ((kind_of(keys), keys),) if channel is Channel.OSD else ((key, (key,)) for key in keys):
            self.kinds.pop(kind, None)  # what comes again comes last
            self.kinds[kind] = Message(milliseconds(at), members)

    @property
    def is_of_absent_aircraft(self) -> bool:
        """Whether a gateway sent this in the name of an aircraft that is not connected (DJI: aircraft properties)."""
        return self.gateway not in ("", self.sn) and self.data.get("mode_code") == NOT_CONNECTED

    def newer_than(self, told: Mapping[str, int]) -> dict[str, Any]:
        """The data but for messages of which a newer one of their kind is known; `told` are moments as in `Message`."""
        late = {kind for kind, message in self.kinds.items() if message.at < told.get(kind, 0)}
        if not late:
            return self.data
        source = {key: kind for kind, message in self.kinds.items() for key in message.keys}
        return {key: value for key, value in self.data.items() if source[key] not in late}

    def refuse(self, why: str, at: datetime, *, count: int = 1) -> None:
        """Note what the device sent and nobody could read; that it sent it shows that it is there."""
        self.refused += count
        if self.refused_at is None or at >= self.refused_at:
            self.refused_at, self.refused_why = at, why[:REASON_CAP]


def _room(payload: bytes) -> int:
    """How much of BACKLOG_BYTES a message takes: of the shortest there are at most BACKLOG."""
    return max(len(payload), BACKLOG_BYTES // BACKLOG)


Sink = Callable[[Sequence[Frame]], Sequence[Frame]]  # returns what it could not store yet


class TelemetryBuffer:
    """Takes messages from the network thread, and writes them from its own thread.

    Losing all of it harms nothing: the next osd frame of a device comes within two seconds.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._messages: deque[tuple[str, Channel, bytes, datetime]] = deque()
        self._seen: deque[tuple[str, str, datetime]] = deque(maxlen=BACKLOG)
        self._frames: dict[str, Frame] = {}  # by serial number, those that wait longest first
        self._bytes_in = 0  # written by the network thread alone
        self._bytes_out = 0  # written by our thread alone
        self._limiter = RateLimiter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end."""
        self._stop.set()
        self._thread.join(timeout=5)

    def add(self, topic: str, payload: bytes) -> None:
        """Take one osd or state message; returns at once."""
        try:
            sn, channel, _ = topics.parse(topic)
        except RemoteProtocolError:
            self._counters["telemetry_refused"] += 1
            return
        if not self._limiter.allow(sn):
            self._counters["rate_limited"] += 1
        elif self._bytes_in - self._bytes_out + _room(payload) > BACKLOG_BYTES:
            self._counters["telemetry_dropped"] += 1
        else:
            self._bytes_in += _room(payload)
            self._messages.append((sn, channel, payload, datetime.now(UTC)))

    def note_seen(self, seen: Iterable[tuple[str, str]], at: datetime) -> None:
        """These gateways sent something on the control connection, each with why that was refused, "" if it was not."""
        self._seen.extend((sn, refused_why, at) for sn, refused_why in seen)

    def _run(self) -> None:
        sink: Sink = import_string(settings.TELEMETRY_SINK)
        began = monotonic()
        while not self._stop.wait(began + FLUSH_INTERVAL - monotonic()):
            began = monotonic()
            self._flush(sink, max(DEVICES, len(self._frames) // 4))
        self._flush(sink)

    def _flush(self, sink: Sink, most: int | None = None) -> None:
        """Hand over frames, at most so many; once more after a deadlock, or when the database comes back."""
        try:
            if frames := self._take(most):
                close_old_connections()
                began = monotonic()
                try:
                    held = sink(frames)
                except Exception as error:
                    if not is_away(error):
                        raise
                    close_old_connections()
                    held = sink(frames)
                self._frames = {frame.sn: frame for frame in held} | self._frames
                metrics.telemetry_devices.set(len(frames))
                metrics.telemetry_write_seconds.observe(monotonic() - began)
        except Exception:
            # A thread that died would leave all devices to fall offline while the bridge looks well.
            logger.exception("Telemetry of one second is dropped")

    def _take(self, most: int | None) -> list[Frame]:
        """The frames of those devices that wait longest, with all that has arrived of them."""
        for _ in range(len(self._messages)):
            sn, channel, payload, at = self._messages.popleft()
            self._frames.setdefault(sn, Frame(sn, at)).unread.append((channel, payload, at))
        for _ in range(len(self._seen)):
            sn, refused_why, at = self._seen.popleft()
            frame = self._frames.setdefault(sn, Frame(sn, at))
            frame.received_at = max(frame.received_at, at)
            if refused_why:
                frame.refuse(refused_why, at)
        frames = [self._frames.pop(sn) for sn in list(islice(self._frames, most))]
        for frame in frames:
            for channel, payload, at in frame.unread:
                frame.add(channel, payload, at, self._counters)
                self._bytes_out += _room(payload)
            frame.unread.clear()  # it may come again
        return frames


def run(address: Address, *, client_id: str, stop: threading.Event) -> None:
    """Take a share of the telemetry, beside the bridge, until `stop` is set; what has arrived then is written.

    Nobody has to know of the others. The broker hands each message to one of those that subscribe to the same share: it
    is the broker that notices when one joins or is gone, at once if its connection ends and within 15 seconds if it
    hangs. So nothing is handed over and nothing taken over, and the last one that is left gets all. What a process had
    in memory when it was killed is lost, as QoS 0 allows: the next osd comes within two seconds, and is as likely to
    come to another one.
    """
    client_id = f"{client_id}-telemetry-{secrets.token_hex(4)}"  # another one for each process
    counters: Counter[str] = Counter()
    metrics.live_figures.counters = counters
    buffer = TelemetryBuffer(counters)
    buffer.start()
    while not stop.is_set():
        try:
            with closing(TelemetryConnection(address, client_id=client_id, sink=buffer.add)) as connection:
                connection.open()
                logger.info("Taking telemetry as %s", client_id)
                while not stop.wait(CHECK_INTERVAL):
                    connection.check()
        except BrokerUnavailableError as error:
            logger.warning("Taking no telemetry: %s. Next try in %.1f s", error, PAUSE)
            stop.wait(PAUSE)
    buffer.stop()
