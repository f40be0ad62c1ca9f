"""What clients may wait for, and which of them wakes when."""

import asyncio
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connections
from django.http import HttpRequest, QueryDict
from rest_framework.request import Request

from cloudapi.rest.rate_limit import HAS_WAITED
from devices.calls import long_poll
from devices.calls.long_poll import Watcher, wait_of
from devices.models import ServiceCall
from tests.devices.calls.cases import make_call

LONG = 20.0  # seconds


def request(query, method="GET"):
    made = HttpRequest()
    made.method, made.GET = method, QueryDict(query)
    return made


@pytest.mark.parametrize(
    ("query", "seconds"), [("", 0), ("wait=0", 0), ("wait=10", 10), ("wait=2.5", 2.5), ("wait=30.0", 30)]
)
def test_client_may_wait_for_up_to_thirty_seconds(query, seconds):
    assert wait_of(request(query)) == wait_of(Request(request(query))) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30.1",
        "31",
        "-1",
        "-0",
        "%2B1",
        "1e1",
        "nan",
        "inf",
        "x",
        "1,5",
        ".5",
        "1.",
        "%0a1",
        "1%0a",
        "١",
        "9" * 5000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValidationError) as refused:
        wait_of(request(f"wait={text}"))
    assert list(refused.value.message_dict) == ["wait"]


def test_nobody_waits_twice():
    waited = request("wait=10")
    waited.META[HAS_WAITED] = True
    assert wait_of(waited) == wait_of(Request(waited)) == 0


def test_only_what_changes_nothing_may_wait_for_it_is_done_twice():
    assert [wait_of(request("wait=10", method)) for method in ("GET", "HEAD", "POST", "PATCH")] == [10, 10, 0, 0]


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(connections.close_all).result()


@pytest.fixture
def watcher(threads):
    """With nobody who waits, before and after."""
    made = Watcher(threads, lambda: False)
    yield made
    assert made._waiters == {}
    assert made._task is None


async def ended(watcher, call, change, seconds=LONG):
    """Wait for a call, change something when that has begun, and return how many seconds it took in all."""
    began = time.monotonic()
    wait = asyncio.create_task(watcher.ended(call.pk, seconds))
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(watcher._threads, change)
    await wait
    return time.monotonic() - began


@pytest.mark.django_db(transaction=True)
class TestWatcher:
    @pytest.mark.parametrize("status", ["succeeded", "failed", "timed_out", "expired"])
    def test_end_of_a_call_wakes(self, watcher, dock, status):
        call = make_call(dock)
        rows = ServiceCall.objects.filter(pk=call.pk)
        assert asyncio.run(ended(watcher, call, lambda: rows.update(status=status))) < LONG

    def test_call_that_is_gone_wakes(self, watcher, dock):
        call = make_call(dock)
        assert asyncio.run(ended(watcher, call, call.delete)) < LONG

    def test_progress_wakes_nobody(self, watcher, dock):
        call = make_call(dock)
        rows = ServiceCall.objects.filter(pk=call.pk)
        wait = ended(watcher, call, lambda: rows.update(status="in_progress"), seconds=1.0)
        assert asyncio.run(wait) >= 1.0

    def test_database_that_cannot_be_asked_is_logged_once_and_waited_for(self, watcher, dock, monkeypatch, caplog):
        call, asked, still_open = make_call(dock), [], long_poll.still_open

        def fail(call_ids):
            asked.append(call_ids)
            if len(asked) < 4:
                raise OperationalError("no")
            ServiceCall.objects.update(status="succeeded")
            return still_open(call_ids)

        monkeypatch.setattr(long_poll, "still_open", fail)
        with caplog.at_level(logging.WARNING, "devices.calls.long_poll"):
            assert asyncio.run(ended(watcher, call, lambda: None)) < LONG
        assert len(caplog.records) == 1
        assert len(asked) == 4

    def test_event_loops_may_follow_each_other(self, watcher, dock):
        call = make_call(dock)

        async def give_up():
            wait = asyncio.create_task(watcher.ended(call.pk, LONG))
            await asyncio.sleep(long_poll.ASK_EVERY * 2)
            assert not wait.done()

        asyncio.run(give_up())
        rows = ServiceCall.objects.filter(pk=call.pk)
        assert asyncio.run(ended(watcher, call, lambda: rows.update(status="succeeded"))) < LONG


def test_nobody_waits_when_the_process_ends(threads):
    watcher = Watcher(threads, lambda: True)
    began = time.monotonic()
    asyncio.run(watcher.ended(uuid.uuid4(), LONG))
    assert time.monotonic() - began < LONG
