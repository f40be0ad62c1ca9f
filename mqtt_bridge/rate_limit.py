"""A token bucket per sender: how much one device may say before it is ignored."""

import time
from collections.abc import Callable

RATE = 50.0  # messages per second, in the long run
BURST = 1000.0  # messages at once
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

    def allow(self, sender: str) -> bool:
        """Take one token, if there is one."""
        now = self._clock()
        tokens, since = self._buckets.get(sender, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._buckets[sender] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MAX_SENDERS:
            self._forget_full(now)
        return allowed

    def _forget_full(self, now: float) -> None:
        full = self.burst / self.rate  # seconds after which any bucket is full again
        self._buckets = {sender: bucket for sender, bucket in self._buckets.items() if now - bucket[1] < full}
