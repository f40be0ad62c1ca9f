"""Every list of the admin as a file: who gets it, what is in it, and what never is."""

import csv
import io
import re
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from cloudapi import urls  # noqa: F401  (registers the pages)
from cloudapi.admin import tables_pages
from cloudapi.file_jobs import working
from cloudapi.tables import writing
from cloudapi.tables.registry import TABLES
from cloudapi.tables.table import plain
from devices.models import Device, DeviceLabel, DockConnection, Label, ServiceCall
from devices.templatetags.moments import ago
from licenses.models import LicenseEvent, UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.models import AuditEvent, BindingCode, FileJob, Membership, Organization, Role
from organizations.tenancy import organization_of
from tests.cast import member
from tests.organizations.language.test_marking import WORD
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

pytestmark = pytest.mark.usefixtures("world")
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
each_model = pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
ROLES = (Role.VIEWER, Role.OPERATOR, Role.MANAGER)
NAMES = re.compile(r"\b(API|DJI|DOCK|HTTP|ID|IP|MD5|MQTT|SN|UTC|URL|bid|tid)\b|sha256")  # the same in each language
FOREIGN = ("Northern", "NORTHERN", "87654321", "charlie", "northern-guest")


@pytest.fixture(scope="module")
def as_role(created, django_db_blocker):
    browsers = {role: Client() for role in (*ROLES, "staff")}
    with django_db_blocker.unblock():
        harbour = Organization.objects.get(organization_id="12345678")
        for role in ROLES:
            browsers[role].force_login(member(f"the-{role}", harbour, role))
        people = get_user_model().objects
        browsers["staff"].force_login(people.create_superuser("root", "root@example.org", "right password"))
    return browsers.get


def address(model, page):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}")


def rows_of(answer):
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


def sheet_of(answer):
    return load_workbook(io.BytesIO(answer.getvalue())).active


@each_model
def test_every_list_of_the_admin_is_exported(as_role, model):
    """Also that of a model that is registered tomorrow."""
    there = model._default_manager.count()
    rows = rows_of(as_role("staff").get(address(model, "export")))
    assert len(rows) == there or model in (Device, DockConnection)
    sheet = sheet_of(as_role("staff").get(address(model, "export"), {"format": "xlsx"}))
    assert [cell.value for cell in sheet[1]] == list(rows[0]) if rows else sheet.max_row == 1


