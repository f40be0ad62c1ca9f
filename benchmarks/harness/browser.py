"""A browser's part in a command: the form of a dock's page is posted, its WebSocket tells what becomes of it."""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from queue import Queue
from typing import Any, Self
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CSRF = "c" * 32  # what a page gives the form and a cookie
TIMEOUT = 20.0  # seconds


@dataclass(frozen=True)
class Told:
    """When a command was posted, when the page answered, when the last frame came; seconds since 1970."""

    posted: float
    answered: float
    ended: float
    call: str


class Browser:
    """Signed in with a session, on the page of one dock."""

    def __init__(self, host: str, session: str, dock: tuple[int, str]) -> None:
        key, sn = dock
        self._path = f"/admin/devices/device/{key}/commands/?fragment"
        origin, cookies = f"http://{host}", f"sessionid={session}; csrftoken={CSRF}"
        self._headers = {
            "Cookie": cookies,
            "Origin": origin,
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Refresh": "1",
        }
        self._page = http.client.HTTPConnection(host, timeout=TIMEOUT)
        self._socket = connect(f"ws://{host}/ws/devices/{sn}/", origin=origin, additional_headers={"Cookie": cookies})
        self._ends: Queue[tuple[float, dict[str, Any]]] = Queue()
        assert json.loads(self._socket.recv(timeout=TIMEOUT))["type"] == "snapshot"  # noqa: S101
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()
        self._page.close()
        self._listener.join()

    def command(self, license_id: int) -> Told:
        """Switch a license on; returns when the dock's answer is on the screen."""
        form = {"command": "switch", "license_id": license_id, "enable": "on", "csrfmiddlewaretoken": CSRF}
        posted = time.time()
        self._page.request("POST", self._path, urlencode(form), self._headers)
        response = self._page.getresponse()
        page = response.read().decode()
        answered = time.time()
        if response.status != http.client.OK or "command-said" not in page:
            raise RuntimeError(f"the command was not taken: {response.status} {page[:2000]}")
        while True:
            ended, frame = self._ends.get(timeout=TIMEOUT)
            if frame["data"].get("license_id") == license_id:
                return Told(posted, answered, ended, frame["id"])

    def _listen(self) -> None:
        try:
            while True:
                frame = json.loads(self._socket.recv())
                if frame["type"] == "service_call" and not frame["is_open"]:
                    self._ends.put((time.time(), frame))
        except ConnectionClosed:
            return
