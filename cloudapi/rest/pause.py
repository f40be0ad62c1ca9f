"""Leaving alone for a while what has just failed to answer: Redis, when it hangs."""

import time

SECONDS = 5.0


class Pause:
    """Whether this process leaves it alone; after `begin` for five seconds."""

    def __init__(self) -> None:
        self._until = 0.0  # by time.monotonic()

    def begin(self) -> None:
        self._until = time.monotonic() + SECONDS

    def is_on(self) -> bool:
        return time.monotonic() < self._until
