"""Releasing a device: the next owner sees nothing of the former one."""

import pytest
from django.utils import timezone

from devices.binding import release
from devices.models import Device, DeviceAccount, DeviceState
from licenses.models import LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode
from organizations.tenancy import restrict
from tests.devices.test_binding import bind, wanted

pytestmark = pytest.mark.django_db


@pytest.fixture
def lived_in(dock):
    """A dock with everything an owner leaves behind."""
    now = timezone.now()
    DeviceAccount.objects.create(device=dock, username="pilot@example.org")
    UnlockLicense.objects.create(device=dock, device_model_domain=0, license_id=240330, type=0)
    LicenseList.objects.create(device=dock, device_model_domain=0, complete=True, fetched_at=now)
    DeviceState.objects.filter(device=dock).update(properties={"home": "secret"})
    Exchange.objects.create(
        gateway_sn=dock.sn, organization=dock.organization, channel="requests", received_at=now, outcome="answered"
    )
    return dock


def released(device, user):
    return release([device], actor=Actor(AuditEvent.Through.ADMIN, user))


def test_release_forgets_owner_name_position_licenses_and_account(lived_in, alice):
    assert released(lived_in, alice) == [lived_in]
    device = Device.objects.get(pk=lived_in.pk)
    assert (device.organization, device.callsign, device.bound_at, device.bound_with) == (None, "", None, None)
    assert (device.state.latitude, device.state.longitude, device.state.properties) == (None, None, {})
    assert not DeviceAccount.objects.exists()
    assert not UnlockLicense.objects.exists()
    assert not LicenseList.objects.exists()


def test_released_device_can_be_bound_by_another_organization_which_sees_no_journal(lived_in, alice, charlie):

    theirs = charlie.memberships.get().organization
    _, plain = BindingCode.objects.issue(organization=theirs)
    released(lived_in, alice)
    assert bind([wanted(lived_in.sn, plain, organization_id="87654321")]) == [[0]]
    assert Device.objects.visible_to(charlie).get().sn == lived_in.sn
    assert not restrict(Exchange.objects.all(), charlie).exists()
    assert restrict(Exchange.objects.all(), alice).count() == 1
    assert not AuditEvent.objects.visible_to(charlie).filter(action="release").exists()


def test_a_device_that_another_bound_meanwhile_stays_theirs(lived_in, alice, other_organization):
    Device.objects.filter(pk=lived_in.pk).update(organization=other_organization)
    assert released(lived_in, alice) == []
    assert Device.objects.get(pk=lived_in.pk).organization == other_organization


def test_release_is_audited(lived_in, alice):
    released(lived_in, alice)
    event = AuditEvent.objects.get(action="release")
    assert (event.user, event.organization, event.before["callsign"]) == (
        alice,
        alice.memberships.get().organization,
        "Pier 7",
    )


def test_unclaimed_device_is_not_released_again(lived_in, alice):
    released(lived_in, alice)
    assert released(lived_in, alice) == []


def test_aircraft_that_stays_is_no_longer_carried_by_the_released_dock(lived_in, aircraft, alice):
    released(lived_in, alice)
    aircraft.refresh_from_db()
    assert (aircraft.gateway, aircraft.organization) == (None, alice.memberships.get().organization)
