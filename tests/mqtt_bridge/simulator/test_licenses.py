"""The dock's unlock licenses, over a real broker and a real HTTP server."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mqtt_bridge.simulator.dock import Dock
from mqtt_bridge.simulator.fleet import Fleet
from mqtt_bridge.simulator.licenses import fetch, sample
from tests.mqtt_bridge.simulator.cloud import Cloud, until

MakeDock = Callable[..., Dock]
CONTENT = b"PK\x03\x04 a license file" * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324
SUB_STRUCTS = [
    "area_unlock",
    "circle_unlock",
    "country_unlock",
    "height_unlock",
    "polygon_unlock",
    "power_unlock",
    "rid_unlock",
]


class Files(BaseHTTPRequestHandler):
    """Gives the file whole, broken off, byte after byte, or not at all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.close_connection = True
        if self.path.startswith("/trickle"):
            self.trickle()
        else:
            self.wfile.write(CONTENT[:100] if self.path.startswith("/broken") else CONTENT)

    def trickle(self) -> None:
        stop = threading.Event()
        try:
            for _ in range(100):
                self.wfile.write(b"x")
                stop.wait(0.02)
        except OSError:
            return  # the dock has had enough

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """The address of a server of license files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def ask(cloud: Cloud, method: str, data: Any) -> dict[str, Any]:
    """Send a command to DOCK1 and return the data of its reply."""
    command = await cloud.command("DOCK1", method, data)

    def replies() -> list[dict[str, Any]]:
        return [one for one in cloud.messages("services_reply", method) if one["tid"] == command["tid"]]

    await until(lambda: bool(replies()))
    [reply] = replies()
    assert reply["bid"] == command["bid"]
    return dict(reply["data"])


async def inventory(cloud: Cloud, domain: int) -> dict[str, Any]:
    return await ask(cloud, "unlock_license_list", {"device_model_domain": domain})


async def update(cloud: Cloud, url: str, fingerprint: str = MD5) -> int:
    """The result of an update with a file."""
    reply = await ask(cloud, "unlock_license_update", {"file": {"url": url, "fingerprint": fingerprint}})
    assert list(reply) == ["result"]
    return int(reply["result"])


@pytest.mark.asyncio
async def test_list_is_flat_and_has_all_seven_types(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_on=True)
    await dock.onboarded(20)
    reply = await inventory(cloud, 0)
    licenses = reply.pop("licenses")
    assert reply == {"result": 0, "device_model_domain": 0, "consistence": False}
    assert [one["common_fields"]["type"] for one in licenses] == list(range(7))
    assert [set(one) - {"common_fields"} for one in licenses] == [{name} for name in SUB_STRUCTS]
    assert {one["common_fields"]["device_sn"] for one in licenses} == {"AIRCRAFT1"}
    assert dock.ledger.complaints == []


@pytest.mark.asyncio
async def test_dock_has_an_inventory_of_its_own(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_on=True).onboarded(20)
    aircraft, dock = await inventory(cloud, 0), await inventory(cloud, 3)
    assert dock["device_model_domain"] == 3
    assert dock["licenses"][:-1] == aircraft["licenses"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("unlock_license_list", {"device_model_domain": 0}),
        ("unlock_license_switch", {"license_id": 1, "enable": True}),
    ],
)
async def test_licenses_of_an_aircraft_that_is_off_are_out_of_reach(
    cloud: Cloud, make_dock: MakeDock, method: str, data: Any
) -> None:
    await make_dock(aircraft_on=False).onboarded(20)
    assert (await ask(cloud, method, data))["result"] == 325012
    assert len((await inventory(cloud, 3))["licenses"]) == 8


@pytest.mark.asyncio
async def test_switch_changes_the_license_of_the_aircraft_only(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_on=True)
    await dock.onboarded(20)
    wanted = dock.licenses.imported[3]["common_fields"]["license_id"]
    reply = await ask(cloud, "unlock_license_switch", {"license_id": wanted, "enable": True})
    assert reply == {"result": 0, "license_id": wanted}
    enabled = [one["common_fields"]["enabled"] for one in (await inventory(cloud, 0))["licenses"]]
    assert enabled == [True, False, False, True, False, False, False]
    assert not dock.licenses.approved[3]["common_fields"]["enabled"]


@pytest.mark.asyncio
async def test_unknown_license_cannot_be_switched(cloud: Cloud, make_dock: MakeDock) -> None:
    await make_dock(aircraft_on=True).onboarded(20)
    reply = await ask(cloud, "unlock_license_switch", {"license_id": 1, "enable": True})
    assert reply == {"result": 325003, "license_id": 1}


@pytest.mark.asyncio
async def test_update_imports_what_was_approved(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock(aircraft_on=True)
    await dock.onboarded(20)
    dock.licenses.imported[1]["common_fields"]["enabled"] = True
    assert await ask(cloud, "unlock_license_update", {}) == {"result": 0}
    reply = await inventory(cloud, 0)
    assert (reply["consistence"], len(reply["licenses"])) == (True, 8)
    assert reply["licenses"][1]["common_fields"]["enabled"] is True
    assert dock.licenses.downloads == []


@pytest.mark.asyncio
async def test_license_that_was_withdrawn_makes_the_two_differ(cloud: Cloud, make_dock: MakeDock) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    dock.licenses.import_approved()
    assert (await inventory(cloud, 3))["consistence"] is True
    del dock.licenses.approved[0]
    assert (await inventory(cloud, 3))["consistence"] is False


@pytest.mark.asyncio
async def test_good_file_is_fetched_and_imported(cloud: Cloud, make_dock: MakeDock, files: str) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    assert await update(cloud, f"{files}/a.kmz?Signature=x") == 0
    [download] = dock.licenses.downloads
    assert (download.size, download.md5, download.error) == (len(CONTENT), MD5, "")
    assert download.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert dock.licenses.consistence
    assert dock.ledger.complaints == []


@pytest.mark.asyncio
async def test_file_with_another_fingerprint_is_not_imported(cloud: Cloud, make_dock: MakeDock, files: str) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    assert await update(cloud, f"{files}/a.kmz", "0" * 32) == 325003
    [download] = dock.licenses.downloads
    assert (download.md5, download.error) == (MD5, "The fingerprint is that of another file.")
    assert not dock.licenses.consistence


@pytest.mark.asyncio
async def test_dock_stays_awake_during_a_long_download(cloud: Cloud, make_dock: MakeDock, files: str) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    dock.licenses.file_timeout = 0.4
    file = {"url": f"{files}/trickle", "fingerprint": MD5}
    await cloud.command("DOCK1", "unlock_license_update", {"file": file})
    await inventory(cloud, 3)
    assert cloud.messages("services_reply", "unlock_license_update") == []
    [reply] = await cloud.wait_for("services_reply", method="unlock_license_update")
    assert reply["data"] == {"result": 325003}
    assert "Longer than 0.4 s" in dock.licenses.downloads[0].error


@pytest.mark.parametrize(
    ("path", "error"),
    [("/missing", "HTTPError: HTTP Error 404"), ("/broken", "The download broke off")],
)
def test_failed_download_says_why(files: str, path: str, error: str) -> None:
    assert error in fetch(files + path, MD5).error


def test_file_beyond_the_limit_is_refused(files: str) -> None:
    assert fetch(f"{files}/a.kmz", MD5, limit=len(CONTENT)).error == ""
    assert "More than" in fetch(f"{files}/a.kmz", MD5, limit=len(CONTENT) - 1).error


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:1/a", "http://[/a"])
def test_address_without_a_file_is_an_error_and_no_crash(url: str) -> None:
    assert fetch(url, MD5).error != ""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "data", "complaint"),
    [
        ("unlock_license_list", {}, "device_model_domain is neither 0 nor 3."),
        ("unlock_license_switch", {"license_id": True, "enable": True}, "license_id is not an integer."),
        ("unlock_license_update", {"file": None}, "file is null instead of left out."),
    ],
)
async def test_bad_command_is_refused_and_complained_about(
    cloud: Cloud, make_dock: MakeDock, method: str, data: Any, complaint: str
) -> None:
    dock = make_dock()
    await dock.onboarded(20)
    assert await ask(cloud, method, data) == {"result": 325001}
    assert [one.text for one in dock.ledger.complaints] == [complaint]


def test_ids_are_the_same_each_time_and_differ_from_dock_to_dock() -> None:
    fleet = Fleet(count=200, mqtt_url="mqtt://127.0.0.1")
    ids = {one["common_fields"]["license_id"] for dock in fleet.docks for one in dock.licenses.approved}
    assert len(ids) == 200 * 8
    assert max(ids) < 2**53  # a browser must not round them
    assert fleet.docks[0].licenses.approved[0] == sample("SIMDOCK00001", "SIMDOCK00001A", 0, 0)[0]


def test_dock_alone_has_licenses_for_itself_only() -> None:
    dock = Dock("mqtt://127.0.0.1", "DOCK1")
    assert dock.licenses.imported == []
    assert {one["common_fields"]["device_sn"] for one in dock.licenses.approved} == {"DOCK1"}
