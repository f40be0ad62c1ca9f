"""A token bucket per gateway: how much work one device may make before it is ignored."""

import time
from collections.abc import Callable

RATE = 50.0  # tokens per second, in the long run; a plain message costs one
BURST = 1000.0  # tokens at once
BYTES = 8192  # of a message are worth a message: a megabyte of small values costs the bridge half a second
ENVELOPE = 2  # JSON objects that any message has: itself and its data
# All docks together that come through enrolment: 200 docks can onboard at once, and a thousand in half a minute.
ENROLMENT_RATE = 200.0
ENROLMENT_BURST = 2000.0
MAX_GATEWAYS = 100_000


def cost(topic: str, payload: bytes) -> int:
    """How many tokens a message costs, before it is parsed: one for each BYTES, and one for each entry of a list.

    An entry of a bind list or of a topology is an object, which is counted by its brace: no spelling of JSON hides it.
    A list of licenses is paid by its size alone: the two longest, 3 MB each, fit in a burst. No message costs more than
    a burst: what is too much is refused with an answer, and not passed over in silence.
    """
    entries = payload.count(b"{") - ENVELOPE if topic.endswith(("/requests", "/status")) else 1
    return min(max(1, entries) + len(payload) // BYTES, int(BURST))


class RateLimiter:
    """Token buckets by serial number; a gateway that was quiet long enough is forgotten. For one thread."""

    def __init__(
        self, *, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, at what time

    def allow(self, gateway: str, *, cost: int = 1) -> bool:
        """Take the tokens that a message costs; False, and none is taken, if there are not that many."""
        tokens, now = self._tokens(gateway)
        allowed = tokens >= cost
        self._buckets[gateway] = (tokens - cost if allowed else tokens, now)
        if len(self._buckets) > MAX_GATEWAYS:
            full = 2 * self.burst / self.rate  # seconds after which any bucket is full again, whatever it owed
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < full}
            if len(self._buckets) > MAX_GATEWAYS // 2:
                self._buckets = {}  # else the next message would look through all of them again
        return allowed

    def charge(self, gateway: str, cost: int) -> None:
        """Take tokens for work that showed only when it was done; a gateway without them owes them, at most a burst."""
        tokens, now = self._tokens(gateway)
        self._buckets[gateway] = (max(tokens - cost, -self.burst), now)

    def owes(self, gateway: str) -> bool:
        """Whether this gateway has used more than it had."""
        return self._tokens(gateway)[0] < 0

    def _tokens(self, gateway: str) -> tuple[float, float]:
        """What it has now, and the time."""
        now = self._clock()
        tokens, since = self._buckets.get(gateway, (self.burst, now))
        return min(self.burst, tokens + (now - since) * self.rate), now
