"""How many requests a key or a user may send in a minute; the counters are in the cache, for all processes."""

import logging
import time
from typing import Final

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from cloudapi.rest.pause import Pause

logger = logging.getLogger(__name__)

WINDOW: Final = 60  # seconds
HAS_WAITED: Final = "dock_cloud.has_waited"  # in META of a request that is answered again (devices/calls/long_poll.py)


class PerMinute(BaseThrottle):
    """Counts by the minute; every answer tells the limit, what is left of it and when it begins anew.

    A cache that cannot be reached limits nobody.
    """

    pause = Pause()  # of this process, after the cache has failed

    def allow_request(self, request: Request, view: object) -> bool:
        limit: int = settings.API_REQUESTS_PER_MINUTE
        if not limit:
            return True
        now = time.time()
        is_second_look = HAS_WAITED in request.META  # of one request, which is counted already
        who = f"key:{request.auth.pk}" if request.auth is not None else f"user:{request.user.pk}"
        count = self._count(who, int(now // WINDOW), more=0 if is_second_look else 1)
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
        if cls.pause.is_on():
            return None
        try:
            key = f"requests:{who}:{minute}"
            cache.add(key, 0, timeout=2 * WINDOW)
            return int(cache.incr(key, more))
        except Exception as error:
            # Whatever a broken Redis raises; or the key went between the two.
            logger.warning("Requests are not counted: %s: %s", type(error).__name__, error)
            cls.pause.begin()
            return None
