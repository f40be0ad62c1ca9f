"""The presence of a device, the same in Python and in SQL."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState
from devices.presence import Presence, Watch, watch
from mqtt_bridge.models import Heartbeat

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def device(sn, **state):
    row = Device.objects.create(sn=sn)
    if state:
        DeviceState.objects.create(device=row, **state)
    return row


@pytest.fixture
def everyone():
    device("SPEAKS", online=True, last_seen=NOW - timedelta(seconds=3))
    device("LEFT", online=False, last_seen=NOW - timedelta(hours=1))
    device("WAITED-FOR", online=True, last_seen=NOW - timedelta(hours=1))
    device("RELEASED-UNSEEN", online=False)
    device("PROVISIONED")


def said(watching):
    """By SN what is said; asserts that the filters say the same."""
    words = {}
    for row in Device.objects.select_related("state"):
        words[row.sn] = watching.presence(getattr(row, "state", None))
    for presence in Presence:
        found = set(Device.objects.filter(watching.matching(presence)).values_list("sn", flat=True))
        assert found == {sn for sn, word in words.items() if word == presence}, presence
    return {sn: str(word) for sn, word in words.items()}


@pytest.mark.usefixtures("everyone")
def test_while_the_bridge_lives_devices_are_online_offline_or_never_seen():
    assert said(Watch(NOW, bridge_alive=True)) == {
        "SPEAKS": "online",
        "LEFT": "offline",
        "WAITED-FOR": "unknown",
        "RELEASED-UNSEEN": "never",
        "PROVISIONED": "never",
    }


@pytest.mark.usefixtures("everyone")
def test_while_the_bridge_is_stale_nobody_is_online_or_offline():
    assert set(said(Watch(NOW, bridge_alive=False)).values()) == {"unknown", "never"}


@pytest.mark.parametrize(("age", "alive"), [(5, True), (31, False), (-5, True), (-3600, False)])
def test_the_bridge_lives_while_its_heartbeat_is_fresh(age, alive):
    Heartbeat.objects.create(instance="bridge", started_at=NOW, beat_at=NOW - timedelta(seconds=age), round_trip_ms=1)
    assert watch(NOW).bridge_alive is alive


def test_without_any_heartbeat_nothing_is_known():
    assert watch(NOW).bridge_alive is False


def test_a_heartbeat_from_before_our_clock_was_set_back_hides_no_living_bridge():
    for instance, age in (("dead", -3600), ("alive", 5), ("older", 10)):
        beat_at = timezone.now() - timedelta(seconds=age)
        Heartbeat.objects.create(instance=instance, started_at=NOW, beat_at=beat_at, round_trip_ms=1)
    assert Heartbeat.objects.current().instance == "alive"
    assert watch().bridge_alive is True


def test_for_people_nobody_was_seen_in_the_future():
    assert DeviceState(last_seen=None).seen is None
    assert DeviceState(last_seen=NOW).seen == NOW
    assert DeviceState(last_seen=NOW + timedelta(hours=1)).seen <= timezone.now()
