"""The demo's WebSockets: bridge, worker, pages and sockets share one process and the layer in memory."""

import contextlib
import http.cookiejar
import os
import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest
from websockets.sync.client import connect

from cloudapi.embedded import demo
from tests.cloudapi.embedded.test_demo import free_port
from tests.stack import ROOT, wait_for
from tests.web import Socket


@pytest.fixture
def address(tmp_path):
    """Where a demo serves."""
    port = free_port()
    command = [sys.executable, "-u", "manage.py", "demo", f"--port={port}", f"--data={tmp_path}"]
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while (line := process.stdout.readline()) and "Ctrl-C ends it" not in line:
        pass
    wait_for(lambda: answers(port))
    yield f"127.0.0.1:{port}"
    process.terminate()
    said, _ = process.communicate(timeout=20)
    assert "Traceback" not in said


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Person:
    """Somebody with a browser."""

    def __init__(self, address, username):
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.post("/admin/login/?next=/admin/", username=username, password=demo.PASSWORD)

    def get(self, path):
        with self.opener.open(f"http://{self.address}{path}", timeout=10) as answer:
            return answer.read().decode()

    def post(self, path, **fields):
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path)).group(1)
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token} | fields).encode()
        with self.opener.open(f"http://{self.address}{path}", body, timeout=10) as answer:
            return answer.read().decode()

    @contextlib.contextmanager
    def socket(self, path):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        headers = {"Cookie": cookies}
        own = f"http://{self.address}"
        with Socket(connect(f"ws://{self.address}{path}", origin=own, additional_headers=headers)) as opened:
            yield opened


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
