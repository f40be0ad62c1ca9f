"""How often clients may be wrong: tries are counted by client and in all, in the cache for all processes."""

import hashlib
import ipaddress
import logging
import time
from typing import Final, NamedTuple

from django.core.cache import BaseCache, cache
from django.core.cache.backends.locmem import LocMemCache
from prometheus_client import Counter

from cloudapi.rest.pause import Pause

logger = logging.getLogger(__name__)
EVERYBODY: Final = ""
_pause: Final = Pause()  # of this process, after the cache has failed
# Guessers must not gain from a Redis that is away: this process then counts for itself.
_own: Final = LocMemCache("guesses", {"OPTIONS": {"MAX_ENTRIES": 100_000}})


class Limit(NamedTuple):
    """So many tries in so many seconds by the clock."""

    name: str
    tries: int
    seconds: int

    def wait(self) -> float:
        """Seconds until counting begins anew."""
        return self.seconds - time.time() % self.seconds

    def count(self, who: str, more: int = 1) -> int:
        """How many tries this client has made in this window, with so many more."""
        window = int(time.time() // self.seconds)
        digest = hashlib.sha256(who.encode("utf-8", "replace")).hexdigest()[:32]
        key = f"guesses:{self.name}:{digest}:{window}"
        if not _pause.is_on():
            try:
                return _add(cache, key, more, self.seconds)
            except Exception as error:  # whatever a broken Redis raises
                logger.warning("Tries are counted in this process: %s: %s", type(error).__name__, error)
                _pause.begin()
        return _add(_own, key, more, self.seconds)


# For Prometheus, by what was guessed.
refused_tries = Counter("web_sign_in_lockouts", "Tries refused because of too many wrong ones.", ["kind"])


class TooManyTriesError(Exception):
    """This client must wait, for so many seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many tries, wait {wait:.0f} s")
        self.wait = wait


class WrongTries:
    """Whether a client has been wrong too often, known to this process without asking the cache.

    A right try costs nothing. A wrong one is counted in the cache, and the process remembers whom it told to stop.
    """

    MOST: Final = 10_000  # clients that a process remembers

    def __init__(self, *, by_client: Limit, in_all: Limit) -> None:
        self._by_client = by_client
        self._in_all = in_all
        self._until: dict[str, float] = {}

    def wait(self, client: str) -> float:
        """Seconds that this client should wait; 0 if it need not."""
        now = time.time()
        return max(0.0, *(self._until.get(who, 0.0) - now for who in (client, EVERYBODY)))

    def note(self, client: str) -> None:
        """Count a wrong try of this client."""
        for limit, who in ((self._by_client, client), (self._in_all, EVERYBODY)):
            if limit.count(who) >= limit.tries:
                if len(self._until) >= self.MOST:
                    self._until.clear()
                self._until[who] = time.time() + limit.wait()


def client_of(address: str) -> str:
    """Which client has this address: IPv4 addresses count alone, of IPv6 the /64 that a subscriber gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a test, a socket in the file system
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    if found.version == 4 or mapped:
        return str(mapped or found)
    return str(ipaddress.ip_network((int(found), 64), strict=False).network_address)


def _add(counts: BaseCache, key: str, more: int, seconds: int) -> int:
    counts.add(key, 0, timeout=2 * seconds)
    try:
        return int(counts.incr(key, more))
    except ValueError:  # it went between the two
        counts.set(key, more, timeout=2 * seconds)
        return more
