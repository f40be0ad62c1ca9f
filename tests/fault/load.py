"""A steady load of requests while something breaks."""

import asyncio
import os
import time
from contextlib import contextmanager

from mqtt_bridge.simulator import joining
from mqtt_bridge.simulator.dock import Options, Patience

QUIET = Options(onboard=False, osd_rate=0, backoff=(0.05, 0.2))
RATE = 250.0  # requests per second over the whole fleet
DOCKS = 20
IS_FULL = os.environ.get("FAULT_FULL") == "1"  # the sizes of docs/reliability.md instead of those that `make test` runs


def size(quick, full):
    """How much of something this run does."""
    return full if IS_FULL else quick


class Load:
    """Bind status and bind requests in turn, spread over the docks of a fleet.

    No request is repeated unless `repeat_after` (seconds) says so: a dock that repeats itself would hide what the
    server loses.
    """

    def __init__(self, fleet, loop, *, rate=RATE, repeat_after=None):
        self.fleet = fleet
        self.loop = loop
        self.rate = rate
        self.patience = Patience(None if repeat_after else 1, repeat_after)
        self.sent = 0
        self._is_over = False
        self._open = set()

    @property
    def ledger(self):
        return self.fleet.ledger

    def start(self):
        self._sending = asyncio.run_coroutine_threadsafe(self._send_forever(), self.loop)

    def finish(self, *, at_least, grace):
        """Stop when `at_least` requests are sent; wait for answers, until none comes for `grace` seconds."""
        if self._is_over:
            return
        self._at_least = at_least
        self._is_over = True
        self._sending.result(timeout=at_least / self.rate + 120)
        asyncio.run_coroutine_threadsafe(self.collect(grace), self.loop).result(timeout=grace + 600)

    async def _send_forever(self):
        start = time.monotonic()
        while not self._is_over or self.sent < self._at_least:
            await asyncio.sleep(max(0.0, start + self.sent / self.rate - time.monotonic()))
            self.send(self.sent)
            self.sent += 1

    def send(self, place):
        """Let one dock ask; every other round they bind."""
        dock = self.fleet.docks[place % len(self.fleet.docks)]
        if place // len(self.fleet.docks) % 2:
            question = dock.request("airport_organization_bind", joining.bind_data(dock), patience=self.patience)
        else:
            question = dock.request("airport_bind_status", joining.status_data(dock), patience=self.patience)
        task = asyncio.ensure_future(question)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def collect(self, grace):
        """Wait for the missing answers, until none has come for `grace` seconds: a machine may be slow."""
        before = None
        while self._open and len(self._open) != before:
            before = len(self._open)
            await asyncio.wait(self._open, timeout=grace)
        for task in self._open:
            task.cancel()


@contextmanager
def under_load(stack, *, at_least, rate=RATE, docks=DOCKS, repeat_after=None, grace=60.0, sn_prefix="LOAD"):
    """A load that lasts as long as the body and `at_least` so many requests; yields the Load."""
    with stack.fleet(count=docks, sn_prefix=sn_prefix, options=QUIET, stagger=0.0) as (fleet, loop):
        load = Load(fleet, loop, rate=rate, repeat_after=repeat_after)
        load.start()
        yield load
        load.finish(at_least=at_least, grace=grace)


def run_in_loop(coroutine, loop):
    """Run it on the docks' loop and return its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
