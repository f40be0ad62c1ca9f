"""What comes through enrolment, where anybody may use any serial number: what it is told, and what it changes."""

import json
from datetime import timedelta

import pytest
from django.core import serializers
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cloudapi.attention import Visit, look
from devices.binding import release
from devices.broker import accounts, enrolment, wanted
from devices.diagnosis.needs import refusals
from devices.diagnosis.onboarding import onboarding
from devices.models import Device, DeviceState, Pairing
from devices.presence import watch
from mqtt_bridge import dispatch, journal
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol.access import Kind
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, BindingFailure
from tests.cast import put_in

pytestmark = pytest.mark.django_db

SN = "DOCK0001"
ACCOUNT = Actor(AuditEvent.Through.COMMAND)
FAILED, ELSEWHERE = 210231, 210232


@pytest.fixture(autouse=True)
def _licenses(settings, organization):
    """The platform's app license, and one of Alice's organization."""
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1", "platform key", "platform license"
    organization.app_id, organization.app_key, organization.app_license = "2", "harbour key", "harbour license"
    organization.save()


@pytest.fixture
def grid_code(other_organization):
    """A code of Charlie's organization."""
    return BindingCode.objects.issue(organization=other_organization)[1]


def said(method, data, *, sn=SN, prefix="enrol/", tid="t1"):
    message = {"tid": tid, "bid": "b1", "method": method, "timestamp": 1654070968655, "gateway": sn, "data": data}
    return Delivery(topic=f"{prefix}thing/product/{sn}/requests", payload=json.dumps(message).encode(), mid=1)


def handle(*deliveries):
    results = [result for wave in dispatch.handle(deliveries) for result in wave.results]
    journal.write(results)
    return results


def ask(method, data, **fields):
    """The `data` of the answer, and why it refuses something."""
    [result] = handle(said(method, data, **fields))
    return json.loads(result.reply)["data"], result.reason


def entry(sn, code, *, organization_id="87654321", model_key="3-2-0"):
    return {
        "sn": sn,
        "device_binding_code": code,
        "organization_id": organization_id,
        "device_callsign": "Mine",
        "device_model_key": model_key,
    }


def bind(*entries, **fields):
    answer, _ = ask("airport_organization_bind", {"bind_devices": entries}, **fields)
    return [error["err_code"] for error in answer["output"]["err_infos"]] if answer["result"] == 0 else answer["result"]


CONFIG = {"config_type": "json", "config_scope": "product"}
STATUS = {"devices": [{"sn": SN}, {"sn": "DRONE0001"}]}

# By a stranger with an enrolment account and a code of another organization.
MESSAGES = {
    "config": lambda _: ("config", CONFIG),
    "status": lambda _: ("airport_bind_status", STATUS),
    "right code": lambda code: (
        "airport_organization_get", {"organization_id": "87654321", "device_binding_code": code}),
    "wrong code": lambda _: (
        "airport_organization_get", {"organization_id": "12345678", "device_binding_code": "WRONGCODE"}),
    "bind": lambda code: ("airport_organization_bind", {"bind_devices": [entry(SN, code)]}),
    "bind as an aircraft": lambda code: (
        "airport_organization_bind", {"bind_devices": [entry(SN, code, model_key="0-91-0")]}),
    "bind with its aircraft": lambda code: (
        "airport_organization_bind",
        {"bind_devices": [entry(SN, code), entry("DRONE0001", code, model_key="0-91-0"),
                          entry("NEWDRONE", code, model_key="0-91-0")]}),
    "malformed": lambda _: ("airport_organization_bind", {"bind_devices": "none"}),
    "another method": lambda _: ("flight_areas_get", {}),
}  # fmt: skip


def bound(dock):
    return dock


def with_account(dock):
    accounts.issue(device=dock, actor=ACCOUNT)


def disabled(dock):
    Device.objects.filter(pk=dock.pk).update(is_enabled=False)


def brought_a_code(dock):
    Device.objects.filter(pk=dock.pk).update(claim=Device.Claim.CODE)


def enrolled(dock):
    Device.objects.filter(pk=dock.pk).update(claim=Device.Claim.ENROLLED)


