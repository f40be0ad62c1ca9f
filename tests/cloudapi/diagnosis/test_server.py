"""What the doctor says of this server's address, names, clock and license."""

import socket
import struct
import threading
import time
from contextlib import contextmanager

import pytest

from cloudapi.diagnosis import server
from cloudapi.diagnosis.findings import Level
from organizations.models import Organization

LICENSE = ("DJI_APP_ID", "DJI_APP_KEY", "DJI_APP_LICENSE")


def only(check):
    [one] = check()
    return one.level, f"{one.text} {one.advice}"


@pytest.mark.django_db(transaction=True)
def test_the_public_address_must_answer_as_this_server(live_server, settings):
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = live_server.url, ["localhost"]
    assert only(server.check_public_url)[0] == Level.OK
    settings.SECRET_KEY, mine = "of another server " * 4, settings.SECRET_KEY
    token = server.signing.dumps("doctor", salt=server.SALT)
    settings.SECRET_KEY = mine
    assert not server.is_own_token(token)
    settings.PUBLIC_URL = f"{live_server.url}/nowhere"
    level, text = only(server.check_public_url)
    assert (level, "answers 404" in text) == (Level.PROBLEM, True)
    settings.PUBLIC_URL = "http://127.0.0.1:1"
    level, text = only(server.check_public_url)
    assert (level, "Connection refused" in text) == (Level.PROBLEM, True)


@pytest.mark.django_db(transaction=True)
def test_another_server_at_the_public_address_is_noticed(live_server, settings, monkeypatch):
    settings.PUBLIC_URL = live_server.url
    monkeypatch.setattr("cloudapi.web.health.is_own_token", lambda _token: False)
    level, text = only(server.check_public_url)
    assert (level, "Another server answers" in text) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("hosts", "level", "words"),
    [
        (["docks.example.com"], Level.OK, "has the host"),
        ([".example.com"], Level.OK, "has the host"),
        (["*"], Level.PROBLEM, "allows every name"),
        (["www.example.com"], Level.PROBLEM, "lacks docks.example.com"),
    ],
)
def test_host_names(settings, hosts, level, words):
    settings.ALLOWED_HOSTS, settings.PUBLIC_URL, settings.DEBUG = hosts, "https://docks.example.com", False
    found, text = only(server.check_hosts)
    assert (found, words in text) == (level, True)


@contextmanager
def time_server(*, ahead=0.0, stratum=2):
    """Answers one question about the time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))

        def answer():
            _, client = line.recvfrom(48)
            now = time.time() + ahead + server.SINCE_1900
            stamp = struct.pack(">II", int(now), int(now % 1 * 2**32))
            line.sendto(bytes([0x24, stratum]) + bytes(30) + stamp * 2, client)

        threading.Thread(target=answer, daemon=True).start()
        yield line.getsockname()[1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "level", "words"),
    [
        ({}, Level.OK, "This machine's clock agrees with that of 127.0.0.1"),
        ({"ahead": 60}, Level.PROBLEM, "by -60.0 s"),
        ({"stratum": 0}, Level.NOTE, "refused to tell the time"),
        (None, Level.NOTE, "Not compared with 127.0.0.1"),
    ],
)
def test_the_clock_is_compared_with_database_and_time_server(settings, options, level, words):
    settings.NTP_SERVER_HOST, settings.NTP_SERVER_PORT = "127.0.0.1", 1
    if options is None:
        database, other = server.check_clock()
    else:
        with time_server(**options) as settings.NTP_SERVER_PORT:
            database, other = server.check_clock()
    assert (database.level, "the database" in database.text) == (Level.OK, True)
    assert (other.level, words in other.text) == (level, True)


@pytest.mark.django_db
def test_the_license_of_the_server_or_of_each_organization(settings):
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1", "key", "license"
    assert only(server.check_license)[0] == Level.OK
    settings.DJI_APP_KEY = ""
    assert only(server.check_license)[0] == Level.PROBLEM
    harbour = Organization.objects.create(organization_id="1", name="Harbour", app_id="1", app_key="2", app_license="3")
    assert only(server.check_license)[0] == Level.OK
    Organization.objects.filter(pk=harbour.pk).update(app_license="")
    assert "The server and Harbour have none" in only(server.check_license)[1]
