"""REST `file-jobs/`: who may export and import which table, what the file holds, and what is refused."""

import csv
import io
import re

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone, translation
from rest_framework.test import APIClient

from cloudapi.file_jobs import asking, exporting, wording, working
from cloudapi.tables.imports import IMPORTS
from cloudapi.tables.registry import NAMED, TABLES
from devices.models import Device
from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, FileJob, FilePiece, Invitation, Membership, Role, audit_words
from organizations.models.files import model_of
from tests.api import client_of, make_key
from tests.cast import member
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

pytestmark = pytest.mark.usefixtures("world", "workers")
JOBS = "/api/v1/file-jobs/"
ROLES = list(Role)
FOREIGN = ("Northern", "NORTHERN", "87654321", "charlie", "northern-guest")
ROWS = {
    "devices": "sn,callsign\nHARBOURDOCK,Pier 9\n",
    "binding-codes": "label\nNorth pier\nSouth pier\n",
    "invitations": "username,role\nolga,viewer\n",
}
each_table = pytest.mark.parametrize("table", sorted(NAMED))
each_import = pytest.mark.parametrize("table", sorted(ROWS))
each_role = pytest.mark.parametrize("role", ROLES)


@pytest.fixture
def workers(settings):
    settings.COMMANDS_AVAILABLE = True
    settings.CELERY_BROKER_URL = "memory://"


@pytest.fixture
def client(organization):
    """client(role) is that of an API key of Harbour Survey."""
    return lambda role: client_of(make_key(organization, role))


def session_of(user):
    """A browser's requests, whose memberships are read anew."""
    caller = APIClient()
    caller.force_authenticate(get_user_model().objects.get(pk=user.pk))
    return caller


def export(client, table="devices", **more):
    return client.post(JOBS, {"kind": "export", "table": table, **more})


def upload(client, table="devices", text=None, **more):
    file = SimpleUploadedFile("rows.csv", (ROWS[table] if text is None else text).encode())
    return client.post(JOBS, {"kind": "import", "table": table, "file": file, **more}, format="multipart")


def ended(client, answer):
    assert answer.status_code == 201, answer.content
    working.work_off()
    return client.get(f"{JOBS}{answer.json()['id']}/").json()


def file_of(client, job):
    answer = client.get(f"{JOBS}{job['id']}/file/")
    assert answer.status_code == 200, answer.content
    return answer.getvalue().decode("utf-8-sig")


def rows_of(client, job):
    return list(csv.DictReader(io.StringIO(file_of(client, job))))


# --- exports -----------------------------------------------------------------------------------------


@each_table
@each_role
def test_a_role_exports_the_tables_that_its_pages_show_and_nothing_of_others(client, table, role):
    caller = client(role)
    answer = export(caller, table)
    if not role.includes(exporting.view_role(table)):
        assert answer.status_code == 403
        return
    job = ended(caller, answer)
    assert (job["status"], job["errors"], job["done"]) == ("succeeded", [], job["total"])
    text = file_of(caller, job)
    assert len(text.splitlines()) == job["total"] + 1 > 1
    assert not [name for name in FOREIGN if name in text]


@each_table
def test_every_filter_of_every_table_is_taken_or_refused_in_words(client, table, monkeypatch):
    filters, caller = NAMED[table].filters.base_filters, client(Role.MANAGER)
    monkeypatch.setattr(asking, "MOST_OPEN", 100)
    for name in filters:
        assert export(caller, table, filters={name: "x"}).status_code in (201, 400)
    working.work_off()
    assert not FileJob.objects.exclude(status__in=["succeeded", "waiting"]).exists()
    unknown = export(caller, table, filters={"nonsense": "x"}).json()
    assert unknown["errors"][0]["pointer"] == "/filters/nonsense"
    assert all(name in unknown["detail"] for name in filters)


