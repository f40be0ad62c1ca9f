"""One task per WebSocket that does all its sending, so that a browser that does not read holds up nobody."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from devices.live import frame_sender
from devices.live.frame_queue import Outbox
from devices.live.subscription import Look, View, Who

logger = logging.getLogger(__name__)

CHECK_EVERY = 30.0  # seconds between two looks at the rights
READ_EVERY = 0.5  # seconds at least between two looks at the database for one socket
SEND_TIMEOUT = 60.0  # seconds in which a browser has to take a frame
LEAVE_TIMEOUT = 5.0  # seconds

BAD_REQUEST = 4400
NOT_SIGNED_IN = 4401
NO_LONGER_ALLOWED = 4403
NOT_FOUND = 4404
TOO_MANY = 4429
INTERNAL_ERROR = 1011
TRY_AGAIN = 1013

AWAY = (*frame_sender.UNREACHABLE, DatabaseError, InterfaceError)

# Of their own, so that sockets and requests do not wait for each other.
_readers = ThreadPoolExecutor(settings.SOCKET_THREADS, thread_name_prefix="socket")


class Stream:
    """A snapshot, then frames, as long as they may be seen.

    `send` takes one text to the browser, `layer` and `channel` are the consumer's, `who` tells whose socket it is
    at each moment, `look` what they may see.
    """

    def __init__(
        self, *, send: Callable[[str], Awaitable[None]], layer: Any, channel: str, who: Who, look: Look
    ) -> None:
        self.outbox = Outbox()
        self._send = send
        self._layer = layer
        self._channel = channel
        self._who = who
        self._look = look
        self._view: View | None = None
        self._groups: frozenset[str] = frozenset()
        self._has_begun = False  # with a snapshot; what arrives before it waits
        self._read_at = 0.0

    def hear(self, frames: Iterable[tuple[str, str]]) -> None:
        """Queue what was sent to a group: pairs of the serial number that a hint is about, else "", and the text.

        Without a text it says that the rights of whoever listens have changed.
        """
        for sn, text in frames:
            if not text:
                self.outbox.ask_look()
            elif not sn:
                self.outbox.put(text)
            elif self._view is not None and self._view.concerns(sn):
                self.outbox.hint(text)

    async def begin(self) -> tuple[int | None, str]:
        """Look who it is and whether they may see this; returns the code that refuses them, or None, and who it is."""
        try:
            is_signed_in, self._view, _ = await self._in_thread(is_snapshot_due=False)
        except AWAY as error:
            logger.info("A WebSocket is sent away: %r", error)
            return TRY_AGAIN, ""
        if self._view is None:
            return NOT_FOUND if is_signed_in else NOT_SIGNED_IN, ""
        return None, self._view.whose

    async def run(self) -> int:
        """Send until there is a reason to close the socket; returns its code. `begin` comes before."""
        try:
            assert self._view is not None  # noqa: S101  (begin found it)
            await self._join(self._view.groups)
            while (code := self.outbox.close_code) is None:
                if self._has_begun:
                    await self._send_all(self.outbox.take())
                if self._seconds_to_read() <= 0 and (code := await self._read()) is not None:
                    break
                await self.outbox.wait(max(0.0, self._seconds_to_read()))
        except AWAY as error:  # the browser, the layer or the database
            logger.info("A WebSocket ends: %r", error)
            return TRY_AGAIN
        finally:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await self._join(frozenset())
        return code

    def _seconds_to_read(self) -> float:
        pause = READ_EVERY if self.outbox.is_read_due else CHECK_EVERY
        return self._read_at + pause - asyncio.get_running_loop().time()

    async def _read(self) -> int | None:
        """Look at the rights, and send what they allow; returns a code if they end here."""
        hints, is_snapshot_due = self.outbox.take_hints(), self.outbox.is_snapshot_due
        self.outbox.is_snapshot_due = False
        _, view, snapshot = await self._in_thread(is_snapshot_due=is_snapshot_due)
        if view is None:
            return NO_LONGER_ALLOWED
        self._view = view
        if view.groups != self._groups:
            # First the groups, then, with the next read, a snapshot: nothing is lost between them.
            await self._join(view.groups)
            for hint in hints:
                self.outbox.hint(hint)
            self.outbox.ask_snapshot()
            return None
        self._read_at = asyncio.get_running_loop().time()
        await self._send_all([*snapshot, *hints])
        self._has_begun = self._has_begun or is_snapshot_due
        return None

    async def _in_thread(self, *, is_snapshot_due: bool) -> tuple[bool, View | None, list[str]]:
        read = sync_to_async(self._read_database, thread_sensitive=False, executor=_readers)
        return await read(is_snapshot_due)

    def _read_database(self, is_snapshot_due: bool) -> tuple[bool, View | None, list[str]]:
        close_old_connections()
        try:
            principal = self._who()
            view = self._look(principal)
            return principal.is_authenticated, view, [view.snapshot()] if view is not None and is_snapshot_due else []
        finally:
            close_old_connections()

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
