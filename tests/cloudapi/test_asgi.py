"""The handshake of WebSockets, bodies in chunks, and garbage, in a real web process."""

import asyncio
import http.client
import json
import os
import threading
from contextlib import closing

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cloudapi.web.handler import PIECE, Handler
from tests import fork_server
from tests.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/ws/devices/DOCK0001/"
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "http_version": "1.1"}


@pytest.fixture(scope="module")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://[::1", "http://127.0.0.1:1", "http://127.0.0.1:99999", "é"]
)
def test_foreign_and_malformed_origins_are_refused_at_the_door(web, alice, dock, origin):
    with pytest.raises(InvalidStatus) as refused, web.socket(PATH, alice, origin=origin):
        pass
    assert refused.value.response.status_code == 403
    assert "Traceback" not in web.said()


def test_a_body_that_comes_in_chunks_is_read(web, manager_key, dock):
    headers = {"Authorization": f"Api-Key {manager_key.plain}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(web.host, timeout=60)) as connection:
        connection.request("PATCH", "/api/v1/devices/DOCK0001/", iter([b'{"callsign": ', b'"Pier 8"}']), headers)
        with connection.getresponse() as response:
            assert json.loads(response.read())["callsign"] == "Pier 8"


def test_the_garbage_collector_leaves_alone_what_was_loaded():
    script = "import gc; before = gc.get_freeze_count(); import cloudapi.asgi; print(gc.get_freeze_count() - before)"
    assert int(fork_server.run(["-c", script], env=os.environ).stdout) > 10_000


@pytest.mark.asyncio
async def test_what_is_streamed_is_read_in_pieces_and_not_before_the_first_is_sent(monkeypatch):
    read, sent = [], []

    def content():
        for number in range(100):
            read.append(number)
            yield bytes(PIECE // 4)

    monkeypatch.setattr(Handler, "get_response", lambda _self, _request: StreamingHttpResponse(content()))
    handler = Handler()

    async def send(message):
        sent.append((len(message.get("body", b"")), len(read)))

    await handler(SCOPE, iter_once({"type": "http.request"}), send)
    bodies = [(size, done) for size, done in sent if size]
    assert [size for size, _ in bodies] == [PIECE] * 25
    assert [done for _, done in bodies] == list(range(4, 101, 4))


@pytest.mark.asyncio
async def test_a_request_makes_no_threads_of_its_own(monkeypatch):
    async def send(_message):
        pass

    monkeypatch.setattr(Handler, "get_response", lambda _self, _request: HttpResponse())
    handler = Handler()
    await handler(SCOPE, iter_once({"type": "http.request"}), send)  # makes those that stay
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", None)
        await handler(SCOPE, iter_once({"type": "http.request"}), send)


def iter_once(message):
    """What a server calls `receive`: this message, and then nothing for ever."""
    waiting = [message]

    async def receive():
        return waiting.pop() if waiting else await asyncio.Event().wait()

    return receive


def test_missing_origin_is_refused(web):
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{web.host}{PATH}"):
        pass
    assert refused.value.response.status_code == 403


def test_credentials_that_a_browser_sends_to_a_proxy_replace_neither_origin_nor_session(web, alice, dock):
    headers = {"Authorization": "Basic dTpw"}
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{web.host}{PATH}", additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403
    cookie = f"sessionid={signed_in(alice)}"
    with web.program(PATH, "Basic dTpw", Cookie=cookie, Origin=f"http://{web.host}") as socket:
        assert socket.next()["type"] == "snapshot"


def test_own_page_and_the_public_url_are_let_in(web, alice, dock):
    for origin in (None, "http://127.0.0.1:8000"):
        with web.socket(PATH, alice, origin=origin) as socket:
            assert socket.next()["type"] == "snapshot"


def test_broken_session_is_nobody(web, dock):
    own = f"http://{web.host}"
    for cookie in ("sessionid=unknown", "sessionid=", "sessionid=" + "x" * 5000, "; =;;", 'sessionid="\\000"'):
        with connect(f"ws://{web.host}{PATH}", origin=own, additional_headers={"Cookie": cookie}) as socket:
            assert code_of(socket) == 4401
    assert "Traceback" not in web.said()


def test_pages_are_still_served(web):
    assert get(web, "/healthz") in (200, 503)


def get(web, path):
    client = http.client.HTTPConnection(web.host, timeout=30)
    client.request("GET", path)
    status = client.getresponse().status
    client.close()
    return status


def backends():
    """The sessions of this database but for our own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in cursor.fetchall()}


def test_requests_share_a_database_connection(web):
    seen = set()
    for _ in range(20):
        assert get(web, "/readyz") == 200
        seen |= backends()
    assert len(seen) <= 4


def test_connection_that_broke_is_replaced(web):
    assert get(web, "/readyz") == 200
    with connection.cursor() as cursor:
        for pid in backends():
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert [get(web, "/readyz") for _ in range(3)] == [200, 200, 200]


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client.session.session_key


def code_of(socket):
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=30)
    return closed.value.rcvd.code
