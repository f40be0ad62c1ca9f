"""License files in the admin: who sees, uploads, downloads and deletes."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from licenses import files
from licenses.models import LicenseFile, LicenseFileDownload
from organizations.models import AuditEvent, Organization, Role
from tests.cast import member
from tests.licenses.conftest import CONTENT, MD5

pytestmark = pytest.mark.django_db
LIST = "/admin/licenses/licensefile/"
VISITORS = ["staff", "alice", "olga", "bob", "charlie"]

# door x role: the status of opening it; 302 is Django's answer for a row that she cannot see
DOORS = {
    "": dict.fromkeys(VISITORS, 200),
    "add/": {"staff": 200, "alice": 200, "olga": 200, "bob": 403, "charlie": 200},
    "{file}/change/": {"staff": 200, "alice": 200, "olga": 200, "bob": 200, "charlie": 302},
    "{file}/delete/": {"staff": 200, "alice": 200, "olga": 403, "bob": 403, "charlie": 302},
    "{file}/history/": {"staff": 200, "alice": 200, "olga": 403, "bob": 403, "charlie": 302},
    "{file}/download/": {"staff": 200, "alice": 200, "olga": 200, "bob": 200, "charlie": 404},
    "{foreign}/change/": {"staff": 200, "alice": 302, "olga": 302, "bob": 302, "charlie": 200},
    "{foreign}/delete/": {"staff": 200, "alice": 302, "olga": 403, "bob": 403, "charlie": 200},
    "{foreign}/download/": {"staff": 200, "alice": 404, "olga": 404, "bob": 404, "charlie": 200},
}


@pytest.fixture
def foreign(keep, other_organization):
    return keep(b"of Northern Grid", "northern.kmz", other_organization)


@pytest.fixture
def upload(client):
    """Post the upload form as somebody."""

    def upload(user, organization, content=CONTENT, name="approved.kmz"):
        client.force_login(user)
        data = {"organization": organization.pk, "upload": SimpleUploadedFile(name, content, "image/svg+xml")}
        return client.post(f"{LIST}add/", data, follow=True)

    return upload


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize("door", DOORS)
def test_door_by_role(client, request, door, visitor, file, foreign, olga, charlie):
    client.force_login(request.getfixturevalue(visitor))
    response = client.get(LIST + door.format(file=file.pk, foreign=foreign.pk))
    assert response.status_code == DOORS[door][visitor]
    list(response)  # what is streamed ends the request


def test_download_without_sign_in_asks_for_it(client, file):
    response = client.get(f"{LIST}{file.pk}/download/")
    assert (response.status_code, response["Location"].split("?")[0]) == (302, "/admin/login/")


@pytest.mark.parametrize("pk", ["999999", "9" * 40])
def test_download_of_nothing_is_not_found(client, staff, pk):
    client.force_login(staff)
    assert client.get(f"{LIST}{pk}/download/").status_code == 404


@pytest.mark.parametrize(("visitor", "kept"), [("staff", 1), ("alice", 1), ("olga", 1), ("bob", 0), ("charlie", 0)])
def test_operators_of_the_organization_upload(upload, request, organization, visitor, kept):
    upload(request.getfixturevalue(visitor), organization)
    assert LicenseFile.objects.filter(organization=organization).count() == kept


def test_operator_here_and_viewer_there_uploads_here_alone(upload, organization, other_organization):
    both = member("both", organization, Role.OPERATOR)
    both.memberships.create(organization=other_organization, role=Role.VIEWER)
    assert "Select a valid choice" in upload(both, other_organization).content.decode()
    upload(both, organization)
    assert LicenseFile.objects.get().organization == organization


def test_upload_says_what_it_did(upload, olga, organization):
    text = upload(olga, organization, name="../../<b>.kmz").content.decode()
    row = LicenseFile.objects.get()
    assert (row.name, row.md5, row.uploaded_by) == ("_b_.kmz", MD5, olga)
    for shown in ("was added successfully", MD5, "olga", "Harbour Survey"):
        assert shown in text
    assert AuditEvent.objects.get().action == "upload"


def test_same_bytes_again_lead_to_the_file_that_is_there(upload, olga, organization, file):
    response = upload(olga, organization, name="again.kmz")
    assert response.redirect_chain[-1][0] == f"{LIST}{file.pk}/change/"
    text = response.content.decode()
    assert "This file is here already" in text
    assert "added successfully" not in text
    assert LicenseFile.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_refused_uploads_are_explained_in_the_form(upload, olga, organization, settings):
    settings.LICENSE_FILE_CAP = len(CONTENT) - 1
    for content, reason in ((CONTENT, "The file is too large"), (b"", "The submitted file is empty")):
        response = upload(olga, organization, content)
        assert reason in response.content.decode()
        assert response.redirect_chain == []
    assert not LicenseFile.objects.exists()


def test_forged_file_is_refused_with_the_reason(upload, olga, organization, file):
    LicenseFile.objects.filter(pk=file.pk).update(content=b"made to have the same MD5")
    assert "has the same MD5: one of them is forged" in upload(olga, organization).content.decode()
    assert LicenseFile.objects.count() == 1


def test_person_gets_the_bytes_and_is_logged(client, bob, file):
    client.force_login(bob)
    response = client.get(f"{LIST}{file.pk}/download/")
    assert b"".join(response) == CONTENT
    assert response["Content-Disposition"] == 'attachment; filename="approved.kmz"'
    download = file.downloads.get()
    assert (download.user, download.call, download.outcome) == (bob, None, "finished")


def test_page_shows_the_log(client, bob, file, dock, make_call):
    files.log(file, remote_address="192.0.2.9", call=make_call({}), outcome="expired")
    client.force_login(bob)
    text = client.get(f"{LIST}{file.pk}/change/").content.decode()
    for shown in ("192.0.2.9", str(dock), "refused: the address had expired"):
        assert shown in text


def test_page_of_a_file_cannot_change_it(client, alice, staff, file):
    for user in (alice, staff):
        client.force_login(user)
        response = client.post(f"{LIST}{file.pk}/change/", {"name": "stolen"})
        assert response.status_code == 403
    assert LicenseFile.objects.get().name == "approved.kmz"


@pytest.mark.parametrize(("visitor", "left"), [("staff", 0), ("alice", 0), ("olga", 1), ("bob", 1), ("charlie", 1)])
def test_managers_of_the_organization_delete(client, request, file, visitor, left):
    client.force_login(request.getfixturevalue(visitor))
    client.post(f"{LIST}{file.pk}/delete/", {"post": "yes"})
    assert LicenseFile.objects.count() == left
    assert AuditEvent.objects.filter(action="delete").count() == 1 - left


def test_file_in_use_is_not_deleted_and_the_page_says_why(client, alice, file, make_call):
    make_call({"license_file": file.pk})
    client.force_login(alice)
    response = client.post(f"{LIST}{file.pk}/delete/", {"post": "yes"}, follow=True)
    assert "in use by 1 open command. Wait until it has ended." in response.content.decode()
    assert LicenseFile.objects.exists()


def test_list_loads_no_content_and_costs_a_constant_number_of_queries(
    client, alice, keep, django_assert_max_num_queries
):
    client.force_login(alice)
    keep(b"first")
    client.get(LIST)
    with django_assert_max_num_queries(12) as few:
        client.get(LIST)
    for number in range(30):
        files.log(keep(str(number).encode(), f"{number}.kmz"), remote_address=None, outcome="finished")
    with django_assert_max_num_queries(len(few)) as many:
        assert client.get(LIST).content.decode().count("Download</a>") == 31
    assert not [query for query in many if '"content"' in query["sql"]]


def test_organization_with_files_can_still_be_deleted_by_staff(client, staff, keep):
    doomed = Organization.objects.create(organization_id="doomed", name="Doomed")
    keep(owner=doomed)
    client.force_login(staff)
    client.post(reverse("admin:organizations_organization_delete", args=[doomed.pk]), {"post": "yes"})
    assert not LicenseFile.objects.exists()


def test_a_list_in_the_order_of_downloads_holds_each_file_once(client, alice, keep):
    file = keep()
    for _ in range(3):
        LicenseFileDownload.objects.create(file=file)
    client.force_login(alice)
    columns = client.get(LIST).context["cl"].list_display
    changes = client.get(LIST, {"o": columns.index("fetched")}).context["cl"]
    assert [row.pk for row in changes.result_list] == [file.pk]
