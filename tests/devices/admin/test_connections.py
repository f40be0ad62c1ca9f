"""Who connects to the broker with what, in the admin: lists, a dock's page, sheets, and who may do what."""

import base64
import csv
import io
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.broker import accounts
from devices.models import BrokerAccount, Device
from devices.models.broker import SECRET_ALPHABET
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Role

pytestmark = pytest.mark.django_db
ACTOR = Actor(AuditEvent.Through.COMMAND)
LIST = "/admin/devices/dockconnection/"
CREDENTIALS = "/admin/devices/device/credentials/"
IMPORT = f"{LIST}import/"
SECRET = re.compile(rf"MQTT password: ([{SECRET_ALPHABET}]{{30}})|(?:<span>([{SECRET_ALPHABET}]{{5}})</span>){{6}}")


@pytest.fixture(autouse=True)
def _access_list(settings):
    settings.MQTT_AUTH_SECRET = "s" * 50
    settings.DOCK_MQTT_URL = "ssl://broker.example.com:8883"


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def secrets_in(response):
    """The secrets that a page shows, each on a sheet in every language."""
    text = response.content.decode()
    groups = re.findall(r'<code class="secret">((?:<span>\w{5}</span>)+)</code>', text)
    return list(dict.fromkeys(re.sub(r"</?span>", "", group) for group in groups))


def saved(response):
    """The file that the page's link holds."""
    address = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', response.content.decode())[1]
    return base64.b64decode(address).decode()


def act(user, deed, *devices, form_id="f1", **more):
    data = {"devices": ",".join(str(device.pk) for device in devices), "deed": deed, "form_id": form_id, **more}
    return signed_in(user).post(CREDENTIALS, data)


def usable():
    return sorted(BrokerAccount.objects.usable(timezone.now()).values_list("username", flat=True))


@pytest.fixture
def account(dock):
    return accounts.issue(device=dock, actor=ACTOR)[0]


# --- one dock ------------------------------------------------------------------------------------


def test_manager_is_asked_then_issues_and_sees_the_secret_once(alice, dock):
    asked = signed_in(alice).get(CREDENTIALS, {"devices": dock.pk, "deed": "issue"})
    assert "Pier 7 (DOCK0001)" in asked.content.decode()
    assert usable() == []
    shown = act(alice, "issue", dock)
    [secret] = secrets_in(shown)
    assert "no-store" in shown["Cache-Control"]
    assert f"DOCK0001,DOCK0001,{secret},Pier 7,Harbour Survey,ssl://broker.example.com:8883" in saved(shown)
    assert usable() == ["DOCK0001"]
    page = signed_in(alice).get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    assert "Its own account was issued and is not used yet" in page
    assert secret not in page


def test_reloaded_sheet_neither_issues_nor_rotates_again(alice, dock, account):
    client = signed_in(alice)
    data = {"devices": dock.pk, "deed": "rotate", "form_id": "one", "old_ends": "7"}
    assert secrets_in(client.post(CREDENTIALS, data))
    again = client.post(CREDENTIALS, data, follow=True)
    assert "cannot be shown again" in again.content.decode()
    assert BrokerAccount.objects.count() == 2


def test_old_secret_ends_when_the_form_said(alice, dock, account):
    act(alice, "rotate", dock, old_ends="1")
    account.refresh_from_db()
    assert timedelta(hours=23) < account.expires_at - timezone.now() <= timedelta(days=1)
    act(alice, "rotate", dock, old_ends="0", form_id="f2")
    assert len(usable()) == 1


def test_revoking_is_asked_and_done(alice, dock, account):
    asked = signed_in(alice).get(CREDENTIALS, {"devices": dock.pk, "deed": "revoke"}).content.decode()
    assert "disconnects these docks at once" in asked
    response = act(alice, "revoke", dock)
    assert (response.status_code, usable()) == (302, [])
    page = signed_in(alice).get(response["Location"]).content.decode()
    assert "It has no account, so the broker refuses it." in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "It has no account, so the broker refuses it."),
        ({"enrolled_at": timezone.now()}, "it can report nothing and take no commands"),
    ],
)
def test_docks_page_says_how_it_connects(alice, dock, change, words):
    Device.objects.filter(pk=dock.pk).update(**change)
    page = signed_in(alice).get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    assert words in page
    assert "Give it its own account" in page


