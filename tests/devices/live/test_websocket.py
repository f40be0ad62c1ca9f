"""The order of the frames on one socket, and how it ends."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connections
from django.test import Client

from cloudapi.embedded.memory_layer import MemoryChannelLayer
from devices.live import websocket
from devices.live.subscription import to_device, user_of
from devices.live.websocket import NO_LONGER_ALLOWED, TRY_AGAIN, FrameStream
from devices.models import Device

pytestmark = pytest.mark.django_db(transaction=True)
FRAME = '{"type":"service_call"}'
HINT = '{"type":"licenses"}'


@pytest.fixture(autouse=True)
def _readers(monkeypatch):
    """A thread for this test, which leaves no connection to the database."""
    with ThreadPoolExecutor(1) as readers:
        monkeypatch.setattr(websocket, "_readers", readers)
        yield
        readers.submit(connections.close_all).result()


def sign_in(user):
    client = Client()
    client.force_login(user)
    return client.session.session_key


@pytest.fixture
def session_key(alice):
    return sign_in(alice)


def run(look, session_key, *, send=None, seconds=1.5):
    """Run a stream until it ends, or so long; returns (close code or None, types of the frames sent)."""
    sent = []

    async def keep(text):
        sent.append(json.loads(text)["type"])

    async def scenario():
        layer = MemoryChannelLayer()
        stream = FrameStream(
            send=send or keep,
            layer=layer,
            channel=await layer.new_channel(),
            client="a client",
            identify=lambda: user_of(session_key),
            subscribe=lambda user: look(stream, user),
        )
        try:
            async with asyncio.timeout(seconds):
                code, _ = await stream.begin()
                if code is None:
                    code = await stream.run()
        except TimeoutError:
            code = None
        assert layer._groups == {}
        return code

    return async_to_sync(scenario)(), sent


def test_the_snapshot_is_first_whatever_arrives_before_it(dock, session_key):
    looks = []

    def look(stream, user):
        looks.append(user)
        if len(looks) <= 2:
            stream.receive([("", FRAME), (dock.sn, HINT)])
        return to_device(user, dock.sn)

    assert run(look, session_key) == (None, ["snapshot", "service_call", "service_call", "licenses"])


def test_a_hint_outlives_the_move_to_the_next_owner(dock, staff, other_organization):
    looks = []

    def look(stream, user):
        looks.append(user)
        if len(looks) == 2:
            stream.receive([(dock.sn, HINT)])
        elif len(looks) == 3:
            Device.objects.update(organization=other_organization)
        return to_device(user, dock.sn)

    assert run(look, sign_in(staff)) == (None, ["snapshot", "snapshot", "licenses"])


def test_rights_that_end_before_a_hint_is_passed_on_end_the_stream(dock, session_key):
    looks = []

    def look(stream, user):
        looks.append(user)
        if len(looks) == 2:
            stream.receive([(dock.sn, HINT)])
        return to_device(user, dock.sn) if len(looks) <= 2 else None

    assert run(look, session_key) == (NO_LONGER_ALLOWED, ["snapshot"])


def test_a_database_that_is_away_ends_the_stream_for_a_while(session_key):
    def look(stream, user):
        raise OperationalError("the server closed the connection")

    assert run(look, session_key) == (TRY_AGAIN, [])


def test_a_browser_that_takes_nothing_is_given_up(dock, session_key, monkeypatch):
    monkeypatch.setattr(websocket, "SEND_TIMEOUT", 0.1)

    async def never(text):
        await asyncio.Event().wait()

    assert run(lambda stream, user: to_device(user, dock.sn), session_key, send=never) == (TRY_AGAIN, [])


def test_a_socket_that_ends_while_it_joins_its_groups_is_no_fault(dock, session_key):
    async def forgotten(_group, _channel):
        raise RuntimeError("You can only call group_add() on channels that exist in-process.")  # channels_redis

    def look(stream, user):
        stream._layer.group_add = forgotten
        return to_device(user, dock.sn)

    assert run(look, session_key) == (TRY_AGAIN, [])
