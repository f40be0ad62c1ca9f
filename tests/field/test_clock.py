"""Clocks that are wrong: a device's, which is reported, and ours, which was set back."""

import time
from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
def bound(world):
    """The serial number of a Dock 3 that is bound."""
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    return sn


def osd_at(world, sn, timestamp):
    """A frame of osd with the time that the device's clock shows."""
    world.say(f"thing/product/{sn}/osd", {"timestamp": timestamp, "gateway": sn, "data": {"mode_code": 0}}, qos=0)


def now_ms():
    return int(time.time() * 1000)


def test_a_clock_that_nobody_set_is_said_on_the_page_and_on_the_start_page(world, bound):
    osd_at(world, bound, 35_000)
    world.eventually(lambda: world.device(bound)["state"]["clock_skew_ms"] is not None)
    assert world.device(bound)["state"]["clock_skew_ms"] == pytest.approx(35_000 - now_ms(), abs=600_000)
    page = world.device_page(bound)
    assert "clock not set, it shows a time before 2020" in page
    assert "319008" in page
    assert "wrong clock" in world.page("")
    assert bound in world.page("devices/device/?clock=wrong&claimed=yes")


@pytest.mark.parametrize(
    ("off_ms", "words"), [(450_000, "clock 7 min ahead"), (-7_500_000, "clock 2 h behind"), (0, "")]
)
def test_a_clock_more_than_five_minutes_off_is_said(world, bound, off_ms, words):
    osd_at(world, bound, now_ms() + off_ms)
    world.eventually(lambda: world.device(bound)["state"]["clock_skew_ms"] is not None)
    assert (words or "Clock") in (page := world.device_page(bound))
    assert ("319008" in page) is bool(words)


def test_without_a_timestamp_nothing_is_said_of_the_clock(world, bound):
    world.say(f"thing/product/{bound}/osd", {"gateway": bound, "data": {"mode_code": 3}}, qos=0)
    world.eventually(lambda: world.device(bound)["state"]["mode_code"] == 3)
    assert world.device(bound)["state"]["clock_skew_ms"] is None
    assert "319008" not in world.device_page(bound)


FUTURE = """
from datetime import timedelta
from django.utils import timezone
from devices.models import DeviceState
moment = timezone.now() + timedelta(hours=1)
print(DeviceState.objects.filter(device__sn__in={sns!r}).update(last_seen=moment, cleared_at=moment))
"""


def last_seen(world, sn):
    return datetime.fromisoformat(world.device(sn)["last_seen"])


def test_after_our_clock_was_set_back_a_silent_dock_was_last_seen_now_and_not_in_the_future(world, bound):
    speaking = world.new_sn()
    assert world.bind((speaking, "3-3-0")) == [0]
    assert world.stack.manage("shell", "-v0", "-c", FUTURE.format(sns=[bound, speaking])).strip() == "2"
    assert last_seen(world, bound) <= datetime.now(UTC)
    world.osd(speaking, mode_code=7)
    world.eventually(lambda: world.device(speaking)["state"]["mode_code"] == 7)
    rows = f"SELECT last_seen FROM devices_devicestate WHERE device_id = {world.key_of(bound)}"
    soon = str(datetime.now(UTC) + timedelta(minutes=30))
    world.eventually(lambda: str(world.stack.rows(rows)[0][0]) < soon)
    assert "Last seen in" not in world.device_page(bound)
