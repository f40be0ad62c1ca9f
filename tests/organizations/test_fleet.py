"""How many docks are online: the same number as in the list of devices."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState
from devices.presence import Presence, watch
from mqtt_bridge.models import Heartbeat
from organizations.fleet import with_counts
from organizations.models import Organization


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("silence", [None, 0, 70, 80, 10_000])
def test_a_dock_counts_as_online_where_the_list_of_devices_calls_it_so(organization, settings, online, silence):
    settings.DEVICE_OFFLINE_AFTER = 60
    dock = Device.objects.create(sn="DOCK0001", model_key="3-2-0", organization=organization)
    last_seen = None if silence is None else timezone.now() - timedelta(seconds=silence)
    state = DeviceState.objects.create(device=dock, online=online, last_seen=last_seen)
    counted = with_counts(Organization.objects.all()).get().docks_online
    assert counted == (watch().presence(state) == Presence.ONLINE)
    assert counted == (online and silence in (None, 0, 70))
    assert counted == Device.objects.filter(watch().matching(Presence.ONLINE)).count()


def test_a_dock_that_is_switched_off_is_not_counted_as_online(organization, dock):
    assert with_counts(Organization.objects.all()).get().docks_online == 1
    Device.objects.update(is_enabled=False)
    counted = with_counts(Organization.objects.all()).get()
    assert (counted.docks, counted.docks_online) == (1, 0)


@pytest.mark.parametrize(("age", "alive"), [(5, True), (31, False), (-3600, False)])
def test_the_bridge_lives_as_the_list_of_devices_says_it(organization, age, alive):
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(seconds=age))
    assert with_counts(Organization.objects.all()).get().is_bridge_alive is alive
    assert watch().bridge_alive is alive
