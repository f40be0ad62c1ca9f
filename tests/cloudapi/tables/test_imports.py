"""A file is tried out first, then carried out once, all of it or nothing, by the steps that forms take."""

import base64
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone
from django.utils.html import escape
from django.utils.translation import override
from openpyxl import Workbook
from tablib import Dataset

from cloudapi.admin.import_pages import ImportPages
from cloudapi.file_jobs import asking, working
from cloudapi.tables import reading
from cloudapi.tables.imports import IMPORTS
from devices.models import Device
from organizations import codes
from organizations.models import AuditEvent, BindingCode, FileJob, Invitation, Membership, Role
from tests.cast import member

DEVICES = "/admin/devices/device/import/"
CODES = "/admin/organizations/bindingcode/import/"
INVITATIONS = "/admin/organizations/invitation/import/"


@pytest.fixture
def upload(client):
    """upload(user, address, text or bytes) is the page that follows."""

    def upload(user, address, content, name="rows.csv"):
        client.force_login(user)
        data = content if isinstance(content, bytes) else content.encode()
        return client.post(address, {"file": SimpleUploadedFile(name, data)}, follow=True)

    return upload


@pytest.fixture
def confirm(client):
    return lambda page: client.post(page.redirect_chain[-1][0], follow=True)


def sheet(*rows):
    book = Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def trail():
    return list(AuditEvent.objects.order_by("pk").values_list("action", "object_name"))


# --- devices ---------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_will_change_and_writes_nothing(upload, staff, dock, organization):
    page = upload(staff, DEVICES, "sn,callsign,organization_id\nNEW1,Quay 1,12345678\nDOCK0001,Pier 8,\n")
    text = page.content.decode()
    assert "1 new, 1 changed, 0 unchanged, 0 problems" in text
    assert "<del>Pier 7</del> → Pier 8" in text
    assert (Device.objects.count(), Device.objects.get().callsign, trail()) == (1, "Pier 7", [])


def test_confirming_saves_all_rows_with_one_request_id(upload, confirm, staff, dock, organization):
    confirm(upload(staff, DEVICES, "sn,callsign,organization_id\nNEW1,Quay 1,12345678\nDOCK0001,Pier 8,\nNEW2,,\n"))
    new = Device.objects.get(sn="NEW1")
    assert (new.callsign, new.organization, new.claim) == ("Quay 1", organization, Device.Claim.PERSON)
    assert new.bound_at is not None
    assert Device.objects.get(sn="NEW2").organization is None
    assert Device.objects.get(sn="DOCK0001").callsign == "Pier 8"
    job = FileJob.objects.get()
    assert (job.status, job.done, job.total, job.source) == ("succeeded", 3, 3, None)
    events = AuditEvent.objects.all()
    assert sorted(event.action for event in events) == ["add", "add", "change"]
    assert {event.request_id for event in events} == {job.request_id}
    assert {event.user for event in events} == {staff}


def test_a_long_file_is_left_to_a_worker_and_confirmed_on_its_page(
    client, upload, staff, alice, dock, monkeypatch, settings
):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setattr(reading, "MOST_ROWS", 1)
    page = upload(staff, DEVICES, "sn,callsign\nDOCK0001,Pier 8\nNEW1,Quay 1\n").redirect_chain[-1][0]
    working.work_off()
    text = client.get(page).content.decode()
    assert "1 new, 1 changed, 0 unchanged, 0 problems" in text
    assert "<del>Pier 7</del> → Pier 8" in text
    assert f'href="{DEVICES}"' not in text
    confirm = page.replace("/change/", "/confirm/")
    client.force_login(alice)
    assert client.post(confirm).status_code == 404
    client.force_login(staff)
    for _ in range(2):
        assert client.post(confirm).status_code == 302
        working.work_off()
    text = client.get(page).content.decode()
    assert "2 of 2 rows" in text
    assert f'href="{DEVICES}"' in text
    assert sorted(event.action for event in AuditEvent.objects.all()) == ["add", "change"]


