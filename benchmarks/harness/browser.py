"""A browser's part in a command: a form or a script posts it, its WebSocket tells what becomes of it."""

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
FORM, REST = DOORS = ("a page's form", "REST")
LIST = "unlock_license_list"  # follows each switch


@dataclass(frozen=True)
class Told:
    """When a command was posted, when that was answered, when the last frame came; seconds since 1970."""

    posted: float
    answered: float
    ended: float
    call: str


class Browser:
    """Signed in with a session, on the page of one dock. One connection for all that is posted, one for the frames."""

    def __init__(self, host: str, session: str, dock: tuple[int, str]) -> None:
        key, self._sn = dock
        self._form = f"/admin/devices/device/{key}/commands/?fragment"
        origin, cookies = f"http://{host}", f"sessionid={session}; csrftoken={CSRF}"
        self._headers = {"Cookie": cookies, "Origin": origin, "X-CSRFToken": CSRF, "X-Refresh": "1"}
        self._page = http.client.HTTPConnection(host, timeout=TIMEOUT)
        address = f"ws://{host}/ws/devices/{self._sn}/"
        self._socket = connect(address, origin=origin, additional_headers={"Cookie": cookies})
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

    def command(self, license_id: int, door: str) -> Told:
        """Switch a license on; returns when the list that follows has ended, too, and nothing is under way."""
        if door == FORM:
            path, kind = self._form, "application/x-www-form-urlencoded"
            body = urlencode({"command": "switch", "license_id": license_id, "enable": "on"})
        else:
            path, kind = "/api/v1/service-calls/", "application/json"
            data = {"license_id": license_id, "enable": True}
            body = json.dumps({"device": self._sn, "method": "unlock_license_switch", "data": data})
        posted = time.time()
        self._page.request("POST", path, body, self._headers | {"Content-Type": kind})
        response = self._page.getresponse()
        page = response.read().decode()
        answered = time.time()
        if not (response.status == http.client.CREATED or "command-said" in page):
            raise RuntimeError(f"the command was not taken: {response.status} {page[:2000]}")
        told = None
        while True:
            ended, frame = self._ends.get(timeout=TIMEOUT)
            if frame["data"].get("license_id") == license_id:
                told = Told(posted, answered, ended, frame["id"])
            elif told is not None and frame["method"] == LIST:
                return told

    def _listen(self) -> None:
        try:
            while True:
                frame = json.loads(self._socket.recv())
                if frame["type"] == "service_call" and not frame["is_open"]:
                    self._ends.put((time.time(), frame))
        except ConnectionClosed:
            return
