"""A dock fetches a license file from a real web server, over HTTP and ASGI."""

import asyncio
import os
import socket
import threading
import time
import urllib.request

import pytest
import uvicorn
from django.db import connection

from cloudapi.asgi import application
from licenses import files
from licenses.models import LicenseFile, LicenseFileDownload
from mqtt_bridge.simulator.dialogue import Command
from mqtt_bridge.simulator.dock import Dock
from tests.licenses.conftest import CONTENT, MD5

pytestmark = pytest.mark.django_db(transaction=True)
FAILED = 325003
Outcome = LicenseFileDownload.Outcome


@pytest.fixture
def public(settings, monkeypatch):
    """The address of a uvicorn that serves our application to docks."""
    # Its threads end with their requests and would leave their connections to the garbage collector.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        settings.PUBLIC_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield settings.PUBLIC_URL
        server.should_exit = True
        thread.join()


@pytest.fixture
def simulated():
    """A simulated dock with an aircraft, which needs no broker for this, and has time."""
    dock = Dock("mqtt://127.0.0.1", "DOCK0001", aircraft_sn="DRONE0001")
    dock.licenses.file_timeout = 60.0
    return dock


def update(dock, sent):
    """What the dock answers when it is sent this."""
    file = {"file": {"url": sent.file.url, "fingerprint": sent.file.fingerprint}}
    command = Command("tid", "bid", "unlock_license_update", file)
    return asyncio.run(dock.licenses.update(dock, command)).data


def logged(file, outcome):
    """The download with this outcome; the web server notes it a moment after the dock has its bytes."""
    deadline = time.monotonic() + 30
    while not (found := file.downloads.filter(outcome=outcome).first()):
        assert time.monotonic() < deadline, list(file.downloads.values())
        time.sleep(0.01)
    return found


@pytest.mark.usefixtures("public")
def test_dock_fetches_exactly_the_uploaded_bytes(file, make_call, simulated):
    call = make_call({"license_file": file.pk})
    assert update(simulated, files.payload(call)) == {"result": 0}
    [download] = simulated.licenses.downloads
    assert (download.size, download.md5, download.error) == (len(CONTENT), MD5, "")
    assert simulated.licenses.consistence
    noted = logged(file, Outcome.FINISHED)
    assert (noted.call, noted.sent, noted.remote_address) == (call, len(CONTENT), "127.0.0.1")


@pytest.mark.usefixtures("public")
def test_file_of_16_mib_arrives_whole(keep, make_call, simulated):
    content = os.urandom(16 * 2**20)
    file = keep(content)
    assert update(simulated, files.payload(make_call({"license_file": file.pk}))) == {"result": 0}
    assert simulated.licenses.downloads[0].size == len(content)
    assert logged(file, Outcome.FINISHED).sent == len(content)


@pytest.mark.usefixtures("public")
def test_changed_byte_is_refused_by_the_dock(file, make_call, simulated):
    LicenseFile.objects.filter(pk=file.pk).update(content=bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    assert update(simulated, files.payload(make_call({"license_file": file.pk}))) == {"result": FAILED}
    [download] = simulated.licenses.downloads
    assert download.error == "The fingerprint is that of another file."
    assert not simulated.licenses.consistence


@pytest.mark.usefixtures("public")
def test_expired_address_is_an_error_of_the_dock(file, make_call, simulated, settings):
    sent = files.payload(make_call({"license_file": file.pk}))
    settings.LICENSE_FILE_URL_SECONDS = -1
    assert update(simulated, sent) == {"result": FAILED}
    assert "HTTP Error 410" in simulated.licenses.downloads[0].error
    assert logged(file, Outcome.EXPIRED).sent == 0


@pytest.mark.usefixtures("public")
def test_dock_that_leaves_in_the_middle_is_logged(keep):
    file = keep(os.urandom(16 * 2**20))
    with urllib.request.urlopen(files.signed_url(file)) as response:  # noqa: S310
        response.read(2**21)
    noted = LicenseFileDownload.objects.get()
    deadline = time.monotonic() + 30
    while not noted.sent and time.monotonic() < deadline:
        time.sleep(0.01)
        noted.refresh_from_db()
    assert 0 < noted.sent < file.size
    assert noted.outcome == Outcome.BROKEN_OFF


def test_head_over_the_network_has_a_length_and_no_body(public, file):
    request = urllib.request.Request(files.signed_url(file), method="HEAD")  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310
        assert (response.headers["Content-Length"], response.read()) == (str(len(CONTENT)), b"")
