"""How many requests a key or a user may send in a minute; the counters are in the cache, for all processes."""

import logging
import time
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from organizations.models import OrganizationAPIKey

logger = logging.getLogger(__name__)

WINDOW: Final = 60  # seconds
PAUSE: Final = 5.0  # seconds for which nothing is counted after the cache has failed


class PerMinute(BaseThrottle):
    """Counts by the minute; every answer tells the limit, what is left of it and when it begins anew.

    A cache that cannot be reached limits nobody.
    """

    _deaf_until = 0.0  # of this process

    def allow_request(self, request: Request, view: Any) -> bool:
        limit: int = settings.API_REQUESTS_PER_MINUTE
        if not limit:
            return True
        now = time.time()
        is_second_look = getattr(request, "has_waited", False)  # of one request, which is counted already
        count = self._count(_who(request), int(now // WINDOW), more=0 if is_second_look else 1)
        if count is None:
            return True
        self.left = WINDOW - now % WINDOW
        request.rate_limit = {  # type: ignore[attr-defined]
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(max(0, limit - count)),
            "RateLimit-Reset": str(int(self.left) + 1),
        }
        return is_second_look or count <= limit

    def wait(self) -> float:
        return self.left

    @classmethod
    def _count(cls, who: str, minute: int, *, more: int) -> int | None:
        """How many requests these are in this minute with so many more; None if nobody can tell."""
        if time.monotonic() < cls._deaf_until:
            return None
        try:
            key = f"requests:{who}:{minute}"
            cache.add(key, 0, timeout=2 * WINDOW)
            return int(cache.incr(key, more))
        except Exception as error:
            # Whatever a broken Redis raises; or the key went between the two.
            logger.warning("Requests are not counted: %s: %s", type(error).__name__, error)
            cls._deaf_until = time.monotonic() + PAUSE
            return None


def _who(request: Request) -> str:
    if isinstance(request.auth, OrganizationAPIKey):
        return f"key:{request.auth.pk}"
    return f"user:{request.user.pk}"
