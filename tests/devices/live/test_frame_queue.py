"""What waits for one browser."""

import asyncio
import time

from devices.live.frame_queue import LONGEST, MOST, FrameQueue


def served():
    """A queue whose first snapshot is out."""
    queue = FrameQueue()
    queue.is_snapshot_due = False
    return queue


def test_it_begins_with_a_snapshot():
    assert FrameQueue().is_read_due


def test_texts_are_taken_once_and_in_their_order():
    queue = served()
    for text in "abc":
        queue.put(text)
    assert (queue.is_read_due, list(queue.take()), list(queue.take())) == (False, ["a", "b", "c"], [])


def test_the_same_hint_twice_is_one_and_wants_rights_to_be_read():
    queue = served()
    for text in "aba":
        queue.hint(text)
    assert queue.is_read_due
    assert (list(queue.take_hints()), list(queue.take())) == (["a", "b"], [])
    assert not queue.is_read_due


def test_too_many_texts_become_a_snapshot():
    queue = served()
    for number in range(MOST + 1):
        queue.put(str(number))
    assert (list(queue.take()), queue.is_snapshot_due) == ([], True)


def test_too_many_hints_become_a_snapshot():
    queue = served()
    for number in range(MOST + 1):
        queue.hint(str(number))
    assert (list(queue.take_hints()), queue.is_snapshot_due) == ([], True)


def test_too_long_texts_become_a_snapshot():
    queue = served()
    for _ in range(11):
        queue.put("x" * (LONGEST // 10))
    assert (list(queue.take()), queue.is_snapshot_due) == ([], True)


def test_waiting_ends_with_news_and_with_time():
    async def scenario():
        queue = served()
        asyncio.get_running_loop().call_later(0.02, queue.put, "news")
        started = time.monotonic()
        await queue.wait(60)
        woken = time.monotonic() - started
        await queue.wait(0.05)
        return woken, time.monotonic() - started

    woken, ended = asyncio.run(scenario())
    assert woken < 30
    assert ended - woken >= 0.04
