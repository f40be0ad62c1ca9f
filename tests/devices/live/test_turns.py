"""Clients take turns at reading the database."""

import asyncio
import contextlib

from devices.live.turns import Turns


def order_of(*asked, number=2):
    """In which order clients get their turns who ask in this order, all at once."""
    got = []

    async def read(turns, client):
        async with turns.turn(client):
            got.append(client)
            await asyncio.sleep(0)

    async def scenario():
        turns = Turns(number)
        await asyncio.gather(*(read(turns, client) for client in asked))
        assert not turns._taken
        assert not turns._waiting

    asyncio.run(scenario())
    return "".join(got)


def test_a_client_with_many_sockets_does_not_hold_up_the_one_that_comes_last():
    assert order_of(*"aaaaaaaa", "b") == "abaaaaaaa"


def test_clients_come_round():
    assert order_of(*"aaabbbccc", number=1) == "aabcabcbc"


def test_who_has_gone_takes_no_turn():
    async def scenario():
        turns = Turns(1)

        async def read(client):
            async with turns.turn(client):
                await asyncio.sleep(60)

        first, waits = asyncio.create_task(read("a")), asyncio.create_task(read("b"))
        await asyncio.sleep(0)
        for gone in (waits, first):
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        async with asyncio.timeout(5), turns.turn("c"):
            return dict(turns._taken)

    assert asyncio.run(scenario()) == {"c": 1}
