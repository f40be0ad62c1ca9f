"""Waiting for the end of a service call, for many clients with one query at a time and no thread."""

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import Error, close_old_connections
from django.utils.translation import gettext

from cloudapi.rest.rate_limit import HAS_WAITED
from devices.models import ServiceCall

logger = logging.getLogger(__name__)

LONGEST = 30.0  # seconds that a client may wait
ASK_EVERY = 0.25  # seconds between two looks at the database
PLAIN_NUMBER = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?")  # float() would take "nan", "1e1" and digits of other scripts


class Wait(NamedTuple):
    """What a view sets as its response's `waits_for`: then the client is answered anew when the call has ended or the
    time is up (`cloudapi/web/handler.py`).
    """

    call_id: UUID
    seconds: float


def wait_of(request: Any) -> float:
    """How many seconds the client of this request, Django's or REST framework's, wants to wait: `?wait=`, 0 to 30.

    0 if it does not say so, when it has waited already, and for what is no GET: a request that waits is carried out
    twice. Raises ValidationError, for "wait", if that is no plain number of seconds.
    """
    if request.method not in ("GET", "HEAD") or HAS_WAITED in request.META:
        return 0.0
    text = request.GET.get("wait", "0")
    if not PLAIN_NUMBER.fullmatch(text) or float(text) > LONGEST:
        raise ValidationError(
            {"wait": [gettext("A number of seconds from 0 to {most:g}, as 10 or 2.5.").format(most=LONGEST)]}
        )
    return float(text)


class Watcher:
    """Asks the database on behalf of all clients that wait on one event loop, as long as there are any.

    `threads` is where it asks, one query at a time. Once `is_ending` says that the process is to end, nobody waits.
    """

    def __init__(self, threads: Executor, is_ending: Callable[[], bool]) -> None:
        self._threads = threads
        self._is_ending = is_ending
        self._waiters: dict[asyncio.Future[None], UUID] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False

    async def ended(self, call_id: UUID, seconds: float) -> None:
        """Return when this call is no longer open, or is gone, or after so many seconds; within 0.25 s."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters[waiter] = call_id
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._watch())
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            del self._waiters[waiter]
            if not self._waiters:
                self._task.cancel()
                self._task = None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ASK_EVERY)
            asked = set(self._waiters.values())
            try:
                are_open = set() if self._is_ending() else await loop.run_in_executor(self._threads, still_open, asked)
                self._is_failing = False
            except Error as error:
                if not self._is_failing:
                    logger.warning("Clients wait for service calls, but the database cannot be asked: %s", error)
                self._is_failing, are_open = True, asked
            for waiter, call_id in self._waiters.items():
                if call_id in asked - are_open and not waiter.done():
                    waiter.set_result(None)


def still_open(call_ids: Collection[UUID]) -> set[UUID]:
    """Which of these calls are open. One query, on this thread's connection."""
    close_old_connections()
    try:
        return set(ServiceCall.objects.open().filter(pk__in=call_ids).values_list("pk", flat=True))
    finally:
        close_old_connections()
