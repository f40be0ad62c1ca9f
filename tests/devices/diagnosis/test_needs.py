"""Why a device needs a person."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.diagnosis import needs
from devices.models import Device, DeviceState
from mqtt_bridge.models import Exchange

pytestmark = pytest.mark.django_db


def attempt(sn, *, reason="", minutes=1, method="airport_organization_bind", outcome="answered"):
    return Exchange.objects.create(
        gateway_sn=sn,
        channel="requests",
        method=method,
        received_at=timezone.now() - timedelta(minutes=minutes),
        outcome=outcome,
        reason=reason,
    )


def words(device):
    """What is said of the device; asserts that the filter agrees."""
    device = Device.objects.select_related("state").get(pk=device.pk)
    exchanges = Exchange.objects.all()
    found = needs.refusals([device], exchanges, timezone.now())
    said = needs.needs(device, found.get(device.sn, ()))
    needing = needs.needing(Device.objects.all(), exchanges, timezone.now())
    assert needing.filter(pk=device.pk).exists() is any(not need.is_quiet for need in said)
    return [need.words for need in said]


def test_a_healthy_dock_needs_nothing(dock):
    attempt(dock.sn)
    assert words(dock) == []


def test_a_disabled_device_is_marked_and_needs_nobody(dock):
    Device.objects.filter(pk=dock.pk).update(is_enabled=False)
    assert words(dock) == ["disabled"]
    [need] = needs.needs(Device.objects.get(pk=dock.pk))
    assert (need.is_quiet, need.css) == (True, "needs quiet")


def test_what_else_is_wrong_with_a_disabled_device_needs_attention(dock):
    Device.objects.filter(pk=dock.pk).update(is_enabled=False)
    DeviceState.objects.filter(device=dock).update(clock_skew_ms=-7_200_000)
    assert words(dock) == ["disabled", "clock 2 h behind"]


@pytest.mark.parametrize(
    ("skew_ms", "said"),
    [
        (300_000, []),
        (300_001, ["clock 5 min ahead"]),
        (-7_200_000, ["clock 2 h behind"]),
        (-20 * 365 * 86_400_000, ["clock not set, it shows a time before 2020"]),
        (-(10**14), ["clock not set, it shows a time before 2020"]),
        (10**14, ["clock 1157407 days ahead"]),
        (None, []),
    ],
)
def test_a_clock_more_than_five_minutes_off_needs_attention(dock, skew_ms, said):
    DeviceState.objects.filter(device=dock).update(clock_skew_ms=skew_ms)
    assert words(dock) == said


def test_an_aircraft_in_a_dock_that_nobody_owns_needs_attention(aircraft):
    Device.objects.filter(pk=aircraft.pk).update(organization=None)
    assert words(aircraft) == ["not bound"]


@pytest.mark.parametrize("method", ["airport_organization_get", "airport_organization_bind"])
def test_a_refused_binding_needs_attention(method):
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, reason="code expired", method=method)
    assert words(device) == ["binding refused"]


@pytest.mark.parametrize("reason", ["no DJI license configured", "device disabled"])
def test_a_refused_license_needs_attention_whatever_the_binding(reason):
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, reason=reason, method="config")
    attempt(device.sn, minutes=0)
    assert words(device) == ["DJI license refused"]


def test_a_license_that_was_given_at_last_hides_no_refused_binding():
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, reason="no DJI license configured", method="config", minutes=3)
    attempt(device.sn, reason="code expired", minutes=2)
    attempt(device.sn, method="config", minutes=1)
    assert words(device) == ["binding refused"]


def test_a_disabled_device_is_not_told_twice(dock):
    Device.objects.filter(pk=dock.pk).update(is_enabled=False, bound_at=None)
    attempt(dock.sn, reason="device disabled", method="config")
    assert words(dock) == ["disabled"]


def test_a_message_that_could_not_be_read_counts_as_refused():
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, outcome="quarantined", reason="data_invalid: bind_devices")
    assert words(device) == ["binding refused"]


def test_only_the_last_attempt_counts():
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, reason="code expired", minutes=2)
    attempt(device.sn, minutes=1)
    assert words(device) == []


def test_a_refusal_from_before_the_binding_concerns_nobody(dock):
    attempt(dock.sn, reason="code expired", minutes=10)
    assert words(dock) == []


def test_a_refusal_after_the_binding_needs_attention(dock):
    Device.objects.filter(pk=dock.pk).update(bound_at=timezone.now() - timedelta(days=2))
    attempt(dock.sn, reason="code expired", minutes=10)
    assert words(dock) == ["binding refused"]


def test_another_organizations_code_at_a_bound_dock_is_no_refused_binding(dock):
    Device.objects.filter(pk=dock.pk).update(bound_at=timezone.now() - timedelta(days=2))
    attempt(dock.sn, reason=f"{dock.sn}: bound to another organization; DRONE: bound to another organization")
    assert words(dock) == ["another's code tried"]
    attempt(dock.sn, reason="DRONE: bound to another organization", minutes=0)
    assert words(dock) == ["binding refused"]


def test_a_refusal_of_last_month_concerns_nobody():
    device = Device.objects.create(sn="NEWDOCK")
    attempt(device.sn, reason="code expired", minutes=60 * 24 * 8)
    assert words(device) == []
