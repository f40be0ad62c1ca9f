"""The channel layer in memory, used by several threads and event loops as the embedded server does."""

import asyncio
import threading
from collections import Counter

import pytest
from django.test import override_settings

from cloudapi.embedded.memory_layer import MemoryChannelLayer

WAIT = 30.0  # seconds


@pytest.fixture
def layer():
    return MemoryChannelLayer(capacity=100)


def run(coroutine):
    """Run something to its end in an event loop of its own."""

    async def in_time():
        async with asyncio.timeout(WAIT):
            return await coroutine

    return asyncio.run(in_time())


async def listening(layer, group):
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


def test_a_channel_gives_its_messages_in_order(layer):
    async def scenario():
        channel = await layer.new_channel()
        for number in range(3):
            await layer.send(channel, {"type": "x", "number": number})
        return [(await layer.receive(channel))["number"] for _ in range(3)]

    assert run(scenario()) == [0, 1, 2]


def test_each_member_of_a_group_gets_a_copy_of_its_own(layer):
    async def scenario():
        channels = [await listening(layer, "group") for _ in range(2)]
        sent = {"type": "x", "list": []}
        await layer.group_send("group", sent)
        sent["list"].append("changed")
        first, second = [await layer.receive(channel) for channel in channels]
        first["list"].append("changed")
        return second

    assert run(scenario()) == {"type": "x", "list": []}


def test_who_left_a_group_gets_nothing(layer):
    async def scenario():
        channel = await listening(layer, "group")
        await layer.group_discard("group", channel)
        await layer.group_send("group", {"type": "x"})
        async with asyncio.timeout(0.05):
            await layer.receive(channel)

    with pytest.raises(TimeoutError):
        run(scenario())


def test_who_does_not_read_keeps_the_newest(layer):
    async def scenario():
        channel = await listening(layer, "group")
        for number in range(1000):
            await layer.group_send("group", {"type": "x", "number": number})
        return [(await layer.receive(channel))["number"] for _ in range(100)]

    assert run(scenario()) == list(range(900, 1000))


def test_the_channel_of_a_cancelled_receiver_is_gone(layer):
    async def scenario():
        channel = await listening(layer, "group")
        receiver = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0.01)
        receiver.cancel()
        await asyncio.wait([receiver])
        await layer.group_send("group", {"type": "x"})
        await layer.send(channel, {"type": "x"})

    run(scenario())
    assert (layer._mailboxes, layer._groups) == ({}, {})


def test_a_message_from_another_thread_wakes_who_waits(layer):
    got = []
    channel = run(listening(layer, "group"))
    receiver = threading.Thread(target=lambda: got.append(run(layer.receive(channel))))
    receiver.start()
    while not layer._mailboxes[channel].waiters:
        pass
    run(layer.group_send("group", {"type": "x"}))
    receiver.join(WAIT)
    assert got == [{"type": "x"}]


def test_nothing_is_lost_or_doubled_between_threads():
    layer, senders, each = MemoryChannelLayer(capacity=10_000), 4, 500
    channels = [run(listening(layer, "group")) for _ in range(3)]
    got = {channel: [] for channel in channels}

    async def receive(channel):
        while len(got[channel]) < senders * each:
            got[channel].append((await layer.receive(channel))["number"])

    async def send(sender):
        for number in range(each):
            await layer.group_send("group", {"type": "x", "number": (sender, number)})

    threads = [threading.Thread(target=run, args=[receive(channel)]) for channel in channels]
    threads += [threading.Thread(target=run, args=[send(sender)]) for sender in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT)
    wanted = {(sender, number): 1 for sender in range(senders) for number in range(each)}
    assert all(Counter(numbers) == wanted for numbers in got.values())
    for numbers in got.values():  # one sender's messages stay in order
        assert [number for number in numbers if number[0] == 0] == [(0, number) for number in range(each)]


def test_a_waiter_whose_loop_has_ended_holds_up_nobody(layer):
    loop = asyncio.new_event_loop()
    channel = run(listening(layer, "group"))
    waiting = loop.create_task(layer.receive(channel))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    run(layer.group_send("group", {"type": "x"}))
    assert run(layer.receive(channel)) == {"type": "x"}
    waiting._log_destroy_pending = False  # it is meant to be left behind


def test_channels_takes_it(layer):
    from channels.layers import channel_layers, get_channel_layer

    backend = "cloudapi.embedded.memory_layer.MemoryChannelLayer"
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": backend}}):
        assert isinstance(get_channel_layer(), MemoryChannelLayer)
    assert "default" in channel_layers
