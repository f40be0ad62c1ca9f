"""The handshake of WebSockets in a real web process."""

import http.client

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/ws/devices/DOCK0001/"


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


def test_missing_origin_is_refused(web):
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{web.host}{PATH}"):
        pass
    assert refused.value.response.status_code == 403


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
    connection = http.client.HTTPConnection(web.host, timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status in (200, 503)
    connection.close()


def code_of(socket):
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=5)
    return closed.value.rcvd.code
