"""What waits to be sent to one browser."""

import asyncio
from collections.abc import Iterable

# A browser that does not read gets a snapshot instead of more.
MOST = 500  # texts
LONGEST = 1_000_000  # characters in all


class Outbox:
    """Texts in their order, hints once each, and whether rights or a snapshot are to be read; bounded in all."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        self.is_snapshot_due = True
        self.is_look_due = False
        self._texts: list[str] = []
        self._length = 0
        self._hints: dict[str, None] = {}
        self._news = asyncio.Event()

    @property
    def is_read_due(self) -> bool:
        """Whether something waits that only the database can tell: may this user still see it, what is it now."""
        return self.is_snapshot_due or self.is_look_due or bool(self._hints)

    def put(self, text: str) -> None:
        """Queue a frame that needs no second look."""
        self._texts.append(text)
        self._length += len(text)
        self._bound()

    def hint(self, text: str) -> None:
        """Queue a frame that may be the last one this user is allowed to know; the same again is the same."""
        self._hints[text] = None
        self._bound()

    def ask_snapshot(self) -> None:
        """Want a snapshot; wanting it twice before it is sent is wanting it once."""
        self.is_snapshot_due = True
        self._news.set()

    def ask_look(self) -> None:
        """Want the rights to be read again."""
        self.is_look_due = True
        self._news.set()

    def close(self, code: int) -> None:
        """Want the socket closed."""
        self.close_code = code
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Return when something new is wanted, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def take(self) -> Iterable[str]:
        """Frames to be sent now."""
        texts, self._texts, self._length = self._texts, [], 0
        return texts

    def take_hints(self) -> Iterable[str]:
        """Hints to be sent now that the user is known to be allowed to."""
        hints, self._hints, self.is_look_due = self._hints, {}, False
        return hints

    def _bound(self) -> None:
        if len(self._texts) + len(self._hints) > MOST or self._length > LONGEST:
            self._texts, self._length, self._hints, self.is_snapshot_due = [], 0, {}, True
        self._news.set()
