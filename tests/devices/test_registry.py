"""Which devices are known; enabling, disabling and clearing out."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.broker import accounts
from devices.models import Device, DeviceState, ServiceCall
from devices.registry import clear_out, known, set_enabled
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.ages import age, moved

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def by(user=None):
    return Actor(AuditEvent.Through.ADMIN, user)


def test_disabling_is_audited_for_those_that_change(dock, aircraft, alice):
    Device.objects.filter(pk=aircraft.pk).update(is_enabled=False)
    assert set_enabled([dock, aircraft], enabled=False, actor=by(alice)) == [dock]
    event = AuditEvent.objects.get(action="disable")
    assert (event.user, event.organization, event.object_id) == (alice, dock.organization, str(dock.pk))
    assert not Device.objects.filter(is_enabled=True).exists()


def unclaimed(sn, *, days, **fields):
    device = Device.objects.create(sn=sn, **fields)
    DeviceState.objects.create(device=device, last_seen=NOW - timedelta(days=days))
    Device.objects.filter(pk=device.pk).update(created=NOW - timedelta(days=30))
    return device


def test_only_old_unclaimed_enabled_devices_are_cleared_out(dock):
    Device.objects.filter(pk=dock.pk).update(created=NOW - timedelta(days=30))
    DeviceState.objects.filter(device=dock).update(last_seen=NOW - timedelta(days=20))
    unclaimed("OLD", days=9)
    unclaimed("FRESH", days=1)
    unclaimed("SHUT-OUT", days=9, is_enabled=False)
    Device.objects.create(sn="JUST-ADDED")
    accounts.issue(device=unclaimed("AWAITED", days=9), actor=by())
    accounts.revoke([accounts.issue(device=unclaimed("REVOKED", days=9), actor=by())[0]], actor=by())
    asked = unclaimed("ASKED-ONCE", days=9)
    ServiceCall.objects.create(device=asked, organization=dock.organization, method="unlock_license_update")
    assert clear_out(days=7, now=NOW, actor=by()) == 2
    left = {dock.sn, "FRESH", "SHUT-OUT", "JUST-ADDED", "AWAITED", "ASKED-ONCE"}
    assert set(Device.objects.values_list("sn", flat=True)) == left
    assert set(AuditEvent.objects.filter(action="delete").values_list("object_name", flat=True)) == {"OLD", "REVOKED"}


def test_clearing_out_many_takes_as_many_queries_as_one(django_assert_max_num_queries, django_assert_num_queries):
    unclaimed("ONE", days=9)
    with django_assert_max_num_queries(17) as one:
        assert clear_out(days=7, now=NOW, actor=by()) == 1
    for number in range(90):
        unclaimed(f"OLD{number}", days=9)
    with django_assert_num_queries(len(one)):
        assert clear_out(days=7, now=NOW, actor=by()) == 90


def test_only_what_was_not_disabled_yet_counts_as_changed(dock, aircraft, alice):
    set_enabled([aircraft], enabled=False, actor=by(alice))
    age(dock, aircraft)
    set_enabled([dock, aircraft], enabled=False, actor=by(alice))
    assert (moved(dock), moved(aircraft)) == (True, False)


def test_what_somebody_owns_is_known(dock):
    Device.objects.create(sn="STRANGER")
    assert list(known()) == [dock.sn]