def test_docks_page_says_when_it_connected_and_what_ends(alice, dock, account):
    accounts.note_connections([("DOCK0001", timezone.now(), "192.0.2.7")])
    accounts.rotate(account, actor=ACTOR, valid_for=timedelta(days=1))
    page = signed_in(alice).get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    for words in ("from 192.0.2.7", "The secret it uses ends", "DOCK0001.2", "not used yet"):
        assert words in page


def test_without_an_access_list_no_page_asks_for_accounts(alice, dock, settings):
    settings.MQTT_AUTH_SECRET = ""
    page = signed_in(alice).get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    assert "lets every device in, so it needs none" in page
    assert "broker refuses it" not in page


# --- many ----------------------------------------------------------------------------------------


def test_action_gives_many_docks_accounts_and_says_whom_it_skips(alice, dock, aircraft, organization):
    others = [Device.objects.create(sn=f"D{n}", organization=organization, claim="code") for n in range(3)]
    keys = [device.pk for device in (dock, aircraft, *others)]
    asked = signed_in(alice).post("/admin/devices/device/", {"action": "issue_credentials", "_selected_action": keys})
    assert "4 docks" in asked.content.decode()
    assert "an aircraft connects through its dock" in asked.content.decode()
    shown = act(alice, "issue", dock, aircraft, *others)
    assert len(set(secrets_in(shown))) == 4
    assert len(saved(shown).splitlines()) == 5
    assert "Skipped, an aircraft connects through its dock: Gull (DRONE0001)." in shown.content.decode()


def test_file_of_secrets_holds_no_formula(alice, dock):
    Device.objects.filter(pk=dock.pk).update(callsign="=cmd|x")
    assert ",'=cmd|x," in saved(act(alice, "issue", dock))


def test_typed_serial_numbers_get_accounts_and_new_docks_an_owner(staff, dock, organization):
    typed = "DOCK0001, NEW1\nNEW2;NEW2  bad/sn"
    shown = signed_in(staff).post(IMPORT, {"serial_numbers": typed, "organization": organization.pk, "form_id": "x"})
    assert len(secrets_in(shown)) == 3
    assert "Skipped, not a serial number: bad/sn." in shown.content.decode()
    assert Device.objects.get(sn="NEW1").organization == organization
    assert usable() == ["DOCK0001", "NEW1", "NEW2"]
    again = signed_in(staff).post(IMPORT, {"serial_numbers": "NEW1", "form_id": "y"})
    assert "has an account already" in again.content.decode()


def test_manager_types_in_docks_of_the_own_organization_alone(alice, dock, other_organization):
    Device.objects.create(sn="THEIRS", organization=other_organization, claim="code")
    typed = {"serial_numbers": "DOCK0001 THEIRS NEW1", "organization": other_organization.pk, "form_id": "x"}
    shown = signed_in(alice).post(IMPORT, typed).content.decode()
    assert usable() == ["DOCK0001"]
    assert "not your dock: only platform staff adds docks: THEIRS, NEW1" in shown
    assert not Device.objects.filter(sn="NEW1").exists()


def test_import_respects_the_limit_of_devices(staff, dock, organization):
    organization.device_limit = 2
    organization.save()
    shown = signed_in(staff).post(IMPORT, {"serial_numbers": "N1 N2", "organization": organization.pk, "form_id": "x"})
    assert usable() == ["N1"]
    assert "reached its limit of devices: N2" in shown.content.decode()


# --- the list ------------------------------------------------------------------------------------