def test_a_long_file_with_a_problem_leads_to_the_next_upload(client, upload, staff, monkeypatch, settings):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setattr(reading, "MOST_ROWS", 1)
    page = upload(staff, DEVICES, "sn\nNEW1\nno serial number\n").redirect_chain[-1][0]
    working.work_off()
    text = client.get(page).content.decode()
    assert "1 new, 0 changed, 0 unchanged, 1 problems" in text
    assert "of 2 rows" not in text  # not all of them failed
    assert f'href="{DEVICES}"' in text


def test_a_second_confirmation_does_nothing(upload, confirm, staff, organization):
    page = upload(staff, DEVICES, "sn\nNEW1\n")
    confirm(page)
    Device.objects.all().delete()
    assert "1 of 1 rows" in confirm(page).content.decode()
    assert not Device.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_at_a_confirmation_leaves_the_file_to_be_confirmed(
    upload, confirm, staff, monkeypatch
):
    """What others see while its rows are saved is what stays if the process is killed."""
    seen = []

    def look():
        seen.append(FileJob.objects.get().status)
        connection.close()

    def run(pages, request, job, *, dry):
        if not dry:
            with ThreadPoolExecutor(1) as threads:
                threads.submit(look).result(timeout=30)
        return done(pages, request, job, dry=dry)

    done = ImportPages._run
    monkeypatch.setattr(ImportPages, "_run", run)
    assert "1 of 1 rows" in confirm(upload(staff, DEVICES, "sn\nNEW1\n")).content.decode()
    assert seen == ["waiting"]


def test_what_is_uploaded_and_never_confirmed_does_not_pile_up(upload, staff, monkeypatch, settings):
    monkeypatch.setattr(asking, "MOST_OPEN", 2)
    pages = [upload(staff, DEVICES, f"sn\nNEW{number}\n") for number in range(4)]
    assert "1 new" in pages[3].content.decode()
    jobs = FileJob.objects.defer(None).order_by("created")
    assert [(job.status, bool(job.source), job.stored) for job in jobs] == [
        *[("canceled", False, 0)] * 2,
        *[("waiting", True, 8)] * 2,
    ]
    settings.FILES_CAP = 15
    assert "take up all the room" in upload(staff, DEVICES, "sn\nNEW123\n").content.decode()


def test_one_wrong_row_keeps_all_others_out(upload, confirm, staff, organization):
    page = upload(
        staff, DEVICES, "sn,model_key,organization_id\nNEW1,3-2-0,12345678\n-x,3-2-0,\nNEW3,dock,\nNEW4,,99\n"
    )
    text = page.content.decode()
    assert "<td>3</td><td>Serial number: 1 to 64 letters" in text
    assert "<td>4</td><td>Model key: Domain, type and sub-type" in text
    assert "<td>5</td><td>You have no organization with the ID 99." in text
    assert "Carry it out" not in text
    confirm(page)
    assert not Device.objects.exists()
    assert FileJob.objects.get().status == "waiting"


def test_what_has_changed_since_the_dry_run_is_found_at_the_confirmation(upload, confirm, staff, organization):
    page = upload(staff, DEVICES, "sn,organization_id\nNEW1,12345678\nNEW2,12345678\n")
    organization.device_limit = 1
    organization.save()
    assert "has reached its limit of devices" in confirm(page).content.decode()
    assert not Device.objects.exists()


def test_a_serial_number_twice_or_in_other_letters_is_a_mistake(upload, staff, dock):
    text = upload(staff, DEVICES, "sn\ndock0001\nNEW1\nNEW1\n").content.decode()
    assert "Did you mean DOCK0001?" in text
    assert "NEW1 is in row 3 already." in text


def test_a_device_does_not_change_owner_or_product_by_a_file(upload, staff, dock, other_organization):
    rows = "sn,organization_id,model_key\nDOCK0001,87654321,3-2-0\n"
    assert "assign or transfer it on its page" in upload(staff, DEVICES, rows).content.decode()
    rows = "sn,model_key\nDOCK0001,3-1-0\n"
    assert "The device itself reports" in upload(staff, DEVICES, rows).content.decode()


def test_an_operator_renames_the_devices_of_the_organization(upload, confirm, dock, organization):
    operator = member("olga", organization, Role.OPERATOR)
    confirm(upload(operator, DEVICES, "Serial number;Callsign;Presence\nDOCK0001;Pier 9;online\n"))
    dock.refresh_from_db()
    assert dock.callsign == "Pier 9"
    assert AuditEvent.objects.get().organization == organization