def named(dock):
    """Recorded as the aircraft of another dock of its owner."""
    carrier = Device.objects.create(sn="CARRIER", organization=dock.organization, model_key="3-2-0")
    Device.objects.filter(pk=dock.pk).update(claim=Device.Claim.NAMED, model_key="0-91-0", gateway=carrier)


STATES = (bound, with_account, disabled, brought_a_code, enrolled, named)


def owners():
    return {device.sn: (device.organization_id, device.claim) for device in Device.objects.exclude(organization=None)}


@pytest.mark.parametrize("state", STATES)
def test_no_message_changes_an_owner_or_tells_who_it_is(state, dock, aircraft, grid_code):
    state(dock)
    before, seen = owners(), DeviceState.objects.get(device=dock).last_seen
    for name, message in MESSAGES.items():
        [result] = handle(said(*message(grid_code)))
        assert owners() == before, name
        assert Pairing.objects.filter(until=None).count() == 1, name
        assert DeviceState.objects.get(device=dock).last_seen == seen, name
        assert not result.decoded.is_sign_of_life, name
        assert result.reply, name
        known = ("12345678", "Harbour", "Pier 7", "Gull", "harbour")
        assert not [word for word in known if word in str(result.reply)], name


def test_a_dock_with_its_own_account_is_not_spoken_for(dock, aircraft, grid_code):
    """Whatever the message: it is refused, and nothing changes but the journal."""
    with_account(dock)
    rows = (Device, DeviceState, Pairing, BindingCode, BindingFailure)

    def everything():
        return serializers.serialize("json", [row for model in rows for row in model.objects.order_by("pk")])

    before = everything()
    for name, message in MESSAGES.items():
        [result] = handle(said(*message(grid_code)))
        answer = json.loads(result.reply)["data"]
        assert answer["result"] != 0, name
        assert not any(answer.get("output", {}).values()), name
        assert everything() == before, name
        assert result.reason == Exchange.HAS_ACCOUNT or name == "malformed"


def test_foreign_license_leaks_without_the_guard(dock):
    """The negative control: a bridge that takes messages through enrolment for those of the dock itself."""
    assert "harbour" not in str(ask("config", CONFIG))
    trusted = said("config", CONFIG)
    trusted.by_enrolment = False
    assert b"harbour license" in handle(trusted)[0].reply


def test_with_its_own_credentials_the_dock_gets_its_organizations_license(dock):
    assert ask("config", CONFIG)[0]["app_license"] == "platform license"
    assert ask("config", CONFIG, prefix="")[0]["app_license"] == "harbour license"


def test_status_tells_whether_a_device_is_bound_and_no_more(dock, aircraft):
    answer, _ = ask("airport_bind_status", {"devices": [{"sn": SN}, {"sn": "NOBODY"}]})
    empty = {"organization_id": "", "organization_name": "", "device_callsign": ""}
    assert answer["output"]["bind_status"] == [
        {"sn": SN, "is_device_bind_organization": True, **empty},
        {"sn": "NOBODY", "is_device_bind_organization": False, **empty},
    ]


# --- binding --------------------------------------------------------------------------------------


def test_new_dock_binds_through_enrolment_and_gets_the_same_answer_again(code, organization):
    entries = [
        entry("NEW1", code[1], organization_id="12345678"),
        entry("NEW1A", code[1], organization_id="12345678", model_key="0-91-0"),
    ]
    assert [bind(*entries, sn="NEW1") for _ in range(2)] == [[0, 0], [0, 0]]
    dock = Device.objects.get(sn="NEW1")
    assert (dock.organization, dock.claim) == (organization, Device.Claim.ENROLLED)
    assert dock.enrolled_at is not None
    assert not hasattr(dock, "state")  # it can neither report nor obey: it is not online
    assert Device.objects.get(sn="NEW1A").claim == Device.Claim.NAMED
    code[0].refresh_from_db()
    assert code[0].uses == 1


