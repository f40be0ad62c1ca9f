"""What bodies a real web process reads."""

import json
import select
import socket
import time
from contextlib import ExitStack

import pytest
from django.conf import settings

from cloudapi.web import bodies
from tests.stack import wait_for
from tests.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)
SMALL = settings.DATA_UPLOAD_MAX_MEMORY_SIZE


@pytest.fixture(scope="module")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


class Client:
    """A client that sends what it likes, and counts."""

    def __init__(self, web, path, *headers):
        host, port = web.host.split(":")
        self.sent = 0
        self.connection = socket.create_connection((host, int(port)), timeout=60)
        lines = (f"POST {path} HTTP/1.1", f"Host: {web.host}", "Content-Type: application/json", *headers)
        self.connection.sendall("\r\n".join((*lines, "", "")).encode())

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.connection.close()

    def send(self, number, *, is_chunked=False):
        """Send so many bytes, unless the server hangs up."""
        piece = b"x" * 65_536
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
        while self.sent < number:
            try:
                self.connection.sendall(framed)
            except OSError:
                return
            self.sent += len(piece)

    def answer(self):
        """The status and the body of the answer, as far as it came; status 0 if the connection was reset before."""
        received = b""
        try:
            while piece := self.connection.recv(65_536):
                received += piece
        except OSError:
            pass
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/admin/login/", "/api/v1/devices/", "/welcome/x/", "/nowhere"])
def test_a_large_body_is_refused_before_it_comes(web, path):
    with Client(web, path, f"Content-Length: {400 * 2**20}") as client:
        status, text = client.answer()
    assert status == 413
    assert "The body is too large: at most 2.5 MB are allowed here." in text
    assert "api" not in path or json.loads(text)["type"] == "urn:dock-cloud:problem:too_large"


def test_a_browser_gets_a_whole_page_in_its_language(web):
    headers = ("Accept: text/html,*/*;q=0.8", "Accept-Language: zh-CN", f"Content-Length: {400 * 2**20}")
    with Client(web, "/admin/login/", *headers) as client:
        status, text = client.answer()
    assert status == 413
    assert "请求正文过大" in text
    assert "admin_site.css" in text
    assert text.endswith("</html>\n")  # its length is one of bytes, not of letters


def test_400_megabytes_in_chunks_are_refused_after_the_first_few(web, report):
    with Client(web, "/healthz", "Transfer-Encoding: chunked") as client:
        client.send(400 * 2**20, is_chunked=True)
        sent = client.sent
    report(f"the server hung up after {sent / 2**20:.1f} of 400 MB")
    assert sent < 40 * 2**20  # most of it in the buffers between the two


def test_the_answer_to_a_body_in_chunks_says_why(web):
    with Client(web, "/api/v1/devices/", "Transfer-Encoding: chunked") as client:
        client.send(SMALL + 1, is_chunked=True)
        assert client.answer()[0] == 413


def test_a_body_that_is_just_small_enough_is_read(web):
    with Client(web, "/healthz", f"Content-Length: {SMALL}", "Connection: close") as client:
        client.send(SMALL - 65_536)
        client.connection.sendall(b"x" * (SMALL - client.sent))
        assert client.answer()[0] == 403  # it has no CSRF token


def test_files_may_be_larger_and_no_other_address_of_theirs():
    large = settings.LICENSE_FILE_CAP + bodies.FORM
    assert [bodies.cap_of(path) for path in ("/api/v1/license-files/", "/admin/licenses/licensefile/add/")] == [
        large
    ] * 2
    for path in ("/license-files/x/", "/api/v1/license-files/1/", "/api/v1/license-files/../devices/"):
        assert bodies.cap_of(path) == SMALL


def test_many_large_bodies_at_once_do_not_take_the_memory(web):
    """26 of 2.4 MB are more than the room for large bodies; one address never has more than half of it."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                Client(web, "/healthz", f"Content-Length: {SMALL}", f"X-Forwarded-For: 192.0.2.{n % 3}")
            )
            for n in range(26)
        ]
        for client in clients:
            client.send(SMALL - 131_072)
        connections = [client.connection for client in clients]
        wait_for(lambda: len(select.select(connections, [], [], 0)[0]) >= 5)
        refused = [client.answer()[0] for client in clients if select.select([client.connection], [], [], 0)[0]]
        assert len(refused) <= 10
        assert 503 in refused  # others were reset while they sent
        assert set(refused) <= {503, 0}
        with Client(web, "/healthz", "Content-Length: 10", "Connection: close") as small:
            small.connection.sendall(b"x" * 10)
            assert small.answer()[0] == 403  # no CSRF token: it was read
    with Client(web, "/healthz", f"Content-Length: {SMALL}", "Connection: close") as later:
        later.send(SMALL - 65_536)
        later.connection.sendall(b"x" * (SMALL - later.sent))
        assert later.answer()[0] == 403


def test_one_client_has_half_of_the_room_and_gives_it_back():
    room = bodies.Room(100)
    assert [room.take(client, 30) for client in "aabbc"] == [True, False, True, False, True]
    assert not room.take("d", 20)
    room.leave("a", 30)
    assert room.take("d", 20)


def test_a_slow_body_is_given_up(web):
    began = time.monotonic()
    with Client(web, "/api/v1/devices/", "Content-Length: 1000") as client:
        client.connection.sendall(b"x")
        assert client.answer()[0] == 408
    assert time.monotonic() - began < 20  # 20 s and more in production