def test_a_member_learns_nothing_of_other_devices(upload, alice, other_organization):
    Device.objects.create(sn="FOREIGN1", organization=other_organization, callsign="Secret base")
    page = upload(alice, DEVICES, "sn,callsign\nFOREIGN1,Mine\nUNHEARD1,Mine\n")
    text = page.content.decode()
    assert "FOREIGN1 is not your device" in text
    assert "UNHEARD1 is not your device" in text
    assert "Secret base" not in text


def test_a_viewer_may_not_import(upload, bob):
    for address in (DEVICES, CODES, INVITATIONS):
        assert upload(bob, address, "sn\nNEW1\n").status_code == 403


def test_a_manager_of_one_organization_renames_nothing_where_only_viewing(upload, alice, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.VIEWER)
    Device.objects.create(sn="FOREIGN1", organization=other_organization)
    text = upload(alice, DEVICES, "sn,callsign\nFOREIGN1,Mine\n").content.decode()
    assert "Only an operator of its organization may rename a device." in text


def test_the_file_of_another_person_is_not_found(client, upload, confirm, staff, alice):
    page = upload(staff, DEVICES, "sn\nNEW1\n")
    client.force_login(alice)
    assert client.get(page.redirect_chain[-1][0]).status_code == 404
    assert client.post(page.redirect_chain[-1][0]).status_code == 404
    assert not Device.objects.exists()


def test_what_is_exported_can_be_imported(client, upload, staff, dock):
    client.force_login(staff)
    exported = client.get("/admin/devices/device/export/", {"format": "xlsx"}).getvalue()
    text = upload(staff, DEVICES, exported, "devices.xlsx").content.decode()
    assert "0 new, 0 changed, 1 unchanged, 0 problems" in text
    assert "Columns that are not read: Organization, Product" in text


def test_many_rows_take_few_queries_each(upload, staff, organization, django_assert_max_num_queries):
    rows = "".join(f"NEW{number},12345678\n" for number in range(20))
    with django_assert_max_num_queries(20 * 14 + 40):
        upload(staff, DEVICES, f"sn,organization_id\n{rows}")


@pytest.mark.parametrize("rows", IMPORTS.values(), ids=lambda rows: rows.name)
def test_heads_are_understood_in_each_language_whatever_the_readers_is(rows):
    texts = {}
    for language in ("en", "zh-hans"):
        with override(language):
            texts[language] = [str(text) for text in rows.labels().values()]
    assert texts["en"] != texts["zh-hans"]
    for reader, heads in product(texts, texts.values()):
        with override(reader):
            taken, ignored = rows(rights=None, actor=None).with_our_names(Dataset(["x"] * len(heads), headers=heads))
        assert (taken.headers, ignored) == (list(rows.labels()), [])


# --- codes and invitations ----------------------------------------------------------------------------


def test_codes_are_issued_and_shown_once(client, upload, confirm, alice, organization, other_organization):
    page = upload(alice, CODES, "Label,Most uses,Expires (UTC)\nNorth pier,2,2036-01-31 18:00\nSouth pier,,never\n")
    assert "2 new" in page.content.decode()
    assert not BindingCode.objects.exists()
    done = confirm(page)
    north, south = BindingCode.objects.order_by("label")
    assert (north.max_uses, f"{north.expires_at:%Y-%m-%d %H:%M}", south.expires_at) == (2, "2036-01-31 18:00", None)
    assert north.created_by == alice
    shown = [text for row, _, text in done.context["secrets"]]
    assert [text[-4:] for text in shown] == [north.hint, south.hint]
    assert all(text in done.content.decode() for text in shown)
    assert not any(text in client.get(page.redirect_chain[-1][0]).content.decode() for text in shown)
    assert {event.action for event in AuditEvent.objects.all()} == {"issue"}
    assert AuditEvent.objects.values("request_id").distinct().count() == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("A,0,", "A whole number from 1"),
        ("A,,2020-01-01", "It is over already"),
        ("A,,soon", "“soon” is not a time"),
        ("A,,2030-13-45", "is not a time"),
    ],
)
def test_a_code_that_no_form_would_take_is_a_problem(upload, alice, row, problem):
    assert problem in upload(alice, CODES, f"label,max_uses,expires_at\n{row}\n").content.decode()


