"""A channel layer in memory for one process with several threads and event loops: the embedded server."""

import asyncio
import contextlib
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from copy import deepcopy

Message = dict[str, object]


class Mailbox:
    """The messages of one channel, and the tasks that wait for one, each with its event loop."""

    def __init__(self, capacity: int) -> None:
        self.messages: deque[Message] = deque(maxlen=capacity)
        self.waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = deque()

    def wake(self) -> None:
        """Let one task look again, in its event loop."""
        while self.waiters:
            loop, event = self.waiters.popleft()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the next one
                loop.call_soon_threadsafe(event.set)
                return


class MemoryChannelLayer:
    """Channels and groups of one process; every method may be called in any thread and event loop.

    A channel keeps `capacity` messages and forgets its oldest, so that a slow reader harms nobody else.
    """

    extensions = ("groups", "flush")

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._mailboxes: dict[str, Mailbox] = {}
        self._groups: dict[str, set[str]] = {}

    async def new_channel(self, prefix: str = "specific.") -> str:
        """The name of a new channel, which exists until its receiver is cancelled."""
        name = f"{prefix}memory!{uuid.uuid4().hex}"
        with self._lock:
            self._mailboxes[name] = Mailbox(self._capacity)
        return name

    async def send(self, channel: str, message: Message) -> None:
        """Put a message into a channel; nothing happens if nobody has it any more."""
        self._deliver([channel], message)

    async def receive(self, channel: str) -> Message:
        """The oldest message of a channel; waits for one. The channel ends with the task that waits in here."""
        while True:
            with self._lock:
                mailbox = self._mailboxes.setdefault(channel, Mailbox(self._capacity))
                if mailbox.messages:
                    return mailbox.messages.popleft()
                arrival = asyncio.Event()
                mailbox.waiters.append((asyncio.get_running_loop(), arrival))
            try:
                await arrival.wait()
            except asyncio.CancelledError:
                with self._lock:
                    self._mailboxes.pop(channel, None)
                    for group in [group for group, channels in self._groups.items() if channel in channels]:
                        self._discard(group, channel)
                raise

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel get what is sent to a group."""
        with self._lock:
            self._groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """End that; nothing happens if the channel is not in the group."""
        with self._lock:
            self._discard(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        """Put a message into each channel of a group."""
        with self._lock:
            channels = list(self._groups.get(group, ()))
        self._deliver(channels, message)

    async def groups_send(self, messages: Mapping[str, Message]) -> None:
        """Put a message into each channel of each group."""
        for group, message in messages.items():
            await self.group_send(group, message)

    async def flush(self) -> None:
        """Forget everything."""
        with self._lock:
            self._mailboxes.clear()
            self._groups.clear()

    def _deliver(self, channels: Iterable[str], message: Message) -> None:
        with self._lock:
            for channel in channels:
                if mailbox := self._mailboxes.get(channel):
                    mailbox.messages.append(deepcopy(message))
                    mailbox.wake()

    def _discard(self, group: str, channel: str) -> None:
        members = self._groups.get(group, set())
        members.discard(channel)
        if not members:
            self._groups.pop(group, None)
