"""What waits for one browser."""

import asyncio
import time

from devices.live.frame_queue import LONGEST, MOST, Outbox


def served():
    """An outbox whose first snapshot is out."""
    outbox = Outbox()
    outbox.is_snapshot_due = False
    return outbox


def test_it_begins_with_a_snapshot():
    assert Outbox().is_read_due


def test_texts_are_taken_once_and_in_their_order():
    outbox = served()
    for text in "abc":
        outbox.put(text)
    assert (outbox.is_read_due, list(outbox.take()), list(outbox.take())) == (False, ["a", "b", "c"], [])


def test_the_same_hint_twice_is_one_and_wants_rights_to_be_read():
    outbox = served()
    for text in "aba":
        outbox.hint(text)
    assert outbox.is_read_due
    assert (list(outbox.take_hints()), list(outbox.take())) == (["a", "b"], [])
    assert not outbox.is_read_due


def test_too_many_texts_become_a_snapshot():
    outbox = served()
    for number in range(MOST + 1):
        outbox.put(str(number))
    assert (list(outbox.take()), outbox.is_snapshot_due) == ([], True)


def test_too_many_hints_become_a_snapshot():
    outbox = served()
    for number in range(MOST + 1):
        outbox.hint(str(number))
    assert (list(outbox.take_hints()), outbox.is_snapshot_due) == ([], True)


def test_too_long_texts_become_a_snapshot():
    outbox = served()
    for _ in range(11):
        outbox.put("x" * (LONGEST // 10))
    assert (list(outbox.take()), outbox.is_snapshot_due) == ([], True)


def test_waiting_ends_with_news_and_with_time():
    async def scenario():
        outbox = served()
        asyncio.get_running_loop().call_later(0.02, outbox.put, "news")
        started = time.monotonic()
        await outbox.wait(60)
        woken = time.monotonic() - started
        await outbox.wait(0.05)
        return woken, time.monotonic() - started

    woken, ended = asyncio.run(scenario())
    assert woken < 30
    assert ended - woken >= 0.04