def test_nobody_issues_codes_of_another_organization(upload, alice, other_organization):
    text = upload(alice, CODES, "label,organization_id\nMine,87654321\n").content.decode()
    assert "You have no organization with the ID 87654321." in text
    assert other_organization.name not in text


def test_staff_says_which_organization(upload, staff, organization, other_organization):
    assert "Say which organization." in upload(staff, CODES, "label\nMine\n").content.decode()


def test_nothing_is_imported_for_a_closed_organization(upload, staff, organization):
    type(organization).objects.update(closed_at=timezone.now(), is_active=False)
    text = upload(staff, CODES, "label,organization_id\nMine,12345678\n").content.decode()
    assert "You have no organization with the ID 12345678." in text


def test_people_are_invited_with_their_links(upload, confirm, alice, bob, organization):
    done = confirm(upload(alice, INVITATIONS, "User name,Role\nolga,operator\nvera,VIEWER\n"))
    assert list(Invitation.objects.order_by("username").values_list("username", "role")) == [
        ("olga", "operator"),
        ("vera", "viewer"),
    ]
    assert all("/welcome/" in text for _, _, text in done.context["secrets"])
    rows = "username,role\nbob,viewer\nolga,viewer\nx y,viewer\nnew,boss\nno,\n"
    text = upload(alice, INVITATIONS, rows).content.decode()
    problems = ("bob is a member", "olga is invited", "Enter a valid username", "“boss” is not one of", "Say which: ")
    for problem in problems:
        assert problem in text


# --- files that are wrong or meant to do harm ---------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", "empty"),
        ("序列号\nNEW1\n".encode("gbk"), "neither XLSX nor CSV in UTF-8"),
        ("sn\nNEW1\n".encode("utf-16"), "neither XLSX nor CSV in UTF-8"),
        (b"sn\nNE\0W\n", "NUL character"),
        (b'sn,callsign\nNEW1,"=HYPERLINK(""http://x.example"")"\n', "Row 2 has a formula"),
        (b"sn,callsign,sn\nNEW1,a,NEW2\n", "Two columns are “Serial number”"),
        (b"sn,Serial number\nNEW1,NEW2\n", "Two columns are “Serial number”"),
        (b"name\nNEW1\n", "no column “Serial number”"),
        (b"sn\n", "no rows below its heads"),
        (b"\n\n", "no heads"),
        (b"sn,,callsign\nNEW1,2,3\n", "Column 2 has no head"),
        (b"sn\nNEW1,extra\n", "Row 2 has more cells"),
        (b'sn\n"NEW1\n', "not CSV"),
        (b"sn\n" + b"A" * 600 + b"\n", "more than 500 characters"),
        (b"sn\n" + b"\n" * 10_001, "too many empty rows"),
        (b"sn\n" + b"".join(b"N%d\n" % n for n in range(20_001)), "more than 20000 rows"),
        (b"sn\n" + b"A\n" * 2**20, "larger than 2 MB"),
        (b"PK\x03\x04 and nonsense", "cannot be read as XLSX"),
        (sheet(["sn", "callsign"], ["NEW1", "=1+1"]), "Row 2 has a formula"),
    ],
)
def test_such_a_file_is_refused_in_words(upload, staff, content, refusal):
    page = upload(staff, DEVICES, content)
    assert refusal in page.content.decode()
    assert not Device.objects.exists()


def zipped(**parts):
    file = io.BytesIO(sheet(["sn"], ["NEW1"]))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def test_a_zip_bomb_is_not_unpacked(upload, staff):
    bomb = zipped(bomb=b"0" * (21 * 2**20))
    assert len(bomb) < 100_000
    assert "unpacks to too much" in upload(staff, DEVICES, bomb).content.decode()


