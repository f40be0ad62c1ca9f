"""The one thread of a process that hands frames to the channel layer, so that no other thread waits for Redis."""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

BACKLOG = 10_000  # frames kept while the layer does not answer; of more the oldest are dropped
BATCH = 200  # frames taken at once
SEND_TIMEOUT = 5.0  # seconds for one batch to the layer
PAUSE = 0.5  # seconds between two attempts
CLOSE_TIMEOUT = 1.0  # seconds that the end of the process waits

# How a layer fails that is unreachable for a while; any other error is a fault of the frame.
UNREACHABLE = (RedisError, OSError)


class Frame(NamedTuple):
    """Finished JSON for the sockets in one group of the channel layer."""

    group: str
    text: str
    about: str = ""  # the serial number of the device that a hint is about, "" for anything else


class ChannelLayer(Protocol):
    """What we use of a channel layer of Channels, which has no types, and of `devices/live/redis_layer.py`."""

    async def groups_send(self, messages: Mapping[str, object]) -> None: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...


class FrameSender:
    """A queue and the thread that empties it; frames of one group stay in order.

    While the layer is unreachable the thread tries again and the queue drops its oldest frames: browsers fetch anew.
    """

    def __init__(self, *, layer: ChannelLayer | None = None, backlog: int = BACKLOG) -> None:
        self.dropped = 0  # frames that nobody will see
        self._layer: ChannelLayer = layer or get_channel_layer()
        self._queue: deque[Frame] = deque(maxlen=backlog)
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def put(self, frames: Sequence[Frame]) -> None:
        """Queue frames; returns at once."""
        with self._changed:
            room = (self._queue.maxlen or 0) - len(self._queue)
            self.dropped += max(0, len(frames) - room)
            self._queue.extend(frames)
            self._changed.notify_all()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Send what is queued, for at most so many seconds, and end; returns whether all was sent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closing)
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if not batch:  # it is closing, and all is sent
                break
            try:
                self._deliver(loop, batch)
            except Exception:
                logger.exception("%d live frames are dropped", len(batch))
                self.dropped += len(batch)
        with contextlib.suppress(*UNREACHABLE):
            loop.close()  # and with it the connection of the layer

    def _deliver(self, loop: asyncio.AbstractEventLoop, batch: Sequence[Frame]) -> None:
        """Send these frames, one message for each group; try again until the layer takes them."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for frame in batch:
            groups.setdefault(frame.group, []).append((frame.about, frame.text))
        messages = {group: {"type": "frames", "frames": frames} for group, frames in groups.items()}
        failing_since: float | None = None
        while True:
            try:
                loop.run_until_complete(asyncio.wait_for(self._layer.groups_send(messages), SEND_TIMEOUT))
                break
            except UNREACHABLE as error:
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


# --- the sender of this process --------------------------------------------------------------------

_current: FrameSender | None = None
_lock = threading.Lock()


def send(frames: Sequence[Frame]) -> None:
    """Queue frames with this process's sender."""
    of_process().put(frames)


def of_process() -> FrameSender:
    """This process's sender, made at first use."""
    global _current
    with _lock:
        if _current is None:
            _current = FrameSender()
            atexit.register(_current.close)
        return _current


def _forget() -> None:
    """A forked process has none of its parent's threads, and its lock in whatever state it was."""
    global _current, _lock
    _lock = threading.Lock()
    if _current is not None:
        atexit.unregister(_current.close)
        _current = None


os.register_at_fork(after_in_child=_forget)
