"""A client of a WebSocket that follows the rules of docs/live.md, or breaks one on purpose."""

import time

REFETCH_EVERY = 20.0  # seconds


class Follower:
    """Keeps the calls it is told; `follow(seconds)` reads for so long, and not at all between two calls of it."""

    def __init__(self, socket, *, refetches=True, refetch_every=REFETCH_EVERY):
        self.socket = socket
        self.refetch_every = refetch_every
        self.refetches = refetches
        self.calls = {}
        self.snapshots = 0
        self.frames = 0
        self._asked_at = time.monotonic()

    def follow(self, seconds, *, until=lambda: False):
        """Read until the time is up or a condition holds; returns how long it took."""
        started = time.monotonic()
        while time.monotonic() - started < seconds and not until():
            if time.monotonic() - self._asked_at > self.refetch_every:
                self._refetch()
            try:
                self._take(self.socket.next(timeout=0.2))
            except TimeoutError:
                continue
        return time.monotonic() - started

    def _take(self, frame):
        if frame["type"] == "snapshot":
            self.snapshots += 1
            self.calls = {call["id"]: call for call in frame["service_calls"]}
        elif frame["type"] == "service_call":
            self.frames += 1
            known = self.calls.get(frame["id"], {"version": 0})["version"]
            if frame["version"] > known:
                self.calls[frame["id"]] = frame
            if frame["version"] > known + 1:
                self._refetch()

    def _refetch(self):
        self._asked_at = time.monotonic()
        if self.refetches:
            self.socket.send({"type": "refetch"})