def furnish(organization):
    """A dock of each kind."""
    now = timezone.now()
    made = {name: Device.objects.create(sn=name, model_key="3-2-0", organization=organization, claim="code")
            for name in ("OWN", "UNUSED", "ENROLMENT", "NONE", "EXPIRING", "REVOKED")}  # fmt: skip
    rows = {
        name: accounts.issue(device=made[name], actor=ACTOR)[0] for name in ("OWN", "UNUSED", "EXPIRING", "REVOKED")
    }
    BrokerAccount.objects.filter(username__in=["OWN", "EXPIRING", "REVOKED"]).update(last_connected_at=now)
    accounts.rotate(rows["EXPIRING"], actor=ACTOR, valid_for=timedelta(days=1))
    accounts.revoke([rows["REVOKED"]], actor=ACTOR)
    Device.objects.filter(sn="ENROLMENT").update(enrolled_at=now)
    return made


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("own", {"OWN", "EXPIRING"}),
        ("unused", {"UNUSED"}),
        ("enrolment", {"ENROLMENT"}),
        ("none", {"NONE", "REVOKED"}),
        ("expiring", {"EXPIRING"}),
        ("revoked", {"REVOKED"}),
    ],
)
def test_list_sorts_docks_by_how_they_connect(alice, organization, way, found):
    furnish(organization)
    response = signed_in(alice).get(LIST, {"way": way})
    assert {dock.sn for dock in response.context["cl"].result_list} == found
    counts = {value: count for value, _, _, count in response.context["tiles"]}
    assert counts[way] == len(found)
    lines = signed_in(alice).get(f"{LIST}export.csv", {"way": way}).getvalue().decode().splitlines()[1:]
    assert {line.partition(",")[0] for line in lines} == found


def test_tiles_count_the_chosen_organization_and_keep_it_chosen(staff, organization, other_organization):
    furnish(organization)
    Device.objects.create(sn="FOREIGN", model_key="3-2-0", organization=other_organization)
    chosen = {"organization__id__exact": str(other_organization.pk)}
    response = signed_in(staff).get(LIST, chosen)
    assert {value: count for value, _, _, count in response.context["tiles"] if count} == {"none": 1}
    link = f'href="?way=none&amp;organization__id__exact={other_organization.pk}"'
    assert link in response.content.decode()
    assert {dock.sn for dock in signed_in(staff).get(LIST, chosen | {"way": "none"}).context["cl"].result_list} == {
        "FOREIGN"
    }


@pytest.mark.parametrize(
    ("who", "query", "words"),
    [
        ("alice", {}, "Type in their serial numbers</a> and each gets an account"),
        ("bob", {}, "a manager issues the binding codes"),
        ("alice", {"q": "nothing"}, "No dock matches."),
        ("alice", {"way": "own"}, "No dock matches."),
    ],
)
def test_an_empty_list_says_what_to_do_next(request, who, query, words):
    assert words in signed_in(request.getfixturevalue(who)).get(LIST, query).content.decode()


def test_of_many_skipped_docks_the_first_are_named(alice, organization):
    for number in range(30):
        Device.objects.create(sn=f"MANY{number:02}", model_key="3-2-0", organization=organization)
    keys = list(Device.objects.values_list("pk", flat=True))
    data = {"action": "revoke_credentials", "_selected_action": keys}
    page = signed_in(alice).post(LIST, data, follow=True).content.decode()
    assert "Skipped 30 docks, has no account: MANY00, " in page
    assert "MANY09 and 20 more." in page


@pytest.mark.parametrize(("count", "is_folded"), [(20, False), (21, True)])
def test_the_button_for_many_docks_is_not_below_all_of_them(alice, organization, count, is_folded):
    for number in range(count):
        Device.objects.create(sn=f"MANY{number:02}", model_key="3-2-0", organization=organization)
    keys = list(Device.objects.values_list("pk", flat=True))
    data = {"action": "issue_credentials", "_selected_action": keys}
    page = signed_in(alice).post(LIST, data).content.decode()
    assert f"<h2>{count} docks</h2>" in page
    assert ("<summary>Show each dock</summary>" in page) is is_folded


def test_list_and_export_name_no_secret_and_no_digest(alice, organization):
    furnish(organization)
    for address in (LIST, f"{LIST}export.csv", "/admin/devices/brokeraccount/"):
        response = signed_in(alice).get(address)
        text = b"".join(response).decode()
        for row in BrokerAccount.objects.all():
            assert row.digest not in text
            assert row.salt not in text


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_of_the_export_is_a_formula(alice, dock, name):
    Device.objects.filter(pk=dock.pk).update(callsign=name)
    text = signed_in(alice).get(f"{LIST}export.csv").getvalue().decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["dock"], row["callsign"]) == (dock.sn, f"'{name}")


