"""The queue of frames for one browser."""

import asyncio
from collections.abc import Iterable

# A browser that does not read gets a snapshot instead of more.
MOST = 500  # texts
LONGEST = 1_000_000  # characters in all


class FrameQueue:
    """Texts in their order, each hint once, and whether rights or a snapshot must be read; limited in all."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        self.is_snapshot_due = True
        self.is_check_due = False  # of the rights
        self._texts: list[str] = []
        self._length = 0
        self._hints: dict[str, None] = {}
        self._changed = asyncio.Event()

    @property
    def is_read_due(self) -> bool:
        """Whether the database must be read first: may this user still see it, what is it now."""
        return self.is_snapshot_due or self.is_check_due or bool(self._hints)

    def put(self, text: str) -> None:
        """Queue a frame that may be sent without another check of the rights."""
        self._texts.append(text)
        self._length += len(text)
        self._limit()

    def hint(self, text: str) -> None:
        """Queue a frame that needs one, for this user's rights may have ended; the same again is dropped."""
        self._hints[text] = None
        self._limit()

    def ask_snapshot(self) -> None:
        """Request a snapshot; twice before it is sent is once."""
        self.is_snapshot_due = True
        self._changed.set()

    def ask_check(self) -> None:
        """Request that the rights are read again."""
        self.is_check_due = True
        self._changed.set()

    def close(self, code: int) -> None:
        """Request that the socket is closed."""
        self.close_code = code
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next change, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def take(self) -> Iterable[str]:
        """Frames to be sent now."""
        texts, self._texts, self._length = self._texts, [], 0
        return texts

    def take_hints(self) -> Iterable[str]:
        """Hints to be sent now that the user is known to be allowed to."""
        hints, self._hints, self.is_check_due = self._hints, {}, False
        return hints

    def _limit(self) -> None:
        if len(self._texts) + len(self._hints) > MOST or self._length > LONGEST:
            self._texts, self._length, self._hints, self.is_snapshot_due = [], 0, {}, True
        self._changed.set()