def test_filters_choose_the_rows_as_in_the_list(client, organization):
    Device.objects.create(sn="OTHER1", organization=organization, model_key="3-1-0")
    Device.objects.create(sn="GONE1", organization=organization, retired_at=timezone.now())
    caller = client(Role.VIEWER)
    assert {row["Serial number"] for row in rows_of(caller, ended(caller, export(caller)))} == {"HARBOURDOCK", "OTHER1"}
    job = ended(caller, export(caller, filters={"model_key": "3-1-0"}))
    assert [row["Serial number"] for row in rows_of(caller, job)] == ["OTHER1"]
    job = ended(caller, export(caller, filters={"retired": True}))
    assert [row["Serial number"] for row in rows_of(caller, job)] == ["GONE1"]
    job = ended(caller, export(caller, "service-calls", filters={"status": ["failed", "expired"]}))
    assert job["total"] == 1


def test_an_export_of_staff_may_name_one_organization(client, organization):
    staff = session_of(get_user_model().objects.create_superuser("root", "root@example.org", "right password"))
    job = ended(staff, export(staff, organization="12345678"))
    assert [row["Serial number"] for row in rows_of(staff, job)] == ["HARBOURDOCK"]
    assert ended(staff, export(staff))["total"] == 3
    assert client(Role.MANAGER).get(JOBS).json()["results"][0]["table"] == "devices"
    assert len(client(Role.MANAGER).get(JOBS).json()["results"]) == 1  # the world's; nothing of staff


def test_the_file_is_audited_when_it_is_made_and_when_it_is_fetched(client, organization):
    caller = client(Role.VIEWER)
    job = ended(caller, export(caller, filters={"kind": "dock"}))
    file_of(caller, job)
    made, fetched = AuditEvent.objects.filter(action__in=["export", "download"]).order_by("pk")
    assert str(made.request_id) == job["request_id"]
    assert (made.organization, made.through, made.api_key.name) == (organization, "api", job["requested_with"])
    assert made.after == {"format": "csv", "filter": "kind=dock", "rows": 1}
    assert (fetched.organization, fetched.object_id) == (organization, job["id"])


def test_who_has_a_lower_role_than_the_requester_neither_sees_the_job_nor_its_file(client):
    manager, viewer = client(Role.MANAGER), client(Role.VIEWER)
    job = ended(manager, export(manager))
    assert viewer.get(f"{JOBS}{job['id']}/").status_code == 404
    assert viewer.get(f"{JOBS}{job['id']}/file/").status_code == 404
    job = ended(viewer, export(viewer))
    assert manager.get(f"{JOBS}{job['id']}/file/").status_code == 200


def test_a_file_of_several_organizations_is_for_its_requester_as_long_as_they_are_a_member(
    client, organization, other_organization
):
    mia = member("mia", organization, Role.MANAGER)
    Membership.objects.create(user=mia, organization=other_organization, role=Role.VIEWER)
    caller = session_of(mia)
    job = ended(caller, export(caller))
    assert (job["organization"], job["total"]) == (None, 2)
    assert client(Role.MANAGER).get(f"{JOBS}{job['id']}/").status_code == 404
    assert session_of(mia).get(f"{JOBS}{job['id']}/file/").status_code == 200
    Membership.objects.filter(user=mia, organization=other_organization).delete()
    assert session_of(mia).get(f"{JOBS}{job['id']}/file/").status_code == 403


def test_a_file_of_several_organizations_needs_the_role_that_its_list_needs(organization, other_organization):
    """Else somebody who is a manager no more would still have for a week what managers see."""
    mia = member("mia", organization, Role.MANAGER)
    elsewhere = Membership.objects.create(user=mia, organization=other_organization, role=Role.VIEWER)
    caller = session_of(mia)
    assert ended(caller, export(caller, "audit-events"))["organization"] == "12345678"  # the other shows her none
    elsewhere.role = Role.MANAGER
    elsewhere.save()
    caller = session_of(mia)
    job = ended(caller, export(caller, "audit-events"))
    assert (job["organization"], job["status"]) == (None, "succeeded")
    assert session_of(mia).get(f"{JOBS}{job['id']}/file/").status_code == 200
    elsewhere.role = Role.VIEWER
    elsewhere.save()
    assert session_of(mia).get(f"{JOBS}{job['id']}/file/").status_code == 403


