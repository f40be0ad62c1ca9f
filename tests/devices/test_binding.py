"""Binding: the outcomes of docs/protocol.md."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import binding, questions
from devices.models import Device, Pairing
from mqtt_bridge.protocol.messages import BindDevice, BindStatus
from organizations.audit import Actor
from organizations.credentials import Credentials
from organizations.models import AuditEvent, BindingCode, BindingFailure
from tests.ages import age, moved

pytestmark = pytest.mark.django_db

OK, FAILED, ELSEWHERE = 0, 210231, 210232


def wanted(sn, code="", organization_id="12345678", model_key="3-2-0", callsign="Pier 7"):
    return BindDevice(
        device_binding_code=code,
        organization_id=organization_id,
        device_callsign=callsign,
        sn=sn,
        device_model_key=model_key,
    )


def bind(*requests):
    """Bind requests, each a list of entries whose first is the dock's; the err_codes of each."""
    asked = [binding.Request(entries[0].sn, entries) for entries in requests]
    with transaction.atomic():
        return [[result.err_code for result in results] for results in binding.bind(asked, now=timezone.now())]


def dock_and_aircraft(code, number=1, **fields):
    aircraft = wanted(f"DRONE{number}", code, model_key="0-91-0", callsign="Gull", **fields)
    return [wanted(f"DOCK{number}", code, **fields), aircraft]


def test_right_code_binds_dock_and_aircraft(code, organization):
    row, plain = code
    assert bind(dock_and_aircraft(plain)) == [[OK, OK]]
    dock = Device.objects.get(sn="DOCK1")
    assert (dock.organization, dock.callsign, dock.model_key, dock.bound_with) == (organization, "Pier 7", "3-2-0", row)
    assert dock.state.online
    assert Device.objects.get(sn="DRONE1").organization == organization


def test_an_aircraft_that_is_named_and_refused_keeps_its_place_and_the_answer_stays_the_same(code, other_organization):
    """It has no model key: that it is an aircraft is known by its pairing alone."""
    _, plain = code
    bind([wanted("DOCK1", plain)])
    bird = Device.objects.create(sn="BIRD3", organization=other_organization, claim=Device.Claim.NAMED)
    Pairing.objects.create(
        dock=Device.objects.get(sn="DOCK1"), aircraft=bird, witness=Pairing.Witness.DOCK,
        since=timezone.now(), changed_at=timezone.now(),
    )  # fmt: skip
    request = [wanted("DOCK1", plain), wanted("BIRD3", plain, model_key=""), wanted("BIRD1", plain, model_key="0-91-0")]
    assert [bind(request), bind(request)] == [[[OK, ELSEWHERE, OK]]] * 2
    assert set(Pairing.objects.filter(until=None).values_list("aircraft__sn", flat=True)) == {"BIRD1", "BIRD3"}


def test_wrong_code_binds_nothing_and_stores_nothing(code):
    assert bind(dock_and_aircraft("WRON-GCOD-EXXX")) == [[FAILED, FAILED]]
    assert not Device.objects.exists()


def test_code_of_another_organization_binds_nothing(code, other_organization):
    _, plain = code
    assert bind(dock_and_aircraft(plain, organization_id="87654321")) == [[FAILED, FAILED]]


@pytest.mark.parametrize(
    "spoil",
    [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"max_uses": 3, "uses": 3},
        {"revoked_at": timezone.now()},
    ],
    ids=["expired", "used up", "revoked"],
)
def test_spent_code_binds_nothing(code, spoil):
    row, plain = code
    BindingCode.objects.filter(pk=row.pk).update(**spoil)
    assert bind(dock_and_aircraft(plain)) == [[FAILED, FAILED]]
    assert not Device.objects.exclude(organization=None).exists()


def test_code_of_an_inactive_organization_binds_nothing(code, organization):
    organization.is_active = False
    organization.save()
    assert bind(dock_and_aircraft(code[1])) == [[FAILED, FAILED]]


def test_code_may_be_typed_in_lower_case_without_hyphens(code):
    assert bind(dock_and_aircraft(code[1].lower().replace("-", " "))) == [[OK, OK]]


def test_organization_id_is_case_sensitive(organization, other_organization):
    organization.organization_id = "Harbour"
    organization.save()
    _, plain = BindingCode.objects.issue(organization=organization)
    assert bind(dock_and_aircraft(plain, organization_id="harbour")) == [[FAILED, FAILED]]
    assert bind(dock_and_aircraft(plain, organization_id=" Harbour ")) == [[OK, OK]]


def test_dock_with_aircraft_is_one_use_of_the_code(organization):
    row, plain = BindingCode.objects.issue(organization=organization, max_uses=1)
    assert bind(dock_and_aircraft(plain)) == [[OK, OK]]
    row.refresh_from_db()
    assert row.uses == 1


def test_last_use_of_a_code_goes_to_the_first_of_two_requests(organization):
    _, plain = BindingCode.objects.issue(organization=organization, max_uses=1)
    assert bind(dock_and_aircraft(plain, 1), dock_and_aircraft(plain, 2)) == [[OK, OK], [FAILED, FAILED]]


