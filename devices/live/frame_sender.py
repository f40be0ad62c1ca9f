"""The one thread of a process that hands frames to the channel layer, so that nobody else ever waits for Redis."""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

BACKLOG = 10_000  # frames kept while the layer does not answer; of more the oldest are dropped
BATCH = 200  # frames taken at once
SEND_TIMEOUT = 5.0  # seconds for one message to the layer
PAUSE = 0.5  # seconds between two attempts
CLOSE_TIMEOUT = 1.0  # seconds that the end of the process waits

# How a layer fails that is away for a while; whatever else goes wrong is a fault of the frame.
UNREACHABLE = (RedisError, OSError)


class Frame(NamedTuple):
    """Finished JSON for the sockets in one group of the channel layer."""

    group: str
    text: str
    about: str = ""  # the serial number of the device that a hint is about, "" for anything else


class Sender:
    """A queue and the thread that empties it; frames of one group stay in order.

    While the layer is away the thread tries again and the queue forgets its oldest frames: browsers fetch anew.
    """

    def __init__(self, *, layer: Any = None, backlog: int = BACKLOG) -> None:
        self.dropped = 0  # frames that nobody will see
        self._layer = layer or get_channel_layer()
        self._waiting: deque[Frame] = deque(maxlen=backlog)
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def put(self, frames: Sequence[Frame]) -> None:
        """Queue frames; returns at once."""
        with self._changed:
            room = (self._waiting.maxlen or 0) - len(self._waiting)
            self.dropped += max(0, len(frames) - room)
            self._waiting.extend(frames)
            self._changed.notify_all()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Send what waits, for at most so many seconds, and end; returns whether all was sent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        while batch := self._take():
            try:
                self._deliver(loop, batch)
            except Exception:
                logger.exception("%d live frames are dropped", len(batch))
                self.dropped += len(batch)
        with contextlib.suppress(*UNREACHABLE):
            loop.close()  # and with it the connection of the layer

    def _take(self) -> list[Frame]:
        """The oldest frames, waited for; none when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _deliver(self, loop: asyncio.AbstractEventLoop, batch: Sequence[Frame]) -> None:
        failing_since: float | None = None
        for group, frames in _by_group(batch).items():
            while (error := loop.run_until_complete(self._send(group, frames))) is not None:
                if failing_since is None:
                    failing_since = time.monotonic()
                    logger.warning("Browsers are not told, the channel layer fails: %r", error)
                time.sleep(PAUSE)
        if failing_since is not None:
            logger.warning(
                "The channel layer works again after %.0f s; %d frames were dropped so far",
                time.monotonic() - failing_since,
                self.dropped,
            )

    async def _send(self, group: str, frames: Sequence[Frame]) -> Exception | None:
        """Send once; returns why the layer could not be reached, if it could not."""
        message = {"type": "frames", "frames": [[frame.about, frame.text] for frame in frames]}
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._layer.group_send(group, message)
        except UNREACHABLE as error:
            return error
        return None


def _by_group(batch: Iterable[Frame]) -> Mapping[str, Sequence[Frame]]:
    """One message per group is a fraction of the work of one per frame."""
    groups: dict[str, list[Frame]] = {}
    for frame in batch:
        groups.setdefault(frame.group, []).append(frame)
    return groups


# --- the sender of this process --------------------------------------------------------------------

_current: Sender | None = None
_lock = threading.Lock()


def send(frames: Sequence[Frame]) -> None:
    """Queue frames with this process's sender, which is made at first use."""
    sender().put(frames)


def sender() -> Sender:
    """This process's sender."""
    global _current
    with _lock:
        if _current is None:
            _current = Sender()
            atexit.register(_current.close)
        return _current


def _forget() -> None:
    """A forked process has none of its parent's threads, and the lock as it happened to be."""
    global _current, _lock
    _lock = threading.Lock()
    if _current is not None:
        atexit.unregister(_current.close)
        _current = None


os.register_at_fork(after_in_child=_forget)
