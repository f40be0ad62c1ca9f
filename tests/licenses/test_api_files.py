"""License files over REST: upload, list, download, delete."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from licenses.api import FRAMING
from licenses.models import LicenseFile, LicenseFileDownload
from organizations.models import AuditEvent, OrganizationAPIKey, Role
from tests.api import client_of, make_key
from tests.licenses.conftest import CONTENT, MD5

pytestmark = pytest.mark.django_db
LIST = "/api/v1/license-files/"


@pytest.fixture
def operator(operator_key):
    return client_of(operator_key)


@pytest.fixture
def manager(manager_key):
    return client_of(manager_key)


def upload(client, content=CONTENT, name="approved.kmz", organization="12345678", **fields):
    form = {"organization": organization, "file": SimpleUploadedFile(name, content), **fields}
    return client.post(LIST, {key: value for key, value in form.items() if value is not None}, format="multipart")


def page_of(file):
    return f"{LIST}{file.pk}/"


def body(response):
    return b"".join(response) if response.streaming else response.content


def test_a_file_is_kept_byte_for_byte(operator):
    response = upload(operator)
    file = LicenseFile.objects.get()
    assert response.status_code == 201
    assert response["Location"].endswith(page_of(file))
    assert response["ETag"] == operator.get(page_of(file))["ETag"]
    assert response.json() == {
        "id": file.pk,
        "organization": "12345678",
        "name": "approved.kmz",
        "md5": MD5,
        "size": len(CONTENT),
        "created": file.created.isoformat().replace("+00:00", "Z"),
        "uploaded_by": None,
        "uploaded_with": "operator key",
        "downloads": 0,
    }
    assert bytes(file.content) == CONTENT
    event = AuditEvent.objects.get(action="upload")
    assert (event.through, event.api_key.name) == ("api", "operator key")


def test_the_same_bytes_again_give_the_file_that_is_there(operator, file):
    response = upload(operator, name="other.kmz")
    assert (response.status_code, response.data["id"], response.data["name"]) == (200, file.pk, "approved.kmz")
    assert response.data["uploaded_by"] == "alice"
    assert LicenseFile.objects.count() == 1


def test_a_person_uploads_with_a_session_and_its_token(olga, organization):
    client = client_of(olga)
    assert upload(client).data["uploaded_by"] == "olga"
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    form = {"organization": "12345678", "file": SimpleUploadedFile("b.kmz", b"b")}
    assert strict.post(LIST, form).status_code == 403


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\licenses\\a.kmz", "a.kmz"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("授权.kmz", "授权.kmz"),
    ],
)
def test_a_name_is_a_name_and_no_path(operator, name, kept):
    assert upload(operator, name=name).data["name"] == kept


def test_an_empty_file_is_refused(operator):
    response = upload(operator, b"")
    assert response.status_code == 400
    assert response.data["errors"] == [{"pointer": "/file", "code": "empty", "detail": "The submitted file is empty."}]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"file": None}, "/file"),
        ({"file": "text"}, "/file"),
        ({"organization": "a\0b"}, "/organization"),
        ({"organization": SimpleUploadedFile("a", b"12345678")}, "/organization"),
        ({"nmae": "a"}, "/nmae"),
    ],
)
def test_a_form_that_lacks_something_is_refused(operator, fields, pointer):
    response = upload(operator, **fields)
    assert response.status_code == 400
    assert [error["pointer"] for error in response.data["errors"]] == [pointer]
    assert not LicenseFile.objects.exists()


@pytest.mark.parametrize(("extra", "words"), [(1, "The file is too large"), (FRAMING + 1, "The body is too large")])
def test_a_file_beyond_the_cap_is_refused_and_a_much_larger_one_not_even_read(operator, settings, extra, words):
    settings.LICENSE_FILE_CAP = 1000
    assert upload(operator, b"x" * 1000).status_code == 201
    response = upload(operator, b"x" * (1000 + extra))
    assert (response.status_code, response.data["type"]) == (413, "urn:dock-cloud:problem:too_large")
    assert words in response.data["detail"]
    assert LicenseFile.objects.count() == 1


def test_one_file_too_many_is_refused_with_the_reason(operator, settings):
    settings.LICENSE_FILES_CAP = 1000
    assert upload(operator, b"x" * 1000).status_code == 201
    response = upload(operator, b"y")
    assert (response.status_code, LicenseFile.objects.count()) == (400, 1)
    assert "may have at most 1000 license files" in str(response.data)


def test_a_file_larger_than_other_bodies_may_be_is_taken(operator, settings):
    content = b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    assert upload(operator, content).data["size"] == len(content)


CUT = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab'


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b'{"organization": "12345678"}', "application/json", 415),
        (b"organization=12345678", "application/x-www-form-urlencoded", 415),
        (b"", "multipart/form-data", 400),
        (b"garbage", "multipart/form-data; boundary=x", 400),
        (CUT, "multipart/form-data; boundary=x", 400),
    ],
)
def test_a_body_that_is_no_form_is_refused(operator, data, content_type, status):
    response = operator.generic("POST", LIST, data, content_type=content_type)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"


# --- who may what ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "seen", "uploaded", "deleted"),
    [
        (None, 401, 401, 401),
        ("viewer", 200, 403, 403),
        ("operator", 200, 201, 403),
        ("manager", 200, 201, 204),
        ("stranger", 404, 404, 404),
    ],
)
def test_operators_upload_and_managers_delete(
    file, organization, other_organization, role, seen, uploaded, deleted
):  # fmt: skip
    owner = other_organization if role == "stranger" else organization
    key = role and make_key(owner, Role.MANAGER if role == "stranger" else Role(role))
    client = client_of(key)
    assert client.get(page_of(file)).status_code == seen
    assert client.get(f"{page_of(file)}download/").status_code == seen
    assert client.get(LIST).status_code == (401 if role is None else 200)
    assert upload(client, b"more").status_code == uploaded
    assert client.delete(page_of(file)).status_code == deleted
    assert client.patch(page_of(file), {"name": "x"}).status_code == (401 if role is None else 405)


def test_who_may_upload_for_one_organization_may_not_for_another(operator, stranger_file):
    response = upload(operator, organization="87654321")
    assert response.status_code == 404
    assert response.data["errors"][0]["pointer"] == "/organization"
    for other in ("00000000", ""):
        assert upload(operator, organization=other).data["errors"] == response.data["errors"]
    assert operator.get(LIST).data["results"] == []
    assert operator.get(LIST, {"organization": "87654321"}).data["results"] == []
    assert operator.get(LIST, {"md5": stranger_file.md5}).data["results"] == []


def test_the_role_counts_in_the_organization_that_is_named(olga, other_organization):
    other_organization.memberships.create(user=olga, role=Role.VIEWER)
    assert upload(client_of(olga), organization="87654321").status_code == 403
    assert upload(client_of(olga)).status_code == 201


def test_an_organization_is_named_by_who_may_upload_for_several(olga, operator, other_organization):
    assert upload(operator, organization=None).data["organization"] == "12345678"
    other_organization.memberships.create(user=olga, role=Role.OPERATOR)
    response = upload(client_of(olga), organization=None)
    assert (response.status_code, response.data["errors"][0]["pointer"]) == (400, "/organization")


@pytest.fixture
def stranger_file(keep, other_organization):
    return keep(b"theirs", owner=other_organization)


# --- list, download, delete ------------------------------------------------------------------------


def test_files_are_narrowed_and_ordered(operator, keep):
    for size, name in enumerate(("b.kmz", "c.kmz", "a.kmz"), start=1):
        keep(b"x" * size, name)

    def names(**query):
        return "".join(row["name"][0] for row in operator.get(LIST, query).data["results"])

    assert names() == "acb"
    assert names(ordering="name") == "abc"
    assert names(ordering="-size") == "acb"
    assert names(search="A.KMZ") == "a"
    assert names(md5=LicenseFile.objects.get(name="c.kmz").md5.upper()) == "c"
    assert names(created_since=LicenseFile.objects.get(name="c.kmz").created.isoformat()) == "ac"
    assert operator.get(LIST, {"name": "a"}).status_code == 400


def test_the_list_asks_a_constant_number_of_queries_and_reads_no_content(olga, keep):
    client = client_of(olga)
    counts = []
    for sizes in (range(1, 3), range(3, 21)):
        for size in sizes:
            for _ in range(2):
                LicenseFileDownload.objects.create(file=keep(b"x" * size), outcome="finished")
        with CaptureQueriesContext(connection) as captured:
            assert client.get(LIST).data["results"][0]["downloads"] == 2
        counts.append(len(captured))
        assert not any('"content"' in query["sql"] for query in captured)
    assert counts[0] == counts[1]
    assert counts[0] <= 5


@pytest.mark.parametrize("accept", ["application/octet-stream", "text/html", "application/json", "*/*", "nonsense"])
def test_what_is_downloaded_is_bytes_whatever_is_asked_for(operator, file, accept):
    response = operator.get(f"{page_of(file)}download/", headers={"Accept": accept})
    assert body(response) == CONTENT
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="approved.kmz"'
    assert (response["X-Content-Type-Options"], response["Cache-Control"]) == ("nosniff", "private, no-store")


def test_it_is_noted_which_key_and_which_person_fetched_a_file(operator, olga, file):
    for client in (operator, client_of(olga)):
        body(client.get(f"{page_of(file)}download/"))
    by_key, by_person = LicenseFileDownload.objects.order_by("pk")
    assert (by_key.api_key, by_key.user, by_key.outcome) == (OrganizationAPIKey.objects.get(), None, "finished")
    assert (by_person.api_key, by_person.user) == (None, olga)
    assert operator.get(page_of(file)).data["downloads"] == 2


def test_the_admin_names_the_key_that_fetched_a_file(operator, client, alice, file):
    body(operator.get(f"{page_of(file)}download/"))
    client.force_login(alice)
    text = client.get(f"/admin/licenses/licensefile/{file.pk}/change/").content.decode()
    assert "operator key" in text


def test_a_download_that_is_only_asked_about_is_not_noted(operator, file):
    response = operator.head(f"{page_of(file)}download/")
    assert (response.status_code, response["Content-Length"], response.content) == (200, str(len(CONTENT)), b"")
    assert not LicenseFileDownload.objects.exists()


def test_a_file_that_a_dock_may_still_fetch_is_not_deleted(manager, file, make_call):
    call = make_call({"license_file": file.pk}, status="sent")
    response = manager.delete(page_of(file))
    assert (response.status_code, response.data["type"]) == (409, "urn:dock-cloud:problem:in_use")
    type(call).objects.update(status="succeeded")
    assert manager.delete(page_of(file)).status_code == 204
    assert manager.get(page_of(file)).status_code == 404
    assert AuditEvent.objects.get(action="delete").api_key.name == "manager key"


def test_a_file_is_deleted_only_as_it_is_known(manager, file):
    assert manager.delete(page_of(file), headers={"If-Match": '"other"'}).status_code == 412
    tag = manager.get(page_of(file))["ETag"]
    assert manager.delete(page_of(file), headers={"If-Match": tag}).status_code == 204


@pytest.mark.parametrize("key", ["abc", "0", "-1", "9" * 18, "1" + "0" * 30, "%00"])
def test_an_id_that_is_none_is_not_found(manager, file, key):
    assert manager.get(f"{LIST}{key}/").status_code == 404
    assert manager.get(f"{LIST}{key}/download/").status_code == 404
    assert manager.delete(f"{LIST}{key}/").status_code == 404
