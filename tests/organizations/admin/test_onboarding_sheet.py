"""The onboarding sheet and its QR code."""

import pytest
import segno
from django.utils import translation

from devices.broker import accounts
from devices.models import BrokerAccount, Device
from organizations.admin import onboarding_sheet
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode


def test_the_path_draws_every_dark_module_once():
    text = "Organization ID: 12345678\nDevice binding code: ABCD-EFGH-JKLM"
    code = onboarding_sheet.qr_code(text)
    drawn = set()
    for bar in code.path.removeprefix("M").split("M"):
        start, length = bar.split("h")[0], int(bar.split("h")[1].removesuffix("v1"))
        x, y = map(int, start.split())
        drawn |= {(x + step - 4, y - 4) for step in range(length)}
    matrix = segno.make(text, error="m", micro=False).matrix
    assert drawn == {(x, y) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark}
    assert code.size == len(matrix) + 8


def test_a_run_of_dark_modules_is_one_bar():
    matrix = segno.make("A1", error="m", micro=False).matrix
    runs = sum(len(bytes(row).replace(b"\0", b" ").split()) for row in matrix)
    assert onboarding_sheet.qr_code("A1").path.count("M") == runs


def test_what_is_not_set_is_missing_and_not_in_the_qr_code(code, settings):
    settings.DOCK_ENROLMENT_URL = settings.DOCK_MQTT_USERNAME = settings.DOCK_MQTT_PASSWORD = ""
    sheet = onboarding_sheet.sheet(*code, onboarding_sheet.fixed_login())
    assert sheet.missing == ["DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD"]
    known = f"Organization ID: 12345678\nDevice binding code: {code[1]}"
    assert sheet.qr == onboarding_sheet.qr_code(known)


def test_the_qr_code_is_in_the_language_of_the_sheet(code):
    sheet = onboarding_sheet.sheet(*code, onboarding_sheet.Login("ssl://own:8883", "DOCK0001", "secret"))
    english = sheet.qr
    with translation.override("zh-hans"):
        assert onboarding_sheet.languages()[0][0] == "zh-hans"
        assert sheet.qr == onboarding_sheet.qr_of(sheet.values) != english


# --- the account on it -----------------------------------------------------------------------------


@pytest.fixture
def issue(client, organization, settings):
    """issue(user, login="own", serial_number="X") is the answer to the form for a new code."""
    settings.MQTT_AUTH_SECRET = "s" * 50
    settings.DOCK_MQTT_URL, settings.DOCK_ENROLMENT_URL = "ssl://own:8883", "ssl://enrol:8884"

    def issue(user, **more):
        client.force_login(user)
        form = {"organization": organization.pk, "label": "pier", "max_uses": "1", **more}
        return client.post("/admin/organizations/bindingcode/add/", form)

    return issue


def shown(response):
    return {value.label: value.value for value in response.context["sheet"].values}


def test_sheet_brings_an_enrolment_account_of_its_own_that_ends_with_the_code(issue, alice):
    ends = {"expires_at_0": "2040-01-02", "expires_at_1": "03:04:00"}
    values = shown(issue(alice, **ends))  # the default with an access list
    row = BrokerAccount.objects.get()
    assert (values["MQTT gateway address"], values["MQTT account"]) == ("ssl://enrol:8884", "enrol.12345678")
    assert len(values["MQTT password"]) == 30
    assert (row.kind, row.label, row.expires_at) == ("enrolment", "pier", BindingCode.objects.get().expires_at)


def test_sheet_for_a_code_without_end_still_brings_an_account_that_ends(issue, alice):
    issue(alice, login="enrolment")
    assert BrokerAccount.objects.get().expires_at is not None


def test_sheet_for_a_serial_number_brings_the_docks_own_account(issue, staff):
    values = shown(issue(staff, login="own", serial_number=" NEW1 "))
    assert (values["MQTT gateway address"], values["MQTT account"]) == ("ssl://own:8883", "NEW1")
    assert BrokerAccount.objects.get().device == Device.objects.get(sn="NEW1", organization=None)


def test_without_an_access_list_the_sheet_has_the_account_of_the_settings(issue, alice, settings):
    settings.MQTT_AUTH_SECRET = ""
    settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD = "typed", "by hand"
    values = shown(issue(alice))
    assert (values["MQTT account"], values["MQTT password"]) == ("typed", "by hand")
    assert not BrokerAccount.objects.exists()


@pytest.mark.parametrize(
    ("user", "sn", "words"),
    [
        ("alice", "NEW1", "only platform staff adds docks"),
        ("alice", "STRAY", "only platform staff adds docks"),
        ("alice", "THEIRS", "only platform staff adds docks"),
        ("staff", "THEIRS", "It belongs to another organization."),
        ("alice", "DOCK0001", "Has an account already: rotate its secret instead."),
        ("staff", "dock-cloud-bridge", "The server itself uses this name."),
        ("staff", "no/sn", "Not a serial number."),
        ("staff", "", "Not a serial number."),
    ],
)
def test_code_is_not_issued_for_a_dock_that_may_get_no_account(
    user, sn, words, issue, dock, other_organization, request
):
    Device.objects.create(sn="STRAY")
    Device.objects.create(sn="THEIRS", organization=other_organization, claim="code")
    accounts.issue(actor=Actor(AuditEvent.Through.COMMAND), device=dock)
    response = issue(request.getfixturevalue(user), login="own", serial_number=sn)
    assert words in response.content.decode()
    assert not BindingCode.objects.exists()
    assert BrokerAccount.objects.count() == 1


def test_serial_number_without_the_choice_is_asked_about(issue, staff):
    response = issue(staff, login="enrolment", serial_number="NEW1")
    assert "choose the dock&#x27;s own account" in response.content.decode()
    assert not BindingCode.objects.exists()
