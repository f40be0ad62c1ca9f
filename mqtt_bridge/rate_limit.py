"""A token bucket per sender: how much one device may say before it is ignored."""

import time
from collections.abc import Callable

RATE = 50.0  # messages per second, in the long run
BURST = 1000.0  # messages at once
BYTES = 8192  # of a message are worth a message: a megabyte of small values costs the bridge half a second
MAX_SENDERS = 100_000


class RateLimiter:
    """Token buckets by serial number; a sender that was quiet long enough is forgotten."""

    def __init__(
        self, *, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, at what time

    def allow(self, sender: str, *, size: int = 0) -> bool:
        """Take a token for a message, and one for each BYTES of its size; False if there are not that many.

        The two longest lists of licenses, 3 MB each, fit in a burst.
        """
        now = self._clock()
        tokens, since = self._buckets.get(sender, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        cost = 1 + size // BYTES
        allowed = tokens >= cost
        self._buckets[sender] = (tokens - cost if allowed else tokens, now)
        if len(self._buckets) > MAX_SENDERS:
            self._forget_full(now)
        return allowed

    def _forget_full(self, now: float) -> None:
        full = self.burst / self.rate  # seconds after which any bucket is full again
        self._buckets = {sender: bucket for sender, bucket in self._buckets.items() if now - bucket[1] < full}
