"""Moving devices between organizations: what comes along, what is forgotten, and what the dock is told."""

import pytest
from django.apps import apps
from django.conf import settings
from django.utils import timezone

from devices import questions
from devices.broker import accounts
from devices.models import BrokerAccount, Device, DeviceAccount, DeviceLabel, DeviceState, Label, Pairing, Site
from devices.moving import transfer
from licenses.models import LicenseList, UnlockLicense
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode
from tests.devices.calls.cases import make_call
from tests.devices.test_binding import bind, wanted
from tests.devices.test_topology import report, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def lived_in(dock, aircraft, organization):
    """A dock with everything an owner leaves behind."""
    now = timezone.now()
    site = Site.objects.create(organization=organization, name="Secret site")
    Device.objects.filter(pk=dock.pk).update(site=site, callsign="Secret name", claim=Device.Claim.CODE)
    label = Label.objects.create(organization=organization, name="Secret label")
    DeviceLabel.objects.create(device=dock, label=label)
    DeviceAccount.objects.create(device=dock, username="pilot@example.org", status="logged_in")
    UnlockLicense.objects.create(device=dock, device_model_domain=0, license_id=240330, type=0, note="secret")
    LicenseList.objects.create(device=dock, device_model_domain=0, complete=True, fetched_at=now)
    DeviceState.objects.filter(device=dock).update(properties={"home": "secret"}, latitude=53.5, longitude=9.9)
    accounts.issue(device=dock, actor=Actor(AuditEvent.Through.COMMAND))
    dock = Device.objects.get(pk=dock.pk)
    dock.call = make_call(dock, status="queued")
    return dock


def moved(devices, to, user=None, **options):
    return transfer.move(devices, to, actor=Actor(AuditEvent.Through.ADMIN, user), **options)


def test_nothing_of_the_former_owner_is_left_for_the_new_one(lived_in, other_organization, charlie):
    moved([lived_in], other_organization)
    device = Device.objects.get(pk=lived_in.pk)
    assert (device.organization, device.callsign, device.site) == (other_organization, "", None)
    for label in settings.FORGOTTEN_ON_RELEASE:
        assert not apps.get_model(label)._default_manager.filter(device=device).exists(), label
    assert (device.state.properties, device.state.latitude, device.state.longitude) == ({}, None, None)
    lived_in.call.refresh_from_db()
    assert (lived_in.call.status, lived_in.call.result_text) == ("canceled", "the dock was transferred.")
    seen = AuditEvent.objects.visible_to(charlie)
    assert not any("Secret" in str((row.before, row.after, row.object_name)) for row in seen)


def test_both_organizations_have_it_in_their_audit_trail_and_neither_learns_of_the_other(
    lived_in, organization, other_organization, staff
):
    moved([lived_in], other_organization, staff)
    lost, got = AuditEvent.objects.filter(action="transfer").order_by("pk")
    assert (lost.organization, got.organization) == (organization, other_organization)
    assert (lost.user, got.user, lost.request_id) == (staff, staff, got.request_id)
    assert "Northern" not in str((lost.before, lost.after))
    assert "Harbour" not in str((got.before, got.after))


def test_aircraft_go_along_and_stay_in_their_dock(dock, aircraft, other_organization):
    rows = list(transfer.with_aircraft([dock.pk]))
    assert {device.sn for device in moved(rows, other_organization)} == {dock.sn, aircraft.sn}
    aircraft.refresh_from_db()
    assert (aircraft.organization, aircraft.gateway, aircraft.claim) == (other_organization, dock, Device.Claim.NAMED)
    pairing = Pairing.objects.get(aircraft=aircraft, until=None)
    assert pairing.linked_since is not None
    update(report(dock.sn, aircraft.sn))
    assert Device.objects.get(pk=aircraft.pk).gateway == dock


def test_an_aircraft_that_is_left_behind_is_in_no_dock(dock, aircraft, organization, other_organization):
    moved([dock], other_organization)
    aircraft.refresh_from_db()
    assert (aircraft.organization, aircraft.gateway) == (organization, None)


def test_a_dock_keeps_its_mqtt_account_and_its_new_owner_has_it(lived_in, other_organization):
    moved([lived_in], other_organization)
    account = BrokerAccount.objects.get()
    assert (account.revoked_at, account.organization) == (None, other_organization)


def test_the_account_that_is_kept_names_no_person_of_the_former_owner(client, dock, alice, charlie, other_organization):
    accounts.issue(device=dock, actor=Actor(AuditEvent.Through.ADMIN, alice))
    moved([dock], other_organization)
    assert BrokerAccount.objects.get().created_by is None
    client.force_login(charlie)
    text = client.get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    assert dock.sn in text
    assert "alice" not in text