def test_repeated_bind_gets_the_same_answer_and_no_further_use(organization):
    row, plain = BindingCode.objects.issue(organization=organization, max_uses=1)
    first, second = bind(dock_and_aircraft(plain)), bind(dock_and_aircraft(plain))
    row.refresh_from_db()
    assert first == second == [[OK, OK]]
    assert row.uses == 1
    assert AuditEvent.objects.filter(action="bind").count() == 2


def test_wrong_code_leaves_an_existing_binding(code):
    bind(dock_and_aircraft(code[1]))
    assert bind(dock_and_aircraft("WRON-GCOD-EXXX")) == [[FAILED, FAILED]]
    assert Device.objects.get(sn="DOCK1").organization is not None


def test_rebinding_updates_the_callsign(code):
    bind(dock_and_aircraft(code[1]))
    bind([wanted("DOCK1", code[1], callsign="Pier 8")])
    assert Device.objects.get(sn="DOCK1").callsign == "Pier 8"


def test_foreign_device_is_refused_and_unchanged(code, other_organization):
    _, theirs = BindingCode.objects.issue(organization=other_organization)
    bind(dock_and_aircraft(code[1]))
    assert bind(dock_and_aircraft(theirs, organization_id="87654321")) == [[ELSEWHERE, ELSEWHERE]]
    assert Device.objects.get(sn="DOCK1").organization.organization_id == "12345678"


def test_foreign_device_with_a_wrong_code_does_not_tell_that_it_is_bound(code):
    bind(dock_and_aircraft(code[1]))
    assert bind(dock_and_aircraft("WRON-GCOD-EXXX", organization_id="87654321")) == [[FAILED, FAILED]]


def test_foreign_aircraft_does_not_keep_the_dock_from_binding(code, other_organization):
    Device.objects.create(sn="DRONE1", organization=other_organization, model_key="0-91-0")
    assert bind(dock_and_aircraft(code[1])) == [[OK, ELSEWHERE]]


def test_missing_serial_number_is_refused_and_the_others_are_bound(code):
    assert bind([wanted("DOCK1", code[1]), wanted("", code[1])]) == [[OK, FAILED]]


def test_dock_cannot_be_bound_through_another_dock(code):
    assert bind([wanted("DOCK1", code[1]), wanted("DOCK2", code[1])]) == [[OK, FAILED]]
    assert not Device.objects.filter(sn="DOCK2").exists()


def test_known_dock_cannot_be_bound_as_an_aircraft_of_another_dock(code):
    Device.objects.create(sn="DOCK2", model_key="3-2-0")
    assert bind([wanted("DOCK1", code[1]), wanted("DOCK2", code[1], model_key="0-91-0")]) == [[OK, FAILED]]


def test_dock_that_another_one_called_its_aircraft_binds_with_its_own_code(code, other_organization):
    """A hostile organization names somebody's new dock in a bind of its own, with its own right code."""
    _, theirs = BindingCode.objects.issue(organization=other_organization)
    stolen = wanted("DOCK1", theirs, organization_id="87654321", model_key="0-91-0")
    assert bind([wanted("MALLORY", theirs, organization_id="87654321"), stolen]) == [[OK, OK]]
    [[status]] = questions.bind_status([("DOCK1", ["DOCK1"])])
    assert not status.is_device_bind_organization
    assert bind([wanted("DOCK1", code[1])]) == [[OK]]
    dock = Device.objects.get(sn="DOCK1")
    assert (dock.organization.organization_id, dock.model_key) == ("12345678", "3-2-0")
    assert AuditEvent.objects.get(action="disown").organization == other_organization


def test_aircraft_without_a_model_key_is_bound_if_we_know_it(code):
    Device.objects.create(sn="DRONE1", model_key="0-91-0")
    assert bind([wanted("DOCK1", code[1]), wanted("DRONE1", code[1], model_key="")]) == [[OK, OK]]


def test_strange_dock_that_named_an_aircraft_first_does_not_learn_its_owner(code):
    stranger = Device.objects.create(sn="STRANGER", model_key="3-2-0")
    Device.objects.create(sn="DRONE1", model_key="0-91-0", gateway=stranger)
    bind(dock_and_aircraft(code[1]))
    [[status]] = questions.bind_status([("STRANGER", ["DRONE1"])])
    assert (status.organization_id, status.organization_name, status.device_callsign) == ("", "", "")


def test_unknown_model_is_bound_and_kept_raw(code):
    assert bind([wanted("DOCK1", code[1], model_key="3-99-7")]) == [[OK]]
    assert Device.objects.get(sn="DOCK1").model_name == "3-99-7"


def test_disabled_device_cannot_be_bound(code):
    Device.objects.create(sn="DOCK1", is_enabled=False)
    assert bind([wanted("DOCK1", code[1])]) == [[FAILED]]


def test_device_limit_of_the_organization_holds_inside_one_group(code, organization):
    organization.device_limit = 3
    organization.save()
    answers = bind(dock_and_aircraft(code[1], 1), dock_and_aircraft(code[1], 2))
    assert answers == [[OK, OK], [OK, FAILED]]