def test_export_with_a_filter_that_does_not_exist_is_a_bad_request(alice, dock):
    assert signed_in(alice).get(f"{LIST}export.csv", {"nonsense": "1"}).status_code == 400


def test_list_costs_a_constant_number_of_queries(alice, organization):
    client = signed_in(alice)

    def queries():
        with CaptureQueriesContext(connection) as found:
            assert client.get(LIST).status_code == 200
        return len(found)

    furnish(organization)
    few = queries()
    for number in range(30):
        device = Device.objects.create(sn=f"MORE{number}", model_key="3-2-0", organization=organization, claim="code")
        accounts.issue(device=device, actor=ACTOR)
    assert queries() == few


def test_row_opens_the_docks_page(alice, dock):
    response = signed_in(alice).get(f"{LIST}{dock.pk}/change/")
    assert response["Location"] == f"/admin/devices/device/{dock.pk}/change/#connection"


# --- enrolment accounts --------------------------------------------------------------------------


def enrolment_form(organization=None, **more):
    ends = timezone.now() + timedelta(days=2)
    return {
        "organization": organization.pk if organization else "", "label": "north pier", "form_id": "e1",
        "expires_at_0": f"{ends:%Y-%m-%d}", "expires_at_1": f"{ends:%H:%M:%S}", **more,
    }  # fmt: skip


def test_manager_issues_an_enrolment_account_for_the_own_organization_alone(alice, organization, other_organization):
    client = signed_in(alice)
    shown = client.post("/admin/devices/brokeraccount/add/", enrolment_form(organization))
    assert len(secrets_in(shown)) == 1
    assert usable() == ["enrol.12345678"]
    for owner in (None, other_organization):
        refused = client.post("/admin/devices/brokeraccount/add/", enrolment_form(owner, form_id="e2"))
        assert (refused.status_code, len(usable())) == (200, 1)


def test_platform_staff_issues_the_platforms_enrolment_account(staff):
    assert secrets_in(signed_in(staff).post("/admin/devices/brokeraccount/add/", enrolment_form()))
    assert usable() == ["enrolment"]


def test_enrolment_account_is_revoked_on_its_page(alice, organization):
    row, _ = accounts.issue(organization=organization, actor=ACTOR)
    assert signed_in(alice).post(f"/admin/devices/brokeraccount/{row.pk}/revoke/").status_code == 302
    assert usable() == []


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["issue", "rotate", "revoke"])
def test_viewers_and_strangers_change_nothing_and_see_no_button(
    deed, bob, charlie, dock, organization, django_user_model
):
    operator = django_user_model.objects.create_user("olga", is_staff=True)
    Membership.objects.create(user=operator, organization=organization, role=Role.OPERATOR)
    if deed != "issue":
        accounts.issue(device=dock, actor=ACTOR)
    before = usable()
    for user in (bob, operator):
        assert act(user, deed, dock).status_code == 403
        page = signed_in(user).get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
        assert "deed=" not in page
        assert signed_in(user).get(IMPORT).status_code == 403
    stranger = act(charlie, deed, dock)  # a manager, but elsewhere
    assert (stranger.status_code, stranger["Location"]) == (302, "/admin/devices/device/")
    assert usable() == before


def test_strangers_see_nothing_of_foreign_accounts(charlie, bob, dock, account):
    row, _ = accounts.issue(organization=dock.organization, actor=ACTOR)
    for address in (LIST, f"{LIST}export.csv", "/admin/devices/brokeraccount/"):
        text = b"".join(signed_in(charlie).get(address)).decode()
        assert "DOCK0001" not in text
        assert "enrol.12345678" not in text
    for pk in (row.pk, account.pk):
        assert signed_in(charlie).post(f"/admin/devices/brokeraccount/{pk}/revoke/").status_code == 404
        assert signed_in(bob).post(f"/admin/devices/brokeraccount/{pk}/revoke/").status_code == 403
    assert len(usable()) == 2


def test_dock_that_another_dock_named_gets_its_account_from_platform_staff_alone(alice, staff, organization):
    named = Device.objects.create(sn="NAMED1", model_key="3-2-0", organization=organization, claim="named")
    response = act(alice, "issue", named)
    assert (response.status_code, usable()) == (302, [])
    assert secrets_in(act(staff, "issue", named))