def test_cells_far_to_the_right_do_not_make_rows_of_thousands(upload, staff):
    """50 s of processor time for 10 kB."""
    rows = "".join(f'<row r="{row}"><c r="ZZZ{row}"/></row>' for row in range(2, 1000))
    head = '<row r="1"><c r="A1" t="inlineStr"><is><t>sn</t></is></c></row>'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(io.BytesIO(sheet(["sn"]))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="{main}"><sheetData>{head}{rows}</sheetData></worksheet>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    assert len(file.getvalue()) < 20_000
    assert "unpacks to too much" in upload(staff, DEVICES, file.getvalue()).content.decode()


def test_entities_in_xml_are_refused(upload, staff):
    bomb = zipped(**{"xl/more.xml": '<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'})
    assert "not a plain spreadsheet" in upload(staff, DEVICES, bomb).content.decode()


def test_numbers_and_times_of_xlsx_are_read_as_they_are_shown(upload, staff, organization):
    page = upload(staff, DEVICES, sheet(["sn", "callsign", "organization_id"], [1001, "Quay", 12345678]))
    assert "1 new, 0 changed, 0 unchanged, 0 problems" in page.content.decode()


def test_a_name_that_an_export_guarded_is_read_without_its_guard(upload, confirm, staff, dock):
    confirm(upload(staff, DEVICES, "sn,callsign\nDOCK0001,'-7\n"))
    dock.refresh_from_db()
    assert dock.callsign == "-7"


def test_every_import_asks_for_a_role_and_names_its_columns():
    for resource in IMPORTS.values():
        columns = {field.column_name for field in resource.fields.values()}
        assert set(resource.needed) <= columns == set(resource.labels())
        assert Role(resource.role).includes(Role.OPERATOR)


@pytest.mark.parametrize("address", [DEVICES, CODES, INVITATIONS])
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_page_explains_each_column_and_its_example_and_empty_file_are_taken(
    client, upload, staff, organization, address, language
):
    client.force_login(staff)
    client.cookies["django_language"] = language
    page = client.get(address)
    columns, link = page.context["columns"], page.context["template"]
    heads = base64.b64decode(link.partition("base64,")[2]).decode("utf-8-sig").strip()
    assert heads == ",".join(label for label, *_ in columns)
    for label, name, is_needed, text, example in columns:
        needed = {"en": ["no", "yes"], "zh-hans": ["否", "是"]}[language][is_needed]
        row = f"<td>{label}</td><td><code>{name}</code></td><td>{needed}</td>"
        row += f'<td class="values">{escape(text)}</td><td><code>{example}</code></td>'
        assert row in page.content.decode()
        assert name != "role" or all(role in text for role in Role.values)
    outcome = upload(staff, address, f"{heads}\n{','.join(example for *_, example in columns)}\n").context["outcome"]
    assert (outcome.problems, outcome.new, outcome.ignored) == ([], 1, [])


FOREIGN = {  # a file that names what belongs to another organization
    Device: "sn,callsign\nFOREIGN1,Mine\n",
    BindingCode: "label,organization_id\nMine,87654321\n",
    Invitation: "username,role,organization_id\nolga,viewer,87654321\n",
}


def test_the_table_names_a_file_for_every_import():
    assert set(FOREIGN) == set(IMPORTS)


@pytest.mark.parametrize("model", FOREIGN, ids=lambda model: model.__name__)
def test_no_import_reaches_another_organization(client, upload, alice, other_organization, model):
    Device.objects.create(sn="FOREIGN1", organization=other_organization, callsign="Secret base")
    before = list(model._default_manager.values())
    page = upload(alice, f"/admin/{model._meta.app_label}/{model._meta.model_name}/import/", FOREIGN[model])
    text = page.content.decode() + client.post(page.redirect_chain[-1][0], follow=True).content.decode()
    assert "1 problem" in text
    assert "Secret base" not in text
    assert other_organization.name not in text
    assert list(model._default_manager.values()) == before


def test_a_code_lives_a_week_if_the_file_says_nothing(upload, confirm, alice):
    confirm(upload(alice, CODES, "label\nNorth pier\n"))
    row = BindingCode.objects.get()
    assert row.expires_at is not None
    assert codes.in_state(BindingCode.objects.all(), codes.State.USABLE).exists()


@pytest.mark.parametrize("address", [DEVICES, CODES, INVITATIONS])
def test_the_list_links_the_import_for_those_who_may(client, bob, alice, address):
    for user, is_offered in ((alice, True), (bob, False)):
        client.force_login(user)
        assert (f'href="{address}"' in client.get(address.replace("import/", "")).content.decode()) is is_offered