def test_two_organizations_want_one_device_in_one_group(code, other_organization):
    _, theirs = BindingCode.objects.issue(organization=other_organization)
    mine = [wanted("DOCK1", code[1])]
    assert bind(mine, [wanted("DOCK1", theirs, organization_id="87654321")], mine) == [[OK], [ELSEWHERE], [OK]]


def test_gateway_is_locked_out_after_five_different_wrong_codes(code):
    for number in range(5):
        assert bind([wanted("DOCK1", f"WRONG-{number}-CODE")]) == [[FAILED]]
    assert bind([wanted("DOCK1", code[1])]) == [[FAILED]]
    assert bind([wanted("DOCK2", code[1])]) == [[OK]]


def test_repeating_one_wrong_code_locks_nobody_out(code):
    for _ in range(9):
        bind([wanted("DOCK1", "WRONG-CODE")])
    assert bind([wanted("DOCK1", code[1])]) == [[OK]]
    assert BindingFailure.objects.count() == 1


def test_lock_out_holds_inside_one_message(code):
    guesses = [wanted("DOCK1", f"WRONG-{number}-CODE") for number in range(5)]
    assert bind([*guesses, wanted("DOCK1", code[1])]) == [[FAILED] * 6]


def test_lock_out_ends_after_ten_minutes(code):
    for number in range(5):
        bind([wanted("DOCK1", f"WRONG-{number}-CODE")])
    BindingFailure.objects.update(last_at=timezone.now() - timedelta(minutes=11))
    assert bind([wanted("DOCK1", code[1])]) == [[OK]]


def test_thousand_guesses_then_the_right_code(code):
    guesses = [[wanted("DOCK1", f"GUESS-{number:05}")] for number in range(1000)]
    assert bind(*guesses, [wanted("DOCK1", code[1])])[-1] == [FAILED]
    assert BindingFailure.objects.count() == 5


def test_organization_is_found_by_id_and_code_and_the_code_not_used(code, organization):
    found = questions.find_organizations([Credentials("DOCK1", "12345678", code[1])], now=timezone.now())
    assert found == [(organization, "", organization.pk)]
    assert BindingCode.objects.get().uses == 0


@pytest.mark.parametrize(
    ("organization_id", "typed"),
    [("12345678", "WRON-GCOD-EXXX"), ("87654321", None), ("", None), ("12345678", ""), ("unknown", None)],
)
def test_no_organization_is_found_by_a_wrong_pair(code, other_organization, organization_id, typed):
    attempt = Credentials("DOCK1", organization_id, code[1] if typed is None else typed)
    [finding] = questions.find_organizations([attempt], now=timezone.now())
    assert finding.organization is None
    assert finding.reason


def test_dock_learns_its_own_name_and_that_of_its_aircraft(dock, aircraft):
    [[first, second]] = questions.bind_status([(dock.sn, [aircraft.sn, dock.sn])])
    assert (first.sn, first.device_callsign, first.organization_name) == (aircraft.sn, "Gull", "Harbour Survey")
    assert (second.sn, second.organization_id) == (dock.sn, "12345678")


def test_stranger_learns_that_devices_are_bound_but_not_where(dock):
    Device.objects.bulk_create(
        Device(sn=f"FOREIGN{number}", organization=dock.organization, callsign="secret") for number in range(100)
    )
    [entries] = questions.bind_status([("STRANGER", [f"FOREIGN{number}" for number in range(100)])])
    assert all(entry.is_device_bind_organization for entry in entries)
    assert not any(entry.organization_id or entry.organization_name or entry.device_callsign for entry in entries)


def queries_of(requests):
    with CaptureQueriesContext(connection) as queries:
        bind(*requests)
    return len(queries)


def test_hundred_bind_requests_cost_as_many_queries_as_one(code):
    _, plain = code
    one = queries_of([dock_and_aircraft(plain, 1)])
    hundred = queries_of([dock_and_aircraft(plain, number) for number in range(100, 200)])
    assert hundred == one
    assert queries_of([dock_and_aircraft(plain, number) for number in range(100, 200)]) <= one


def test_unknown_serial_number_gets_an_entry_with_empty_text(db):
    [[entry]] = questions.bind_status([("DOCK1", ["NOBODY"])])
    assert entry == BindStatus(sn="NOBODY", is_device_bind_organization=False)


# --- the moment of the last change -----------------------------------------------------------------


def test_binding_changes_the_device_and_the_code_and_repeating_it_neither(code):
    row, plain = code
    unclaimed = Device.objects.create(sn="DOCK1")
    age(row, unclaimed)
    bind(dock_and_aircraft(plain))
    assert (moved(row), moved(unclaimed)) == (True, True)
    age(row, unclaimed)
    bind(dock_and_aircraft(plain))
    assert (moved(row), moved(unclaimed)) == (False, False)


def test_release_changes_the_device_and_what_it_carries_and_no_other(dock, aircraft, organization, alice):
    other = Device.objects.create(sn="DOCK2", organization=organization)
    age(dock, aircraft, other)
    binding.release([dock], actor=Actor(AuditEvent.Through.ADMIN, alice))
    assert [moved(device) for device in (dock, aircraft, other)] == [True, True, False]
