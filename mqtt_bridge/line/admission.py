"""Who is let in: each message is judged at arrival, by its topic and bytes, before anything is parsed."""

import hmac
from collections import Counter

from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.protocol.topics import ENROLMENT_PREFIX
from mqtt_bridge.rate_limit import ENROLMENT_BURST, ENROLMENT_RATE, RateLimiter


class Admission:
    """The tokens of all gateways, and the ping that is under way. What is refused is counted in `drops`, by reason."""

    def __init__(self, ping_topic: str) -> None:
        self.drops: Counter[str] = Counter()
        self.limiter = RateLimiter()
        # All that comes through enrolment: who has such an account may name ever new serial numbers.
        self._enrolment_limiter = RateLimiter(rate=ENROLMENT_RATE, burst=ENROLMENT_BURST)
        self._ping_topic = ping_topic
        self.ping = b""  # the last one we sent, until it comes back: a secret

    def admit(self, delivery: Delivery) -> bool:
        """Whether a message is to be handled.

        Of pings only the last one that we sent is admitted, and once: anybody may guess the topic, and each ping writes
        to the database.
        """
        if delivery.topic == self._ping_topic:
            if self.ping and hmac.compare_digest(delivery.payload, self.ping):
                self.ping = b""
                return True
            self.drops["forged_pings"] += 1
            return False
        if not self.limiter.allow(delivery.gateway, cost=delivery.cost):
            self.drops["rate_limited"] += 1
            return False
        if delivery.by_enrolment and not self._enrolment_limiter.allow(ENROLMENT_PREFIX, cost=delivery.cost):
            self.drops["enrolment_limited"] += 1
            return False
        return True

    def is_overdrawn(self, delivery: Delivery) -> bool:
        """Whether its gateway owes tokens since it was admitted: for work that showed only when it was done."""
        if delivery.topic == self._ping_topic or not self.limiter.owes(delivery.gateway):
            return False
        self.drops["overdrawn"] += 1
        return True