def test_a_dock_loses_its_mqtt_account_if_that_is_chosen(lived_in, organization, other_organization):
    moved([lived_in], other_organization, keep_accounts=False)
    account = BrokerAccount.objects.get()
    assert account.revoked_at is not None
    assert account.organization == organization


def test_the_dock_is_told_the_new_owner_and_no_former_name_when_it_asks_next(lived_in, other_organization):
    moved([lived_in], other_organization)
    [[status]] = questions.bind_status([(lived_in.sn, [lived_in.sn])])
    assert (status.is_device_bind_organization, status.organization_id) == (True, "87654321")
    assert (status.organization_name, status.device_callsign) == ("Northern Grid", "")


def test_a_code_of_the_former_owner_does_not_bring_the_dock_back(lived_in, code, other_organization):
    moved([lived_in], other_organization)
    assert bind([wanted(lived_in.sn, code[1])]) != [[0]]
    assert Device.objects.get(pk=lived_in.pk).organization == other_organization


def test_a_code_of_the_new_owner_is_met_already(lived_in, other_organization):
    moved([lived_in], other_organization)
    row, plain = BindingCode.objects.issue(organization=other_organization)
    assert bind([wanted(lived_in.sn, plain, organization_id="87654321", callsign="")]) == [[0]]
    row.refresh_from_db()
    assert row.uses == 0


@pytest.mark.parametrize("change", [{"device_limit": 1}, {"is_active": False}])
def test_all_stay_if_the_organization_has_no_room_or_is_not_active(dock, aircraft, other_organization, change):
    type(other_organization).objects.filter(pk=other_organization.pk).update(**change)
    with pytest.raises(transfer.Refused):
        moved([dock, aircraft], other_organization)
    assert not Device.objects.filter(organization=other_organization).exists()


def test_an_unclaimed_dock_is_assigned_and_no_longer_ignored(organization):
    stranger = Device.objects.create(sn="STRANGER", model_key="3-1-0", ignored_at=timezone.now())
    moved([stranger], organization)
    stranger.refresh_from_db()
    assert (stranger.organization, stranger.claim, stranger.ignored_at) == (organization, Device.Claim.PERSON, None)


def test_an_unclaimed_aircraft_that_is_left_behind_joins_its_dock_at_the_next_report_if_there_is_room(organization):
    dock = Device.objects.create(sn="STRANGER", model_key="3-1-0")
    update(report(dock.sn, "ITSDRONE"))
    type(organization).objects.filter(pk=organization.pk).update(device_limit=1)
    moved([dock], organization)
    update(report(dock.sn, "ITSDRONE"))
    assert Device.objects.get(sn="ITSDRONE").organization is None
    type(organization).objects.filter(pk=organization.pk).update(device_limit=2)
    update(report(dock.sn, "ITSDRONE"))
    assert Device.objects.get(sn="ITSDRONE").organization == organization


def test_a_device_that_changed_hands_meanwhile_is_left_alone(dock, organization, other_organization):
    Device.objects.filter(pk=dock.pk).update(organization=None)
    assert moved([dock], other_organization) == []
    assert moved([Device.objects.get(pk=dock.pk)], organization) != []
    assert moved([Device.objects.get(pk=dock.pk)], organization) == []


def test_the_plan_names_what_ends_and_costs_as_many_queries_for_many(
    lived_in, aircraft, other_organization, django_assert_max_num_queries
):
    with django_assert_max_num_queries(4):
        plan = transfer.plan([lived_in, aircraft], other_organization)
    dock_move, aircraft_move = plan.moves
    assert (dock_move.open_calls, dock_move.account, dock_move.has_broker_account) == (1, "pilot@example.org", True)
    assert [label.name for label in dock_move.labels] == ["Secret label"]
    assert aircraft_move.dock is None
    assert transfer.plan([aircraft], other_organization).moves[0].dock == lived_in


def test_the_plan_has_each_aircraft_below_its_dock(dock, organization, other_organization):
    other, stays = (Device.objects.create(sn=sn, model_key="3-1-0", organization=organization) for sn in ("Z", "STAYS"))
    aboard, apart = (Device.objects.create(sn=sn, model_key="0-91-0", organization=organization) for sn in "AB")
    Device.objects.filter(pk=aboard.pk).update(gateway=other)
    Device.objects.filter(pk=apart.pk).update(gateway=stays)
    plan = transfer.plan([apart, aboard, other, dock], other_organization)
    assert [move.device for move in plan.moves] == [dock, other, aboard, apart]