def test_dock_that_somebody_bound_through_enrolment_goes_to_the_code_that_it_brings_with_its_own_account(
    code, grid_code, organization
):
    assert bind(entry("SQUAT", grid_code), sn="SQUAT") == [0]
    own = entry("SQUAT", code[1], organization_id="12345678")
    assert bind(own, sn="SQUAT") == [ELSEWHERE]  # nothing is proven through enrolment
    assert bind(own, sn="SQUAT", prefix="") == [0]
    dock = Device.objects.get(sn="SQUAT")
    assert (dock.organization, dock.claim) == (organization, Device.Claim.CODE)
    assert bind(entry("SQUAT", grid_code), sn="SQUAT", prefix="") == [ELSEWHERE]


def test_dock_proves_with_its_own_account_what_it_claimed_through_enrolment(code, grid_code):
    own = entry("NEW1", code[1], organization_id="12345678")
    bind(own, sn="NEW1")
    assert bind(own, sn="NEW1", prefix="") == [0]
    assert Device.objects.get(sn="NEW1").claim == Device.Claim.CODE
    assert bind(entry("NEW1", grid_code), sn="NEW1", prefix="") == [ELSEWHERE]


def test_aircraft_cannot_be_taken_by_binding_it_as_a_dock(dock, code, grid_code, organization):
    put_in(dock, "BIRD", claim=Device.Claim.NAMED)
    assert bind(entry("BIRD", grid_code), sn="BIRD") == [ELSEWHERE]
    assert Device.objects.get(sn="BIRD").organization == organization


def test_nobody_names_aircraft_for_a_dock_of_another_organization(dock, grid_code):
    assert bind(entry(SN, grid_code), entry("NEWDRONE", grid_code, model_key="0-91-0")) == [ELSEWHERE, FAILED]
    assert not Device.objects.filter(sn="NEWDRONE").exists()


def test_a_release_forgets_the_enrolment(code):
    bind(entry("NEW1", code[1], organization_id="12345678"), sn="NEW1")
    release(Device.objects.filter(sn="NEW1"), actor=ACCOUNT)
    assert Device.objects.get(sn="NEW1").enrolled_at is None


# --- what is noted --------------------------------------------------------------------------------


def test_a_known_dock_without_its_own_account_has_the_time_noted_at_most_once_a_minute(dock):
    enrolment.admit({SN, "NOBODY"})
    noted = Device.objects.get(sn=SN).enrolled_at
    assert timezone.now() - noted < timedelta(minutes=1)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert enrolment.admit({SN, "NOBODY"}) == {SN, "NOBODY"}
    assert len(queries) == 2
    assert Device.objects.get(sn=SN).enrolled_at == noted


def test_a_revoked_account_is_none(dock):
    row, _ = accounts.issue(device=dock, actor=ACCOUNT)
    assert enrolment.admit({SN}) == set()
    row.revoked_at = timezone.now()
    row.save()
    assert enrolment.admit({SN}) == {SN}


def test_the_journal_says_what_came_through_enrolment_and_shows_it_to_the_owner(dock):
    handle(said("config", CONFIG), said("config", CONFIG, prefix="", tid="t2"))
    rows = Exchange.objects.order_by("tid").values_list("by_enrolment", "organization_id")
    assert list(rows) == [(True, dock.organization_id), (False, dock.organization_id)]


def test_the_same_number_of_queries_for_one_dock_and_for_many(code):
    def queries(*sns):
        with CaptureQueriesContext(connection) as counted:
            list(dispatch.handle([said("airport_bind_status", STATUS, sn=sn) for sn in sns]))
        return len(counted)

    assert queries("A1") == queries(*(f"B{number}" for number in range(50)))


# --- guessing -------------------------------------------------------------------------------------


def guess(code, *, sn, organization_id="12345678", **fields):
    data = {"organization_id": organization_id, "device_binding_code": code}
    return said("airport_organization_get", data, sn=sn, **fields)


def get(code, **fields):
    [result] = handle(guess(code, **fields))
    return json.loads(result.reply)["data"]["result"]


@pytest.fixture
def own_code(organization):
    """One that a person chose."""
    return BindingCode.objects.issue(organization=organization, code="HARB-HARB-2345")[1]


def test_wrong_codes_through_enrolment_lock_no_strong_code_out(code):
    for number in range(10):
        get(f"GUESS{number:05}", sn=SN)
    assert get(code[1], sn=SN) == 0


