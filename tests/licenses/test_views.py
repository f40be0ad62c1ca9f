"""The door for docks: signed addresses, what is sent and what is refused."""

import os
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone

from licenses import files, views
from licenses.models import LicenseFile, LicenseFileDownload
from tests.licenses.conftest import CONTENT

pytestmark = pytest.mark.django_db
Outcome = LicenseFileDownload.Outcome


def address(file, **fields):
    """Path and query of the file's signed address."""
    return urlsplit(files.signed_url(file, **fields)).path


def body(response):
    return b"".join(response) if response.streaming else response.content


@pytest.fixture
def dock_client():
    """A client without session and cookies, which takes nothing for granted."""
    return Client(enforce_csrf_checks=True)


def test_dock_gets_exactly_these_bytes(dock_client, file):
    response = dock_client.get(address(file))
    assert response.status_code == 200
    assert body(response) == CONTENT
    assert not response.cookies


def test_headers_let_nobody_show_the_file(dock_client, file):
    response = dock_client.get(address(file))
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="approved.kmz"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-store"
    assert body(response) == CONTENT


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "授权.html"])
def test_what_a_browser_could_show_is_a_download_too(dock_client, keep, name):
    response = dock_client.get(address(keep(b"<svg onload='alert(1)'>", name)))
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment; filename")
    assert body(response) == b"<svg onload='alert(1)'>"


@pytest.mark.parametrize("name", ["../../x", 'a"b.kmz', "a\r\nX-Evil: 1", "\u202egpj.exe", "n" * 300, "授权.kmz"])
def test_no_name_breaks_out_of_its_header(dock_client, keep, name):
    response = dock_client.get(address(keep(name=name)))
    disposition = response["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.count('"') in (0, 2)
    assert "X-Evil" not in response
    assert body(response) == CONTENT


def test_a_large_file_is_sent_in_pieces(dock_client, keep):
    content = os.urandom(2 * files.PIECE + 5)
    pieces = list(dock_client.get(address(keep(content))))
    assert [len(piece) for piece in pieces] == [files.PIECE, files.PIECE, 5]
    assert b"".join(pieces) == content


def test_head_tells_the_length_and_sends_nothing(dock_client, file):
    response = dock_client.head(address(file))
    assert (response.status_code, response["Content-Length"], response.content) == (200, str(len(CONTENT)), b"")
    assert not LicenseFileDownload.objects.exists()


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_nothing_else_is_allowed(file, method):
    assert getattr(Client(), method)(address(file)).status_code == 405


def test_the_name_in_the_address_means_nothing(dock_client, keep, file):
    other = keep(b"other", "other.kmz")
    folder = address(file).removesuffix("approved.kmz")
    assert body(dock_client.get(folder)) == CONTENT
    assert body(dock_client.get(f"{folder}{other.name}")) == CONTENT


# --- refused -------------------------------------------------------------------------------------


def test_expired_address_is_gone_and_logged(dock_client, file, time_machine, settings):
    time_machine.move_to(timezone.now())
    url = address(file)
    time_machine.shift(timedelta(seconds=settings.LICENSE_FILE_URL_SECONDS - 2))
    assert body(dock_client.get(url)) == CONTENT
    time_machine.shift(timedelta(seconds=4))
    assert dock_client.get(url).status_code == 410
    last, first = LicenseFileDownload.objects.all()
    assert (last.outcome, last.sent) == (Outcome.EXPIRED, 0)
    assert first.outcome == Outcome.FINISHED


def altered(token, place):
    """The token with another character at this place of its signature."""
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


def test_no_character_of_a_token_can_be_changed(dock_client, file):
    token = address(file).split("/")[-2]
    for place in range(len(token) - 1):  # the last one holds bits that are not used
        assert dock_client.get(f"/license-files/{altered(token, place)}/").status_code == 404, place
    assert not LicenseFileDownload.objects.exists()


def test_token_of_one_file_does_not_open_another(dock_client, keep, file):
    other = keep(b"other")
    _, rest = address(file).split("/")[-2].split(".", 1)
    assert dock_client.get(f"/license-files/{other.pk}.{rest}/").status_code == 404


def test_token_signed_for_another_purpose_opens_nothing(dock_client, file):
    for salt in ("", "licenses", "django.core.signing"):
        token = signing.TimestampSigner(salt=salt, sep=".").sign(f"{file.pk}.")
        assert dock_client.get(f"/license-files/{token}/").status_code == 404


@pytest.mark.parametrize("token", ["x", "1", "1.", "...", "%00", "a" * 5000, "授权", "1..1tXyz.sig"])
def test_nonsense_is_not_found(dock_client, file, token):
    assert dock_client.get(f"/license-files/{token}/").status_code == 404


def test_address_of_a_deleted_file_is_not_found(dock_client, file, actor):
    url = address(file)
    files.delete(file, actor=actor)
    assert dock_client.get(url).status_code == 404


def test_all_refusals_look_alike(dock_client, file, actor, time_machine):
    time_machine.move_to(timezone.now())
    url = address(file)
    wrong = dock_client.get("/license-files/wrong/")
    time_machine.shift(timedelta(days=1))
    expired = dock_client.get(url)
    files.delete(file, actor=actor)
    deleted = dock_client.get(url)
    assert [answer.status_code for answer in (wrong, expired, deleted)] == [404, 410, 404]
    assert wrong.content == expired.content == deleted.content == views.NOTHING.encode()
    assert dict(wrong.headers) == dict(expired.headers) == dict(deleted.headers)


# --- the log -------------------------------------------------------------------------------------


def test_log_tells_who_got_how_much_for_which_call(dock_client, file, make_call):
    call = make_call({"license_file": file.pk})
    body(dock_client.get(address(file, call=call), REMOTE_ADDR="192.0.2.7"))
    download = file.downloads.get()
    assert (download.call, download.user, download.remote_address) == (call, None, "192.0.2.7")
    assert (download.outcome, download.sent) == (Outcome.FINISHED, len(CONTENT))


def test_download_that_breaks_off_is_logged_as_such(keep):
    file = keep(os.urandom(2 * files.PIECE))
    pieces = files.Transfer(files.log(file, remote_address=None)).pieces()
    next(pieces)
    assert next(pieces)
    pieces.close()
    assert (file.downloads.get().outcome, file.downloads.get().sent) == (Outcome.BROKEN_OFF, files.PIECE)


def test_file_that_goes_while_it_is_sent_ends_the_download(dock_client, keep):
    file = keep(os.urandom(2 * files.PIECE))
    response = iter(dock_client.get(address(file)))
    next(response)
    LicenseFile.objects.filter(pk=file.pk).delete()
    assert list(response) == []


@pytest.mark.parametrize("remote", ["", "unix:", "192.0.2.1, 10.0.0.1"])
def test_what_is_no_ip_address_is_not_logged(dock_client, file, remote):
    body(dock_client.get(address(file), REMOTE_ADDR=remote))
    assert file.downloads.get().remote_address is None


def test_download_costs_a_constant_number_of_queries(dock_client, file, make_call, django_assert_num_queries):
    url = address(file, call=make_call({}))
    with django_assert_num_queries(5):  # file, call, log, the bytes, log
        body(dock_client.get(url))
