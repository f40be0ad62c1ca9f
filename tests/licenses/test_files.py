"""License files: what is kept of an upload, and what a dock is sent."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.calls.refusal import Refused
from licenses import files
from licenses.models import LicenseFile, LicenseFileDownload
from organizations.models import AuditEvent
from tests.licenses.conftest import CONTENT, MD5

pytestmark = pytest.mark.django_db
MIB = 2**20


def kept_content(row):
    return bytes(LicenseFile.objects.filter(pk=row.pk).values_list("content", flat=True).get())


# --- upload --------------------------------------------------------------------------------------


def test_the_exact_bytes_are_kept_with_their_md5(file, alice, organization):
    assert kept_content(file) == CONTENT
    assert (file.md5, file.size, file.name) == (MD5, len(CONTENT), "approved.kmz")
    assert (file.organization, file.uploaded_by) == (organization, alice)


def test_upload_is_audited(file, alice, organization):
    event = AuditEvent.objects.get(action="upload")
    assert (event.user, event.organization, event.object_id) == (alice, organization, str(file.pk))
    assert event.after == {"name": "approved.kmz", "size": len(CONTENT), "md5": MD5}


def test_same_bytes_again_are_the_same_row(keep, file):
    again = keep(name="another name.kmz")
    assert (again.pk, again.name, again.already_there) == (file.pk, "approved.kmz", True)
    assert (file.already_there, LicenseFile.objects.count()) == (False, 1)
    assert AuditEvent.objects.filter(action="upload").count() == 1


def test_same_bytes_in_two_organizations_are_two_files(keep, file, other_organization):
    other = keep(owner=other_organization)
    assert (other.pk != file.pk, other.already_there, other.md5) == (True, False, MD5)


@pytest.mark.parametrize(("files_cap", "size"), [(2, MIB), (1000, 3 * len(CONTENT))])
def test_an_organization_has_no_more_files_than_it_may(
    keep, file, other_organization, settings, monkeypatch, files_cap, size
):
    monkeypatch.setattr(files, "FILES", files_cap)
    settings.LICENSE_FILES_CAP = size
    keep(CONTENT[::-1])
    with pytest.raises(ValidationError, match="Delete some that no dock needs"):
        keep(CONTENT * 2)
    assert keep().already_there
    assert keep(owner=other_organization)
    assert (LicenseFile.objects.count(), AuditEvent.objects.filter(action="upload").count()) == (3, 3)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_same_bytes_at_the_same_moment_are_one_row(keep):
    together = threading.Barrier(4)

    def upload():
        together.wait()
        try:
            return keep(name="race.kmz").pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        rows = {task.result() for task in [pool.submit(upload) for _ in range(4)]}
    assert rows == {LicenseFile.objects.get().pk}
    assert AuditEvent.objects.filter(action="upload").count() == 1


def test_other_bytes_with_the_same_md5_are_refused(keep, file):
    LicenseFile.objects.filter(pk=file.pk).update(content=b"made to have the same MD5")
    with pytest.raises(ValidationError, match="has the same MD5"):
        keep()
    assert LicenseFile.objects.count() == 1


def test_empty_file_is_refused(keep):
    with pytest.raises(ValidationError, match="empty"):
        keep(b"")
    assert not LicenseFile.objects.exists()


def test_file_of_16_mib_is_kept_and_one_byte_more_refused(keep):
    content = os.urandom(16 * MIB)
    assert kept_content(keep(content)) == content
    with pytest.raises(ValidationError, match="more than 16"):
        keep(content + b"x")
    assert LicenseFile.objects.count() == 1


class Unread(SimpleUploadedFile):
    """An upload that counts how much of it is read."""

    taken = 0

    def read(self, length=None):
        found = self.file.read(length)
        self.taken += len(found)
        return found


def test_a_file_that_says_it_is_too_large_is_not_read(settings):
    settings.LICENSE_FILE_CAP = 10
    upload = Unread("a.kmz", b"x" * 11)
    with pytest.raises(ValidationError):
        files.read(upload)
    assert upload.taken == 0


def test_a_file_that_says_it_is_smaller_is_read_no_further_than_the_cap(settings):
    settings.LICENSE_FILE_CAP = 10
    upload = Unread("a.kmz", b"x" * 1000)
    upload.size = 3
    with pytest.raises(ValidationError):
        files.read(upload)
    assert upload.taken == 11


def test_upload_that_was_read_before_is_kept_whole(organization, actor):
    upload = TemporaryUploadedFile("big.kmz", "text/html", len(CONTENT), None)
    upload.write(CONTENT)
    row = files.store(organization=organization, upload=upload, actor=actor)
    upload.close()
    assert kept_content(row) == CONTENT


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("approved.kmz", "approved.kmz"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("line\r\nSet-Cookie: x=1.kmz", "line Set-Cookie_ x=1.kmz"),
        ('a"; filename="b.html', "a__ filename=_b.html"),
        ("invoice\u202ezmk.exe", "invoicezmk.exe"),
        ("zero\u200bwidth\x00nul\x7f.kmz", "zerowidthnul.kmz"),
        ("lone\ud800surrogate.kmz", "lonesurrogate.kmz"),
        (".htaccess", "htaccess"),
        ("授权 2026.kmz", "授权 2026.kmz"),
        ("e\u0301.kmz", "\u00e9.kmz"),
        ("n" * 300 + ".kmz", "n" * 96 + ".kmz"),
        ("n" * 300, "n" * 100),
        ("a." + "x" * 300, "a." + "x" * 98),
        ("", "license-file"),
        ("../", "license-file"),
        ("<script>.svg", "_script_.svg"),
    ],
)
def test_hostile_names_are_made_harmless(name, clean):
    assert files.clean_name(name) == clean


# --- content stays where it is -------------------------------------------------------------------


def test_no_list_join_or_foreign_key_loads_the_content(file, staff):
    download = files.log(file, remote_address=None)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        list(LicenseFile.objects.visible_to(staff))
        LicenseFile.objects.get(pk=file.pk)
        assert LicenseFileDownload.objects.get(pk=download.pk).file.md5 == MD5
    assert len(queries) == 4
    assert not [query for query in queries if '"content"' in query["sql"]]


# --- what a dock is sent -------------------------------------------------------------------------


def test_address_is_ours_and_the_dock_may_name_the_file_after_it(settings, file):
    settings.PUBLIC_URL = "https://docks.example.com"
    url = files.signed_url(file)
    assert url.startswith("https://docks.example.com/license-files/")
    assert url.endswith("/approved.kmz")
    assert url.isascii()


@pytest.mark.parametrize(("name", "end"), [("授权 (1).kmz", "/1_.kmz"), ("授权", "/license"), ("%2e%2e", "/2e_2e")])
def test_name_in_the_address_needs_no_quoting(keep, name, end):
    assert files.signed_url(keep(name=name)).endswith(end)


def test_longest_address_fits_the_message(settings, keep, make_call):
    settings.PUBLIC_URL = "https://" + "d" * 200 + ".example.com"
    url = files.signed_url(keep(name="n" * 300), call=make_call({}))
    assert len(url) < 600


def test_token_leads_back_to_file_and_call(file, make_call):
    call = make_call({"license_file": file.pk})
    token = files.signed_url(file, call=call).split("/")[-2]
    assert files.redeem(token) == (file, call, False)


def test_newest_from_flysafe_goes_out_as_nothing(make_call):
    assert msgspec.to_builtins(files.payload(make_call({}))) == {}


def test_file_goes_out_with_address_and_fingerprint(settings, file, make_call):
    sent = msgspec.to_builtins(files.payload(make_call({"license_file": file.pk})))
    assert set(sent["file"]) == {"url", "fingerprint"}
    assert sent["file"]["fingerprint"] == hashlib.md5(CONTENT).hexdigest()  # noqa: S324
    assert sent["file"]["url"].startswith(f"{settings.PUBLIC_URL}/license-files/")


def test_each_payload_has_a_fresh_address(file, make_call, time_machine):
    time_machine.move_to(timezone.now())
    call = make_call({"license_file": file.pk})
    first = files.payload(call).file.url
    time_machine.shift(timedelta(seconds=2))
    assert files.payload(call).file.url != first


ELSEWHERE = "https://elsewhere.example.com/a.kmz"


@pytest.mark.parametrize(
    "data",
    [
        {"license_file": 0},
        {"license_file": 2**70},
        {"license_file": True},
        {"license_file": None},
        {"file": {"url": ELSEWHERE, "fingerprint": "0" * 32}},
    ],
)
def test_nothing_but_a_file_of_ours_can_be_sent(make_call, data):
    with pytest.raises(Refused) as refused:
        files.payload(make_call(data))
    assert refused.value.kind is Refused.Kind.INVALID


def test_number_of_a_file_counts_alone_and_as_a_number(file, make_call):
    for data in ({"license_file": str(file.pk)}, {"license_file": file.pk, "url": ELSEWHERE}):
        with pytest.raises(Refused, match="by its number, and nothing else"):
            files.payload(make_call(data, status="succeeded"))


def test_file_of_another_organization_is_not_sent(keep, other_organization, make_call):
    foreign = keep(owner=other_organization)
    with pytest.raises(Refused, match="no such license file") as refused:
        files.payload(make_call({"license_file": foreign.pk}))
    assert refused.value.kind is Refused.Kind.INVALID


def test_file_that_is_gone_is_not_sent(file, actor, make_call):
    files.delete(file, actor=actor)
    with pytest.raises(Refused, match="no such license file"):
        files.payload(make_call({"license_file": file.pk}))


# --- deletion --------------------------------------------------------------------------------------


def test_deletion_is_audited_and_takes_the_log_along(file, actor, alice):
    files.log(file, remote_address="192.0.2.1")
    files.delete(file, actor=actor)
    event = AuditEvent.objects.get(action="delete")
    assert (event.user, event.before["md5"], event.before["downloads"]) == (alice, MD5, 1)
    assert not LicenseFile.objects.exists()
    assert not LicenseFileDownload.objects.exists()


@pytest.mark.parametrize("status", ["queued", "sent"])
def test_file_in_use_is_not_deleted(file, actor, make_call, status):
    make_call({"license_file": file.pk}, status=status)
    with pytest.raises(files.FileInUseError, match="1 open"):
        files.delete(file, actor=actor)
    assert LicenseFile.objects.exists()


def test_calls_that_ended_or_use_another_file_do_not_keep_it(keep, file, actor, make_call):
    make_call({"license_file": file.pk}, status="succeeded")
    make_call({"license_file": keep(b"other").pk})
    files.delete(file, actor=actor)
    assert LicenseFile.objects.count() == 1
