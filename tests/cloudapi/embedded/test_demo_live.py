"""The demo's WebSockets: bridge, worker, pages and sockets share one process and the layer in memory."""

import contextlib
import http.cookiejar
import re
import urllib.parse
import urllib.request

import pytest
from websockets.sync.client import connect

from cloudapi.embedded.demo_data import PASSWORD
from tests.demo import running_demo
from tests.web import Socket


@pytest.fixture
def address(migrated, tmp_path):
    """Where a demo serves."""
    with running_demo(tmp_path, migrated("sqlite")) as address:
        yield address


class Person:
    """Somebody with a browser."""

    def __init__(self, address, username):
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.post("/admin/login/?next=/admin/", username=username, password=PASSWORD)

    def get(self, path):
        with self.opener.open(f"http://{self.address}{path}", timeout=60) as answer:
            return answer.read().decode()

    def post(self, path, **fields):
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path)).group(1)
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token} | fields).encode()
        with self.opener.open(f"http://{self.address}{path}", body, timeout=60) as answer:
            return answer.read().decode()

    @contextlib.contextmanager
    def socket(self, path):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        headers = {"Cookie": cookies}
        own = f"http://{self.address}"
        with Socket(connect(f"ws://{self.address}{path}", origin=own, additional_headers=headers)) as opened:
            yield opened


@pytest.mark.turns(4)
def test_a_page_of_the_demo_is_live_and_shows_nothing_of_others(address):
    alice, charlie = Person(address, "alice"), Person(address, "charlie")
    page = re.search(r"/admin/devices/device/\d+/change/", alice.get("/admin/devices/device/?q=DEMODOCK00001")).group()
    sn = re.search(r"DEMODOCK00001\w*", alice.get(page)).group()
    with charlie.socket(f"/ws/devices/{sn}/") as stranger:
        assert stranger.code() == 4404
    with alice.socket(f"/ws/devices/{sn}/") as own:
        assert own.next()["device"]["presence"] == "online"
        alice.post(page, callsign="Pier 9", is_enabled="on")
        assert own.next() == {"type": "device", "sn": sn}
        own.send({"type": "refetch"})
        assert own.next("snapshot")["device"]["callsign"] == "Pier 9"
