"""Who reads the database next: clients take turns, so that one with many WebSockets does not hold up the others."""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator


class Turns:
    """So many turns at a time, and at most half of them for one client; those who wait come round by client.

    For the tasks of one event loop.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._share = max(1, number // 2)
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next client first

    @contextlib.asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and give it back afterwards."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given at this moment
                self._take_back(client)
            raise
        try:
            yield
        finally:
            self._take_back(client)

    def _take_back(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
        self._give()

    def _give(self) -> None:
        """Give free turns, one to each client in order."""
        for client in list(self._waiting):
            if self._taken.total() >= self._number:
                return
            if self._taken[client] >= self._share:
                continue
            turns = self._waiting.pop(client)
            while turns and (turn := turns.popleft()):
                if not turn.done():  # nobody waits for a canceled one
                    self._taken[client] += 1
                    turn.set_result(None)
                    break
            if turns:
                self._waiting[client] = turns  # behind the others
