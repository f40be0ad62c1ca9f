"""Retired devices: out of sight, back when they are bound again, deleted when their history is gone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from cloudapi import retention
from devices.broker import accounts
from devices.models import BrokerAccount, Device, ServiceCall
from devices.moving import retiring
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.devices.calls.cases import make_call
from tests.devices.test_binding import bind, wanted
from tests.devices.test_topology import report, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, alice)


@pytest.fixture
def retired(dock, actor):
    make_call(dock, status="succeeded", closed=timezone.now())
    retiring.retire([dock], actor=actor)
    return Device.objects.get(pk=dock.pk)


def test_a_retired_device_is_released_and_its_history_stays_with_its_organization(retired, organization, alice):
    assert (retired.organization, retired.callsign) == (None, "")
    assert retired.retired_at is not None
    assert ServiceCall.objects.visible_to(alice).get().device == retired
    assert AuditEvent.objects.get(action="retire").organization == organization
    assert AuditEvent.objects.filter(action__in=("release", "retire")).values("request_id").distinct().count() == 1


def test_it_takes_no_room_among_unclaimed_devices(retired):
    assert not Device.objects.uninvited().exists()


def test_a_retired_dock_that_binds_is_in_use_again(retired, code, organization):
    assert bind([wanted(retired.sn, code[1])]) == [[0]]
    retired.refresh_from_db()
    assert (retired.organization, retired.retired_at) == (organization, None)


def test_a_retired_aircraft_that_its_dock_names_is_in_use_again(dock, aircraft, actor, organization):
    retiring.retire([aircraft], actor=actor)
    update(report(dock.sn, aircraft.sn))
    aircraft.refresh_from_db()
    assert (aircraft.organization, aircraft.retired_at) == (organization, None)


def test_telemetry_alone_brings_nothing_back(retired):
    update(report(retired.sn))
    assert Device.objects.get(pk=retired.pk).retired_at is not None


def test_a_person_takes_it_back_once(retired, actor):
    assert retiring.restore([retired], actor=actor) == [retired]
    assert retiring.restore([retired], actor=actor) == []
    assert Device.objects.get(pk=retired.pk).retired_at is None


def test_an_account_of_an_unclaimed_device_ends_when_it_is_retired(actor):
    device = Device.objects.create(sn="STRANGER", model_key="3-1-0")
    accounts.issue(device=device, actor=actor)
    retiring.retire([device], actor=actor)
    assert BrokerAccount.objects.get().revoked_at is not None


def test_it_is_deleted_when_its_history_is_gone_and_not_before(retired, settings):
    later = timezone.now() + timedelta(days=settings.JOURNAL_DAYS + 1)
    assert retention.prune(now=later)["Device"] == 0
    ServiceCall.objects.all().delete()
    assert retention.prune(now=timezone.now())["Device"] == 0
    retention.prune(now=later)
    assert not Device.objects.filter(pk=retired.pk).exists()


def test_a_device_that_came_back_at_this_moment_is_not_deleted(retired, organization):
    ServiceCall.objects.all().delete()
    Device.objects.filter(pk=retired.pk).update(organization=organization, retired_at=None)
    retiring.delete_finished([retired.pk])
    assert Device.objects.filter(pk=retired.pk).exists()