def test_heads_are_in_the_readers_language(as_role):
    english = {}
    for model in (model for model in REGISTERED if model._meta.app_label != "axes"):  # a library's
        answer = as_role("staff").get(address(model, "export"), headers={"Accept-Language": "zh-CN"})
        heads = next(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
        if found := [head for head in heads if WORD.search(NAMES.sub("", head))]:
            english[model._meta.label] = found
    assert english == {}


@each_model
@pytest.mark.parametrize("role", ROLES)
def test_a_member_exports_the_list_if_it_is_shown_and_nothing_of_others(as_role, model, role):
    request = RequestFactory().get("/")
    request.user = get_user_model().objects.get(username=f"the-{role}")
    is_shown = admin.site._registry[model].has_view_permission(request)
    answer = as_role(role).get(address(model, "export"))
    assert answer.status_code == (200 if is_shown else 403)
    text = b"".join(answer).decode()
    assert not [name for name in FOREIGN if name in text]
    if is_shown:
        assert len(text.splitlines()) > 1


def test_only_reading_and_the_buttons_export(as_role):
    assert as_role("staff").put(address(Device, "export")).status_code == 405
    assert rows_of(as_role("staff").post(address(Device, "export"))) == rows_of(
        as_role("staff").get(address(Device, "export"))
    )


@pytest.mark.usefixtures("as_role")
def test_a_foreign_address_starts_no_job(monkeypatch, settings):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setitem(writing.AT_ONCE, FileJob.Format.CSV, 1)
    client = Client(enforce_csrf_checks=True)
    root = get_user_model().objects.get(username="root")
    client.force_login(root)
    answer = client.get(address(Device, "export"), {"q": "DOCK"}, follow=True)
    assert answer.redirect_chain == [(f"{address(Device, 'changelist')}?q=DOCK", 302)]
    assert "start it with “Export CSV”" in answer.content.decode()
    assert client.post(f"{address(Device, 'export')}?q=DOCK").status_code == 403
    assert not FileJob.objects.filter(requested_by=root).exists()
    token = client.cookies["csrftoken"].value
    client.post(f"{address(Device, 'export')}?q=DOCK", {"csrfmiddlewaretoken": token})
    assert FileJob.objects.get(requested_by=root).query == "q=DOCK"


def test_a_visitor_is_sent_to_sign_in(client):
    assert client.get(address(Device, "export")).status_code == 302


def test_the_filter_and_the_search_choose_the_rows(as_role):
    Device.objects.create(sn="OTHER1", organization=Organization.objects.get(organization_id="12345678"))
    found = rows_of(as_role("staff").get(address(Device, "export"), {"q": "OTHER1", "p": "7", "all": ""}))
    assert [row["Serial number"] for row in found] == ["OTHER1"]


@pytest.mark.parametrize("query", [{"format": "pdf"}, {"nonsense": "1"}])
def test_an_unknown_format_or_filter_is_a_bad_request(as_role, query):
    assert as_role("staff").get(address(Device, "export"), query).status_code == 400


def test_times_are_utc_and_their_heads_say_so(as_role):
    row = rows_of(as_role(Role.VIEWER).get(address(Exchange, "export")))[0]
    assert datetime.fromisoformat(row["Received (UTC)"] + "+00:00") <= timezone.now()
    sheet = sheet_of(as_role(Role.VIEWER).get(address(Exchange, "export"), {"format": "xlsx"}))
    assert isinstance(sheet["A2"].value, datetime)


def test_a_time_of_a_list_without_own_table_is_a_moment_too(as_role):
    row = rows_of(as_role("staff").get("/admin/devices/brokeraccount/export/"))[0]
    assert {"Issued (UTC)", "Last connected (UTC)"} <= set(row)
    moment = datetime(2025, 1, 31, 12, 30, tzinfo=UTC)
    assert plain(ago(moment)) == "2025-01-31T12:30:00+00:00"
    assert plain(ago(None)) == ""


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_no_cell_of_any_list_is_a_formula(as_role, kind):
    Device.objects.filter(sn="HARBOURDOCK").update(callsign='=HYPERLINK("http://x.example")')
    answer = as_role(Role.VIEWER).get(address(Device, "export"), {"format": kind})
    if kind == "csv":
        assert rows_of(answer)[0]["Callsign"].startswith("'=")
    else:
        cell = sheet_of(answer)["B2"]
        assert (cell.data_type, cell.value) == ("s", '=HYPERLINK("http://x.example")')


def test_characters_that_xlsx_cannot_hold_do_not_stop_it(as_role):
    Device.objects.filter(sn="HARBOURDOCK").update(callsign="Pier\x0b7")
    assert sheet_of(as_role(Role.VIEWER).get(address(Device, "export"), {"format": "xlsx"}))["B2"].value == "Pier7"


def test_the_name_that_a_new_owner_gave_a_dock_is_not_in_its_old_commands(as_role, other_organization):
    dock = Device.objects.get(sn="HARBOURDOCK")
    Device.objects.filter(pk=dock.pk).update(organization=other_organization, callsign="Secret base")
    row = rows_of(as_role(Role.VIEWER).get(address(ServiceCall, "export")))[0]
    assert (row["Dock"], row["Callsign"]) == ("HARBOURDOCK", "")


def test_a_dock_of_another_owner_and_its_labels_are_not_named(as_role, other_organization):
    aircraft = Device.objects.get(sn="HARBOURDOCK")
    Device.objects.filter(pk=aircraft.pk).update(gateway=Device.objects.get(sn="NORTHERNDOCK"))
    DeviceLabel.objects.create(device=aircraft, label=Label.objects.get(organization=other_organization))
    row = rows_of(as_role(Role.VIEWER).get(address(Device, "export")))[0]
    assert (row["In the dock"], row["Labels"]) == ("", "HARBOUR label")
    row = rows_of(as_role("staff").get(address(Device, "export"), {"q": "HARBOURDOCK"}))[0]
    assert row["In the dock"] == "NORTHERNDOCK"


def test_a_binding_code_is_exported_without_what_it_opens(as_role):
    text = as_role(Role.VIEWER).get(address(BindingCode, "export")).getvalue().decode()
    assert BindingCode.objects.filter(label="HARBOUR code").get().digest not in text


def test_when_members_last_signed_in_is_for_staff(as_role):
    assert "Last sign-in (UTC)" not in rows_of(as_role(Role.MANAGER).get(address(Membership, "export")))[0]
    assert "Last sign-in (UTC)" in rows_of(as_role("staff").get(address(Membership, "export")))[0]


def test_an_export_is_audited_in_the_organization_of_the_member(as_role, organization):
    as_role(Role.VIEWER).get(address(Device, "export"), {"q": "HARBOUR"}).getvalue()
    event = AuditEvent.objects.filter(action="export").get()
    assert (event.organization, event.object_type, event.object_id) == (organization, "devices.Device", "")
    assert event.after == {"format": "csv", "filter": "q=HARBOUR", "rows": 1}


def test_an_export_of_staff_is_no_organizations_affair(as_role):
    as_role("staff").get(address(Device, "export")).getvalue()
    assert organization_of(AuditEvent.objects.filter(action="export").get()) is None


def test_a_long_list_is_left_to_a_worker_and_its_page_has_the_file(as_role, monkeypatch, settings):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setitem(writing.AT_ONCE, FileJob.Format.CSV, 1)
    answer = as_role("staff").post(f"{address(Device, 'export')}?q=DOCK&p=1", follow=True)
    [(page, _)] = answer.redirect_chain
    job = answer.context["job"]
    assert (job.status, job.query, page) == ("queued", "q=DOCK", f"/admin/organizations/filejob/{job.pk}/change/")
    working.work_off()
    text = as_role("staff").get(page).content.decode()
    assert "2 of 2 rows" in text
    assert f'href="/admin/organizations/filejob/{job.pk}/file/"' in text
    rows = rows_of(as_role("staff").get(f"/admin/organizations/filejob/{job.pk}/file/"))
    assert [row["Serial number"] for row in rows] == ["HARBOURDOCK", "NORTHERNDOCK"]


def test_a_short_list_is_left_to_a_worker_while_files_of_slow_readers_fill_the_disk(as_role, monkeypatch, settings):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setattr(tables_pages, "ROOM", 2**63)
    answer = as_role("staff").post(address(Device, "export"), follow=True)
    assert answer.context["job"].status == "queued"


def test_a_long_list_that_no_worker_would_make_is_refused_in_words(as_role, monkeypatch, settings):
    settings.COMMANDS_AVAILABLE = False
    monkeypatch.setitem(writing.AT_ONCE, FileJob.Format.CSV, 1)
    answer = as_role("staff").post(f"{address(Device, 'export')}?q=DOCK", follow=True)
    assert answer.redirect_chain == [(f"{address(Device, 'changelist')}?q=DOCK", 302)]
    assert "No worker makes files here" in answer.content.decode()


@pytest.mark.parametrize("model", [DockConnection, LicenseEvent, UnlockLicense, get_user_model()])
def test_every_list_offers_its_files_with_its_filter(as_role, model):
    """All lists have the template of one of these."""
    text = as_role("staff").get(address(model, "changelist")).content.decode()
    assert f'<form method="post" action="{address(model, "export")}?' in text


@pytest.mark.parametrize("model", sorted(TABLES, key=lambda model: model._meta.label), ids=lambda m: m._meta.label)
def test_a_tables_rows_cost_no_query_each(as_role, model, django_assert_max_num_queries):
    with django_assert_max_num_queries(35):
        as_role("staff").get(address(model, "export")).getvalue()
    page = admin.site._registry[model]
    assert TABLES[model].model is page.model


@pytest.mark.parametrize("write", [writing.write_csv, writing.write_xlsx])
def test_rows_do_not_gather_in_memory(write, tmp_path):
    start = datetime(2025, 1, 1, tzinfo=UTC)
    rows = ([number, f"DOCK{number}", start + timedelta(seconds=number)] for number in range(3_000))
    with (tmp_path / "file").open("wb") as file:
        tracemalloc.start()
        write(["Number", "SN", "At (UTC)"], rows, file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000
