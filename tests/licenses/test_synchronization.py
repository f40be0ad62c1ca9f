"""Reading license lists by schedule."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState, ServiceCall
from licenses.models import LicenseList
from licenses.synchronization import RETRY_AFTER, synchronize
from organizations.models import AuditEvent, Organization
from tests.devices.calls.cases import make_call
from tests.devices.calls.test_service_calls import _bridge, close_overdue, fleet  # noqa: F401

pytestmark = pytest.mark.django_db

NOW = timezone.now


def read(dock, domain, *, hours_ago):
    at = NOW() - timedelta(hours=hours_ago)
    LicenseList.objects.create(device=dock, device_model_domain=domain, complete=True, asked_at=at, fetched_at=at)


def asked():
    """Which inventories of which docks are being read."""
    calls = ServiceCall.objects.filter(method="unlock_license_list").select_related("device")
    return {(call.device.sn, call.data["device_model_domain"]) for call in calls}


def test_both_lists_of_a_dock_that_was_never_read_are_read(dock, aircraft):
    assert synchronize() == 2
    assert asked() == {(dock.sn, 0), (dock.sn, 3)}
    assert set(AuditEvent.objects.values_list("through", flat=True)) == {"schedule"}
    assert not ServiceCall.objects.filter(by_schedule=False).exists()


def test_list_is_read_again_when_it_is_as_old_as_its_organization_wants(dock):
    read(dock, 0, hours_ago=23)
    read(dock, 3, hours_ago=25)
    assert synchronize() == 1
    assert asked() == {(dock.sn, 3)}


def test_organization_may_want_it_oftener_or_never(dock, organization):
    read(dock, 0, hours_ago=3)
    read(dock, 3, hours_ago=3)
    Organization.objects.update(license_sync_hours=None)
    assert synchronize() == 0
    Organization.objects.update(license_sync_hours=2)
    assert synchronize() == 2


@pytest.mark.parametrize(("method", "inventories"), [("unlock_license_switch", {0}), ("unlock_license_update", {0, 3})])
def test_list_that_nobody_asked_for_after_a_change_is_read_within_a_minute(dock, organization, method, inventories):
    """The bridge was killed after it stored the dock's answer, and before it asked what follows."""
    Organization.objects.update(license_sync_hours=None)
    read(dock, 0, hours_ago=2)
    read(dock, 3, hours_ago=2)
    call = make_call(dock, method=method, data={}, status="succeeded", closed=NOW() - timedelta(seconds=50))
    assert synchronize() == 0
    call.closed -= timedelta(seconds=20)
    call.save()
    assert synchronize() == len(inventories)
    assert asked() == {(dock.sn, domain) for domain in inventories}
    for domain in inventories:
        read(dock, domain, hours_ago=0)
    ServiceCall.objects.exclude(pk=call.pk).delete()
    assert synchronize() == 0


@pytest.mark.parametrize("end", [{"status": "failed"}, {"created": NOW() - timedelta(days=8)}])
def test_change_that_failed_or_is_long_ago_wants_no_list(dock, end):
    read(dock, 0, hours_ago=2)
    read(dock, 3, hours_ago=2)
    closed = NOW() - timedelta(hours=1)
    make_call(dock, **{"method": "unlock_license_switch", "status": "succeeded", "closed": closed} | end)
    assert synchronize() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda: DeviceState.objects.update(online=False),
        lambda: Device.objects.update(is_enabled=False),
        lambda: Device.objects.update(organization=None),
        lambda: Organization.objects.update(is_active=False),
    ],
)
def test_dock_that_cannot_or_must_not_answer_is_left_alone(dock, change):
    change()
    assert synchronize() == 0


def test_dock_that_did_not_answer_is_not_asked_again_at_once(dock):
    assert synchronize() == 2
    close_overdue(minutes=2)
    assert synchronize() == 0
    ServiceCall.objects.update(created=NOW() - RETRY_AFTER - timedelta(seconds=1))
    assert synchronize() == 2


def test_many_are_read_in_turn_those_never_read_first(organization, settings):
    settings.LICENSE_SYNC_PER_MINUTE = 5
    old, *never = fleet(organization, 4)
    read(old, 0, hours_ago=100)
    read(old, 3, hours_ago=100)
    assert synchronize() == 5
    assert {sn for sn, domain in asked() if domain == 0} == {dock.sn for dock in [*never, old]}
    assert synchronize() == 3
    assert synchronize() == 0


def test_without_a_worker_nothing_is_asked(dock, settings):
    settings.COMMANDS_AVAILABLE = False
    assert synchronize() == 0


def test_cost_does_not_grow_with_the_fleet(organization, django_assert_max_num_queries):
    fleet(organization, 10)
    with django_assert_max_num_queries(40):
        assert synchronize() == 20