def test_one_person_of_several_organizations_does_not_fill_the_room_of_others(
    staff, organization, other_organization, settings
):
    mia = member("mia", organization, Role.MANAGER)
    Membership.objects.create(user=mia, organization=other_organization, role=Role.VIEWER)
    caller = session_of(mia)
    ended(caller, export(caller))
    FileJob.objects.filter(requested_by=mia).update(stored=1000)
    settings.FILES_CAP = 1000
    assert export(session_of(mia)).json()["type"].endswith(":conflict")
    assert export(session_of(staff)).status_code == 201


def test_one_organization_of_several_shows_nothing_of_the_others(organization, other_organization):
    """Not even the serial number of a dock that carries an aircraft."""
    mia = member("mia", organization, Role.MANAGER)
    Membership.objects.create(user=mia, organization=other_organization, role=Role.VIEWER)
    Device.objects.filter(sn="HARBOURDOCK").update(gateway=Device.objects.get(sn="NORTHERNDOCK"))
    caller = session_of(mia)
    job = ended(caller, export(caller, organization="12345678"))
    [row] = rows_of(caller, job)
    assert (row["Serial number"], row["In the dock"]) == ("HARBOURDOCK", "")


def test_what_became_of_rights_counts_when_the_worker_comes_to_it(client, organization):
    caller = client(Role.MANAGER)
    job = export(caller, "audit-events").json()
    FileJob.objects.get(pk=job["id"]).requested_with.delete()
    working.work_off()
    assert FileJob.objects.get(pk=job["id"]).errors[0]["code"] == "not_allowed"
    mia = member("mia", organization, Role.MANAGER)
    job = export(session_of(mia), "audit-events").json()
    Membership.objects.filter(user=mia).update(role=Role.VIEWER)
    working.work_off()
    assert FileJob.objects.get(pk=job["id"]).errors[0]["code"] == "not_allowed"