def test_a_thousand_guesses_under_ever_new_numbers_and_then_the_right_code(code, grid_code, own_code):
    for start in range(0, 1000, 100):
        guesses = [
            guess(f"GUESS{number:05}", sn=f"NEW{number}", tid=str(number)) for number in range(start, start + 100)
        ]
        assert {json.loads(result.reply)["data"]["result"] for result in handle(*guesses)} == {210230}
    assert BindingFailure.objects.count() == 20
    assert get(own_code, sn="HONEST") != 0  # locked out: else each guess would count
    assert get(own_code, sn="HONEST", prefix="") == 0  # with its own account
    assert get(code[1], sn="HONEST") == 0  # nobody guesses this one
    assert get(grid_code, sn="HONEST", organization_id="87654321") == 0  # of another organization
    [locked] = BindingFailure.objects.guessed(timezone.now())
    assert locked.organization_id == "12345678"


def test_wrong_codes_through_enrolment_lock_out_no_dock_with_its_own_account(own_code):
    for number in range(10):
        get(f"GUESS{number:05}", sn=SN)
    assert get(own_code, sn=SN) != 0
    assert get(own_code, sn=SN, prefix="") == 0
    assert [row["by_enrolment"] for row in BindingFailure.objects.locked_out(timezone.now())] == [True]


def test_wrong_codes_of_a_dock_do_not_count_through_enrolment(code):
    for number in range(10):
        get(f"GUESS{number:05}", sn=SN, prefix="")
    assert get(code[1], sn=SN, prefix="") != 0
    assert get(code[1], sn=SN) == 0


def test_guesses_at_organizations_that_do_not_exist_fill_no_table(monkeypatch):
    monkeypatch.setattr("organizations.credentials.MOST_KEPT", 30)
    handle(*(guess("GUESSGUESS", sn=f"NEW{number}", organization_id=f"no-{number}") for number in range(50)))
    assert BindingFailure.objects.count() == 30


def test_the_fixed_account_of_the_settings_is_kept_at_the_enrolment_broker_only(settings):
    settings.MQTT_URL, settings.MQTT_ADMIN_URL = (
        "mqtt://dock-cloud:secret@127.0.0.1:1",
        "mqtt://admin:secret@127.0.0.1:1",
    )
    settings.ENROLMENT_MQTT_ADMIN_URL = "mqtt://admin:secret@127.0.0.1:2"
    settings.DOCK_MQTT_USERNAME, settings.DOCK_MQTT_PASSWORD = "enrolment", "what the sheet says"
    main, other = wanted.brokers()
    assert "enrolment" not in wanted.wanted(main, timezone.now())
    found = wanted.wanted(other, timezone.now())["enrolment"]
    assert found.account.kind == Kind.ENROLMENT
    assert found.digest.matches("what the sheet says")


# --- what people see ------------------------------------------------------------------------------


def test_pages_of_a_dock_do_not_believe_what_was_refused_in_its_name(dock, alice, client):
    with_account(dock)
    handle(said("config", CONFIG, prefix="", tid="own"), said("config", CONFIG))
    steps = onboarding(SN, device=dock, visible=Exchange.objects.all()).steps
    assert [step.status for step in steps if step.method == "config"] == ["done"]
    assert refusals([dock], Exchange.objects.all(), timezone.now()) == {}
    client.force_login(alice)
    page = client.get("/admin/mqtt_bridge/exchange/").content.decode()
    assert page.count("through enrolment:") == 1


def test_the_first_page_says_who_was_refused_and_whose_codes_are_locked_out(dock, code, alice, staff):
    with_account(dock)
    handle(said("config", CONFIG))
    handle(*(guess(f"GUESS{number:05}", sn=f"NEW{number}", tid=str(number)) for number in range(30)))

    def problems(user, *, is_staff):
        now = timezone.now()
        return " ".join(item.text for item in look(Visit(user, is_staff, now, watch(now))).items)

    assert "1 dock with its own account was refused at enrolment" in problems(alice, is_staff=False)
    assert "1 organization's codes are locked out at enrolment" in problems(staff, is_staff=True)
    assert "refused the DJI license" not in problems(staff, is_staff=True)
