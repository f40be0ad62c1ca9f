"""From nothing to a dock that obeys, over REST and WebSocket alone; what each step needs is in docs/integrators.md.

    pip install requests websockets
    python whole_story.py http://127.0.0.1:8000 USER PASSWORD

USER is platform staff, for only they create organizations. Bind a dock with the ID and code that are printed, and the
script goes on. Each line that it prints is one step.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import requests
from websockets.sync.client import connect

Json = dict[str, Any]


class Server:
    """A session of REST, signed in as a browser is; with an API key it would be one header instead."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.headers["Referer"] = url  # which Django compares where there is HTTPS
        self.http.get(f"{url}/admin/login/").raise_for_status()
        form = {"username": user, "password": password, "csrfmiddlewaretoken": self.http.cookies["csrftoken"]}
        if self.http.post(f"{url}/admin/login/", data=form, allow_redirects=False).status_code != 302:
            raise SystemExit("This user and password do not open the admin.")

    def get(self, path: str, **parameters: Any) -> Json:
        """What is there; raises SystemExit with the problem's words if the server refuses."""
        return self._read(self.http.get(f"{self.url}/api/v1/{path}", params=parameters))

    def post(self, path: str, **body: Any) -> Json:
        """Ask once: sent again after a broken connection, the same key gives the same answer."""
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"]}
        if path == "service-calls/" or path.endswith("/retry/"):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        return self._read(self.http.post(f"{self.url}/api/v1/{path}", json=body, headers=headers))

    def frames(self, path: str) -> Iterator[Json]:
        """The frames of a WebSocket; the first is a snapshot."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies)
        address = self.url.replace("http", "ws", 1) + path
        with connect(address, origin=self.url, additional_headers={"Cookie": cookies}) as socket:
            for text in socket:
                yield json.loads(text)

    @staticmethod
    def _read(response: requests.Response) -> Json:
        if response.status_code >= 400:
            raise SystemExit(f"{response.status_code} {response.json()['detail']}")
        return response.json()


def main(url: str, user: str, password: str) -> None:
    """The whole story."""
    server = Server(url, user, password)
    organization = server.post("organizations/", name="Harbour Survey")["organization_id"]
    code = server.post("binding-codes/", organization=organization, label="Pier 7")["code"]
    say("bind a dock with", organization, code)

    sn = bound_dock(server, organization)
    say("bound", sn)

    call = follow(server, sn, "unlock_license_list", {"device_model_domain": 0})
    say("read", call["text"])

    license = server.get(f"devices/{sn}/licenses/", inventory="aircraft")["results"][0]
    wanted = not license["enabled"]
    call = server.post(
        "service-calls/",
        device=sn,
        method="unlock_license_switch",
        data={"license_id": license["license_id"], "enable": wanted},
    )
    call = ended(server, call)
    if call["status"] != "succeeded":
        raise SystemExit(call["text"])
    until(lambda: server.get(f"licenses/{license['id']}/")["enabled"] == wanted)  # what the dock itself confirms
    say("switched", license["name"], "on" if wanted else "off")

    account = {"username": "pilot@example.org", "password": "a password"}
    call = follow(server, sn, "login_dji_account", account)
    link = server.get(f"devices/{sn}/", include="account")["account"]["verification_code_url"]
    say("the code is at", link)
    again = server.post(f"service-calls/{call['id']}/retry/", data={**account, "verification_code": "123456"})
    call = ended(server, again)
    status = server.get(f"devices/{sn}/", include="account")["account"]["status"]
    say("account", status, call["text"])


def bound_dock(server: Server, organization: str) -> str:
    """The serial number of the first dock that binds, learnt from the organization's WebSocket."""
    for frame in server.frames(f"/ws/organizations/{organization}/"):
        if frame["type"] in ("snapshot", "device"):  # which mean: look again
            docks = server.get("devices/", organization=organization, kind="dock", presence="online")["results"]
            if docks:
                return docks[0]["sn"]
    raise SystemExit("The server closed the WebSocket.")


def follow(server: Server, sn: str, method: str, data: Json) -> Json:
    """Ask a dock for a service and follow it over its WebSocket; returns the call as it ended."""
    call: Json = {}
    for frame in server.frames(f"/ws/devices/{sn}/"):
        if frame["type"] == "snapshot" and not call:
            call = server.post("service-calls/", device=sn, method=method, data=data)
        elif frame["type"] == "service_call" and frame["id"] == call["id"]:
            say(" ", frame["status"], frame["text"])
            if not frame["is_open"]:
                return frame
    raise SystemExit("The server closed the WebSocket.")


def ended(server: Server, call: Json) -> Json:
    """The same without a WebSocket: ask until it has ended, ten seconds at a time."""
    while call["is_open"]:
        call = server.get(f"service-calls/{call['id']}/", wait=10)
    return call


def until(condition: Callable[[], bool]) -> None:
    """Wait for what follows a command, half a minute at most."""
    for _ in range(60):
        if condition():
            return
        time.sleep(0.5)
    raise SystemExit("It did not happen.")


def say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
