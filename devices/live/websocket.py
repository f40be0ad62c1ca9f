"""One task per WebSocket that does all its sending, so that a browser that does not read holds up nobody."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from cloudapi.rest.guesses import TooManyTriesError
from devices.live.frame_queue import FrameQueue
from devices.live.frame_sender import UNREACHABLE, ChannelLayer
from devices.live.subscription import Identify, Subscribe, Subscription
from devices.live.turns import Turns

logger = logging.getLogger(__name__)

CHECK_EVERY = 30.0  # seconds between two checks of the rights
READ_EVERY = 0.5  # seconds at least between two reads of the database for one socket
SEND_TIMEOUT = 60.0  # seconds in which a browser has to take a frame
LEAVE_TIMEOUT = 5.0  # seconds

BAD_REQUEST = 4400
NOT_SIGNED_IN = 4401
NO_LONGER_ALLOWED = 4403
NOT_FOUND = 4404
TOO_MANY = 4429
INTERNAL_ERROR = 1011
TRY_AGAIN = 1013

AWAY = (*UNREACHABLE, DatabaseError, InterfaceError)

# Their own threads, so that sockets and requests do not wait for each other.
_readers = ThreadPoolExecutor(settings.SOCKET_THREADS, thread_name_prefix="socket")
_turns = Turns(settings.SOCKET_THREADS)


class FrameStream:
    """A snapshot, then frames, as long as they may be seen.

    `send` takes one text to the browser, `layer` and `channel` are the consumer's, `client` takes turns with others at
    reading the database, `identify` returns whose socket it is at each moment, `subscribe` what they may see.
    """

    def __init__(
        self,
        *,
        send: Callable[[str], Awaitable[None]],
        layer: ChannelLayer,
        channel: str,
        client: str,
        identify: Identify,
        subscribe: Subscribe,
    ) -> None:
        self._client = client
        self.queue = FrameQueue()
        self._send = send
        self._layer = layer
        self._channel = channel
        self._identify = identify
        self._subscribe = subscribe
        self._subscription: Subscription | None = None
        self._groups: frozenset[str] = frozenset()
        self._has_begun = False  # with a snapshot; what arrives before it waits
        self._read_at = 0.0

    def receive(self, frames: Iterable[tuple[str, str]]) -> None:
        """Queue what was sent to a group: pairs of the serial number that a hint is about, else "", and the text.

        An empty text means that the rights of the user or key have changed.
        """
        for sn, text in frames:
            if not text:
                self.queue.ask_check()
            elif not sn:
                self.queue.put(text)
            elif self._subscription is not None and self._subscription.concerns(sn):
                self.queue.hint(text)

    async def begin(self) -> tuple[int | None, str]:
        """Find out whose socket it is and what it may show; returns the code that refuses it, or None, and whose."""
        try:
            is_signed_in, self._subscription, _ = await self._read_database(is_snapshot_due=False)
        except AWAY as error:
            logger.info("A WebSocket is sent away: %r", error)
            return TRY_AGAIN, ""
        except TooManyTriesError:
            return TOO_MANY, ""
        if self._subscription is None:
            return NOT_FOUND if is_signed_in else NOT_SIGNED_IN, ""
        self._client = self._subscription.whose
        return None, self._client

    async def run(self) -> int:
        """Send until there is a reason to close the socket; returns its code. `begin` comes before."""
        try:
            assert self._subscription is not None  # noqa: S101  (begin found it)
            await self._join(self._subscription.groups)
            while (code := self.queue.close_code) is None:
                if self._has_begun:
                    await self._send_all(self.queue.take())
                if self._seconds_to_read() <= 0 and (code := await self._read()) is not None:
                    break
                await self.queue.wait(max(0.0, self._seconds_to_read()))
        except AWAY as error:  # the browser, the layer or the database
            logger.info("A WebSocket ends: %r", error)
            return TRY_AGAIN
        finally:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await self._join(frozenset())
        return code

    def _seconds_to_read(self) -> float:
        pause = READ_EVERY if self.queue.is_read_due else CHECK_EVERY
        return self._read_at + pause - asyncio.get_running_loop().time()

    async def _read(self) -> int | None:
        """Check the rights, and send what they allow; returns a code if they end here."""
        hints, is_snapshot_due = self.queue.take_hints(), self.queue.is_snapshot_due
        self.queue.is_snapshot_due = False
        _, self._subscription, snapshot = await self._read_database(is_snapshot_due=is_snapshot_due)
        if self._subscription is None:
            return NO_LONGER_ALLOWED
        if self._subscription.groups != self._groups:
            # First the groups, then, with the next read, a snapshot: nothing is lost between them.
            await self._join(self._subscription.groups)
            for hint in hints:
                self.queue.hint(hint)
            self.queue.ask_snapshot()
            return None
        self._read_at = asyncio.get_running_loop().time()
        await self._send_all([*snapshot, *hints])
        self._has_begun = self._has_begun or is_snapshot_due
        return None

    async def _read_database(self, *, is_snapshot_due: bool) -> tuple[bool, Subscription | None, list[str]]:
        """Whether the client is signed in, what it may see, and the snapshot of that if it is due."""

        def read() -> tuple[bool, Subscription | None, list[str]]:
            close_old_connections()
            try:
                principal = self._identify()
                seen = self._subscribe(principal)
                return principal.is_authenticated, seen, [seen.snapshot()] if seen and is_snapshot_due else []
            finally:
                close_old_connections()

        async with _turns.turn(self._client):
            return await sync_to_async(read, thread_sensitive=False, executor=_readers)()

    async def _send_all(self, texts: Iterable[str]) -> None:
        for text in texts:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._send(text)

    async def _join(self, groups: frozenset[str]) -> None:
        for group in self._groups - groups:
            await self._layer.group_discard(group, self._channel)
        before, self._groups = self._groups, groups
        try:
            for group in groups - before:
                await self._layer.group_add(group, self._channel)
        except RuntimeError as error:  # the layer has forgotten the channel: its socket ended at this moment
            raise ConnectionResetError("the browser has gone") from error
