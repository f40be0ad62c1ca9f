"""A token bucket per gateway: how much work one device may make before it is ignored."""

from time import monotonic

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
    """Token buckets by serial number; a gateway whose bucket is full may be forgotten. For one thread."""

    def __init__(self, *, rate: float = RATE, burst: float = BURST) -> None:
        self.rate = rate
        self.burst = burst
        # When each bucket is full again, on a clock that counts the tokens that a bucket gets.
        self._full_at: dict[str, float] = {}

    def allow(self, gateway: str, *, cost: int = 1) -> bool:
        """Take the tokens that a message costs; False, and none is taken, if there are not that many."""
        now = monotonic() * self.rate
        full_at = max(self._full_at.get(gateway, now), now) + cost
        if full_at > now + self.burst:
            return False
        self._full_at[gateway] = full_at
        if len(self._full_at) > MAX_GATEWAYS:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            if len(self._full_at) > MAX_GATEWAYS // 2:
                self._full_at = {}  # else the next message would look through all of them again
        return True

    def charge(self, gateway: str, cost: int) -> None:
        """Take tokens for work that showed only when it was done; a gateway without them owes them, at most a burst."""
        now = monotonic() * self.rate
        self._full_at[gateway] = min(max(self._full_at.get(gateway, now), now) + cost, now + 2 * self.burst)

    def owes(self, gateway: str) -> bool:
        """Whether this gateway has used more than it had."""
        return self._full_at.get(gateway, 0.0) > monotonic() * self.rate + self.burst