def test_a_repeated_request_starts_one_job(client):
    caller = client(Role.VIEWER)
    first, second = (
        caller.post(JOBS, {"kind": "export", "table": "devices"}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert (first.json()["id"], second["Idempotency-Replayed"]) == (second.json()["id"], "true")


def test_what_cannot_be_started_is_refused(client, settings, monkeypatch):
    caller = client(Role.VIEWER)
    assert export(caller, "nonsense").status_code == 400
    assert export(caller, format="pdf").status_code == 400
    no_text = '{"kind": "export", "table": "devices", "filters": {"organization": "\\ud800"}}'
    assert caller.generic("POST", JOBS, no_text, content_type="application/json").status_code == 400
    assert export(caller, organization="87654321").status_code == 404
    monkeypatch.setattr(asking, "MOST_OPEN", 1)
    assert export(caller).status_code == 201
    assert export(caller).json()["type"].endswith(":busy")
    settings.FILES_CAP = 1
    FileJob.objects.filter(requested_with__isnull=False).update(stored=1, status="succeeded")
    assert export(caller).json()["type"].endswith(":conflict")
    settings.COMMANDS_AVAILABLE = False
    assert export(caller).status_code == 503


def test_a_file_is_there_once_the_job_has_succeeded(client):
    caller = client(Role.VIEWER)
    job = export(caller).json()
    assert caller.get(f"{JOBS}{job['id']}/file/").json()["type"].endswith(":closed")
    assert caller.post(f"{JOBS}{job['id']}/cancel/").json()["status"] == "canceled"
    assert caller.post(f"{JOBS}{job['id']}/cancel/").status_code == 409
    working.work_off()
    assert not FilePiece.objects.exists()


# --- imports -----------------------------------------------------------------------------------------


def test_each_table_is_named_in_the_language_of_the_reader(organization):
    for table in {*NAMED, *(resource.name for resource in IMPORTS.values())}:
        job = FileJob(kind="export", table=table, organization=organization)
        assert model_of(table) in (*TABLES, *IMPORTS)
        row = audit.event(Actor(AuditEvent.Through.ADMIN), "download", job, organization_id=organization.pk)
        with translation.override("zh-hans"):
            for said in (str(job), wording.title(job), audit_words.done("download", row.object_type, row.object_name)):
                assert not re.search("[a-z]", said.replace("MQTT", "").replace("API", "")), said


def test_every_import_is_tried_here():
    assert set(ROWS) == {resource.name for resource in IMPORTS.values()}


@each_import
@each_role
def test_a_role_imports_what_it_may_add(client, table, role):
    [resource] = [resource for resource in IMPORTS.values() if resource.name == table]
    caller = client(role)
    answer = upload(caller, table, dry_run="false")
    if not role.includes(resource.role):
        assert answer.status_code == 403
        return
    job = ended(caller, answer)
    assert (job["status"], job["errors"]) == ("succeeded", [])
    assert job["done"] == job["total"] == ROWS[table].count("\n") - 1
    assert {str(event.request_id) for event in AuditEvent.objects.filter(through="api", api_key__isnull=False)} >= {
        job["request_id"]
    }


@each_import
def test_the_manager_of_another_organization_changes_nothing(other_organization, table):
    before = [model.objects.count() for model in (Device, BindingCode, Invitation)]
    caller = client_of(make_key(other_organization, Role.MANAGER))
    text = ROWS[table].splitlines()
    named = "\n".join([f"{text[0]},organization_id", *(f"{line},12345678" for line in text[1:])])
    job = ended(caller, upload(caller, table, named, dry_run="false"))
    assert (job["status"], bool(job["errors"])) == ("failed", True)
    assert "HARBOUR" not in str(job).replace("HARBOURDOCK", "")
    assert [model.objects.count() for model in (Device, BindingCode, Invitation)] == before
    assert Device.objects.get(sn="HARBOURDOCK").callsign == "HARBOUR dock"


def test_a_dry_run_says_what_would_change_and_is_the_default(client):
    caller = client(Role.OPERATOR)
    job = ended(caller, upload(caller))
    assert (job["status"], job["dry_run"], job["outcome"]["changed"]) == ("succeeded", True, 1)
    assert job["outcome"]["changes"][0]["values"] == [["Callsign", "HARBOUR dock", "Pier 9"]]
    assert Device.objects.get(sn="HARBOURDOCK").callsign == "HARBOUR dock"


def test_errors_name_their_rows_and_keep_all_rows_out(client):
    caller = client(Role.OPERATOR)
    job = ended(caller, upload(caller, text="sn,callsign\nHARBOURDOCK,Pier 9\nNORTHERNDOCK,Mine\n", dry_run="false"))
    assert (job["status"], [error["row"] for error in job["errors"]]) == ("failed", ["3"])
    assert Device.objects.get(sn="HARBOURDOCK").callsign == "HARBOUR dock"


def test_codes_are_in_the_file_once_and_for_the_requester_alone(client, organization):
    caller, other = client(Role.MANAGER), client(Role.MANAGER)
    job = ended(caller, upload(caller, "binding-codes", dry_run="false"))
    stored = FileJob.objects.defer(None).get(pk=job["id"])
    assert other.get(f"{JOBS}{job['id']}/file/").status_code == 403
    assert caller.head(f"{JOBS}{job['id']}/file/").status_code == 405  # it would take them along unseen
    rows = rows_of(caller, job)
    codes = BindingCode.objects.filter(label__in=["North pier", "South pier"]).order_by("label")
    assert [row["secret"][-4:] for row in rows] == [code.hint for code in codes]
    assert rows[0]["secret"].encode() not in bytes(stored.result)
    assert caller.get(f"{JOBS}{job['id']}/file/").status_code == 409


def test_a_link_does_not_take_what_is_shown_once(organization):
    mia = member("mia", organization, Role.MANAGER)
    job = ended(session_of(mia), upload(session_of(mia), "binding-codes", dry_run="false"))
    browser, page = Client(), f"/admin/organizations/filejob/{job['id']}/"
    browser.force_login(mia)
    assert browser.get(f"{page}file/")["Location"] == f"{page}change/"
    assert f'<form method="post" action="{page}file/"' in browser.get(f"{page}change/").content.decode()
    assert b"North pier" in browser.post(f"{page}file/").content
    assert browser.post(f"{page}file/")["Location"] == f"{page}change/"  # it is gone


@pytest.mark.parametrize(("text", "words"), [("", "empty"), ("name\nx\n", None), ("sn\n=1\n", "formula")])
def test_a_file_that_cannot_be_read_is_refused(client, text, words):
    answer = upload(client(Role.OPERATOR), text=text)
    assert answer.status_code == (400 if words else 201)
    assert (words or "") in answer.content.decode()
