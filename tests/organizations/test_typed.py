"""What a person typed, at every door that takes an organization's id, a code or a serial number."""

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState
from organizations import credentials
from organizations.models import BindingCode, BindingFailure, Organization
from organizations.typed import LONGEST, typed
from tests.world import world  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db

WIDE = str.maketrans({chr(sign): chr(sign + 0xFEE0) for sign in range(0x21, 0x7F)})
SPELLINGS = {
    "as it is": lambda text: text,
    "full width": lambda text: text.translate(WIDE),
    "zero-width space": lambda text: "\u200b".join(text),
    "zero-width joiner": lambda text: f"{text[:3]}\u200d{text[3:]}",
    "byte order mark": lambda text: f"\ufeff{text}",
    "soft hyphen": lambda text: f"{text[:4]}\u00ad{text[4:]}",
    "bidi marks": lambda text: f"\u202a\u200e{text}\u202c\u2069",
    "non-breaking space": lambda text: f"\u00a0{text[:2]}\u202f{text[2:]}",
    "outer space": lambda text: f" \t{text}\u3000\n",
    "variation selector": lambda text: f"{text}\ufe0f",
}
spellings = pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)


@spellings
@pytest.mark.parametrize("text", ["12345678", "Harbour_Ab-1", "7CTDXDRDR00001"])
def test_it_is_the_same_however_it_is_spelt_and_keeps_its_case(spell, text):
    assert typed(spell(text)) == text
    assert typed(spell(text).lower()) == text.lower()


def test_space_within_stays_and_text_without_anything_to_see_is_empty():
    assert typed("Pier\u30007") == "Pier 7"
    assert typed("\u200b\u3164\u2800 \ufeff") == ""


def test_hostile_text_is_read_quickly_and_equals_nothing():
    assert len(typed("\ufdfa" * LONGEST)) <= 18 * LONGEST
    assert typed("\u200b" * (LONGEST + 1)) != ""
    assert typed("a" + "\u0344\u0316" * (LONGEST // 2 - 1))


@spellings
def test_a_technician_opens_an_organization(spell, organization, code):
    _, plain = code
    pairs = [(spell("12345678"), plain), ("12345678", spell(plain)), (spell("12345678"), spell(plain.lower()))]
    attempts = [credentials.Credentials("DOCK1", *pair) for pair in pairs]
    assert [verdict.reason for verdict in credentials.check(attempts, now=timezone.now())] == [""] * 3
    assert not BindingFailure.objects.exists()


def test_a_wrong_pair_counts_once_however_it_is_spelt(organization):
    spelt = [credentials.Credentials("DOCK1", spell("12345678"), "WRONG-CODE") for spell in SPELLINGS.values()]
    credentials.check(spelt, now=timezone.now())
    assert BindingFailure.objects.get().organization_id_tried == "12345678"


def add_organization(client, text):
    client.post("/admin/organizations/organization/add/", {"organization_id": text, "name": "New", "is_active": "on"})
    return Organization.objects.filter(name="New").values_list("organization_id", flat=True).first()


def post_organization(client, text):
    client.post("/api/v1/organizations/", {"organization_id": text, "name": "New"}, "application/json")
    return Organization.objects.filter(name="New").values_list("organization_id", flat=True).first()


def add_device(client, text):
    client.post("/admin/devices/device/add/", {"sn": text})
    return Device.objects.exclude(sn="DOCK0001").values_list("sn", flat=True).first()


def own_code(text):
    return (
        BindingCode.objects.filter(organization__organization_id="12345678", hint=text[-4:].upper()).exists() and text
    )


def add_code(client, text):
    owner = Organization.objects.get(organization_id="12345678").pk
    client.post("/admin/organizations/bindingcode/add/", {"organization": owner, "code": text, "max_uses": "1"})
    return own_code("Ab12Cd34Ef")


def post_code(client, text):
    body = {"organization": "12345678", "code": text}
    client.post("/api/v1/binding-codes/", body, "application/json")
    return own_code("Ab12Cd34Ef")


@pytest.mark.turns(2)
@spellings
@pytest.mark.parametrize("door", [add_organization, post_organization, add_device, add_code, post_code])
def test_it_is_stored_in_its_plain_form(client, staff, organization, dock, spell, door):
    client.force_login(staff)
    assert door(client, spell("Ab12Cd34Ef")) == "Ab12Cd34Ef"


ADDRESSES = {
    "/admin/devices/device/?q={}": "DOCK0001",
    "/admin/organizations/organization/?q={}": "12345678",
    "/admin/mqtt_bridge/exchange/?q={}": "HARBOURDOCK",
    "/admin/devices/servicecall/?q={}": "HARBOURDOCK",
    "/admin/licenses/unlocklicense/?q={}": "HARBOURDOCK",
    "/admin/licenses/licenseevent/?q={}": "HARBOURDOCK",
    "/admin/licenses/licenselist/?q={}": "HARBOURDOCK",
    "/api/v1/devices/?search={}": "DOCK0001",
    "/api/v1/devices/?organization={}": "12345678",
    "/api/v1/organizations/?search={}": "12345678",
    "/api/v1/service-calls/?device={}": "HARBOURDOCK",
    "/api/v1/service-calls/?organization={}": "12345678",
    "/api/v1/licenses/?device={}": "HARBOURDOCK",
    "/api/v1/licenses/?search={}": "HARBOURDOCK",
    "/api/v1/binding-codes/?organization={}": "12345678",
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.usefixtures("world", "dock")
def test_it_is_found_however_it_is_spelt(client, staff, address):
    def rows(text):
        answer = client.get(address.partition("?")[0], {address.partition("?")[2].partition("=")[0]: text})
        if "results" in (answer.json() if "/api/" in address else {}):
            return len(answer.json()["results"])
        return answer.context["cl"].result_count

    client.force_login(staff)
    assert rows("NOBODY") == 0
    for name, spell in SPELLINGS.items():
        assert rows(spell(ADDRESSES[address])) > 0, name


@spellings
def test_a_dock_is_asked_over_rest_by_what_was_typed(client, staff, dock, spell, settings):
    client.force_login(staff)
    asked = {"device": spell("DOCK0001"), "method": "unlock_license_list", "data": {"device_model_domain": 3}}
    assert client.post("/api/v1/service-calls/", asked, "application/json").status_code == 201


# --- did you mean ------------------------------------------------------------------------------------


def test_a_serial_number_in_another_case_is_asked_about_and_may_be_insisted_on(client, staff, dock):
    client.force_login(staff)
    answer = client.post("/admin/devices/device/add/", {"sn": "dock0001"})
    assert "Did you mean DOCK0001?" in answer.content.decode()
    assert not Device.objects.filter(sn="dock0001").exists()
    client.post("/admin/devices/device/add/", {"sn": "dock0001", "is_another": "on"})
    assert Device.objects.filter(sn="dock0001").exists()


def test_rest_asks_did_you_mean_only_about_what_the_caller_may_see(api, alice, charlie, dock):
    DeviceState.objects.filter(device=dock).update(online=True)
    asked = {"device": "dock0001", "method": "unlock_license_list", "data": {"device_model_domain": 3}}
    for user, is_told in ((alice, True), (charlie, False)):
        answers = [api(user).get("/api/v1/devices/dock0001/"), api(user).post("/api/v1/service-calls/", asked)]
        for answer in answers:
            assert answer.status_code == 404
            assert ("Did you mean DOCK0001?" in answer.content.decode()) is is_told
