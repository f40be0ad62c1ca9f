"""Telemetry into the state of devices."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices import device_state
from devices.binding import release
from devices.models import Device, DeviceState
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.telemetry import Frame
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.ages import age, moved

pytestmark = pytest.mark.django_db


def frame(sn, at=None, **data):
    at = at or datetime.now(UTC)
    return Frame(sn, at, timestamp=int(at.timestamp() * 1000) + 2500, data=data, data_since=at)


def test_partial_frames_are_merged(dock):
    device_state.store([frame(dock.sn, mode_code=0, cover_state=1)])
    device_state.store([frame(dock.sn, mode_code=4, latitude=22.5, longitude=113.9)])
    state = DeviceState.objects.get(device=dock)
    assert state.properties == {"mode_code": 4, "cover_state": 1, "latitude": 22.5, "longitude": 113.9}
    assert (state.mode_code, state.latitude, state.longitude) == (4, 22.5, 113.9)
    assert state.clock_skew_ms == pytest.approx(2500, abs=2)


def test_any_word_of_an_unknown_device_makes_it_known_and_online():
    device_state.store([frame("DOCK9")])
    device = Device.objects.get(sn="DOCK9")
    assert (device.organization, device.state.online) == (None, True)


def told(sn, *messages):
    """A frame of messages, each (channel, seconds ago, data)."""
    made, now = Frame(sn, datetime.now(UTC)), datetime.now(UTC)
    for channel, ago, data in messages:
        made.add(channel, json.dumps({"data": data}).encode(), now - timedelta(seconds=ago), Counter())
    return made


def test_message_that_is_written_after_a_newer_one_of_its_kind_changes_nothing(dock):
    """Two processes share the messages of a dock, and the one that got the older ones writes them later."""
    newer = [(Channel.OSD, 3, {"mode_code": 4, "latitude": 1.5, "longitude": 2.5}), (Channel.STATE, 3, {"version": 2})]
    older = [(Channel.OSD, 4, {"mode_code": 0, "latitude": 9.5, "longitude": 9.5}), (Channel.STATE, 4, {"version": 1})]
    device_state.store([told(dock.sn, *newer)])
    device_state.store([told(dock.sn, *older)])
    state = DeviceState.objects.get(device=dock)
    assert state.properties == {"mode_code": 4, "latitude": 1.5, "longitude": 2.5, "version": 2}
    assert (state.mode_code, state.latitude, state.longitude) == (4, 1.5, 2.5)


def test_message_that_is_written_after_a_newer_one_of_another_kind_counts(dock):
    device_state.store([told(dock.sn, (Channel.OSD, 2, {"a": 1}), (Channel.STATE, 2, {"b": 1, "c": 1}))])
    device_state.store([told(dock.sn, (Channel.OSD, 1, {"a": 3}), (Channel.STATE, 1, {"b": 3}))])
    device_state.store([told(dock.sn, (Channel.OSD, 1.5, {"d": 2}), (Channel.STATE, 1.5, {"b": 2, "c": 2}))])
    assert DeviceState.objects.get(device=dock).properties == {"a": 3, "b": 3, "c": 2, "d": 2}


def test_position_out_of_range_is_not_taken(dock):
    device_state.store([frame(dock.sn, latitude=95.0, longitude=9.0)])
    assert DeviceState.objects.get(device=dock).latitude == 53.5


def test_properties_stop_growing_at_64_kib(dock):
    device_state.store([frame(dock.sn, small=1)])
    device_state.store([frame(dock.sn, large="x" * 70_000, mode_code=3)])
    state = DeviceState.objects.get(device=dock)
    assert (state.properties, state.mode_code) == ({"small": 1}, 3)


def test_telemetry_of_the_former_owner_that_arrives_after_the_release_is_dropped(dock, alice):
    before = datetime.now(UTC) - timedelta(milliseconds=500)
    release([dock], actor=Actor(AuditEvent.Through.ADMIN, alice))
    device_state.store([frame(dock.sn, at=before, latitude=22.5, longitude=113.9)])
    state = DeviceState.objects.get(device=dock)
    assert (state.latitude, state.properties) == (None, {})


def test_hundred_devices_cost_as_many_queries_as_one(organization):
    Device.objects.bulk_create(Device(sn=f"DOCK{number}") for number in range(100))

    def queries(count):
        with CaptureQueriesContext(connection) as captured:
            device_state.store([frame(f"DOCK{number}", mode_code=1) for number in range(count)])
        writes = [query for query in captured if query["sql"].startswith(("INSERT", "UPDATE"))]
        return len(captured), len(writes)

    assert queries(1) == queries(100)
    assert queries(100)[1] == 1


def test_telemetry_is_no_change_of_the_device(dock):
    age(dock)
    device_state.store([frame(dock.sn, latitude=22.5, longitude=113.9)])
    assert DeviceState.objects.get(device=dock).latitude == 22.5
    assert not moved(dock)


def test_refused_messages_add_up_and_go_with_the_owner(dock, alice):
    at = datetime.now(UTC)
    for count, why in ((2, "osd: not_json"), (1, "state: too_deep")):
        device_state.store([Frame(dock.sn, at, refused=count, refused_at=at, refused_why=why)])
    device_state.store([frame(dock.sn, mode_code=0)])
    state = DeviceState.objects.get(device=dock)
    assert (state.refused, state.refused_at, state.refused_why) == (3, at, "state: too_deep")
    release([dock], actor=Actor(AuditEvent.Through.ADMIN, alice))
    assert DeviceState.objects.get(device=dock).refused == 0


def test_after_our_clock_was_set_back_a_device_that_speaks_was_last_seen_now(dock):
    """Its row and the frame on its way are dated in the future."""
    later = datetime.now(UTC) + timedelta(hours=1)
    DeviceState.objects.filter(device=dock).update(last_seen=later, online=False, cleared_at=later)
    device_state.store([frame(dock.sn, at=later - timedelta(minutes=1), mode_code=7)])
    state = DeviceState.objects.get(device=dock)
    assert (state.online, state.mode_code) == (True, 7)
    assert state.last_seen <= datetime.now(UTC)


def test_frame_from_before_the_device_went_offline_does_not_bring_it_back(dock):
    gone = datetime.now(UTC)
    DeviceState.objects.filter(device=dock).update(last_seen=gone, online=False)
    device_state.store([frame(dock.sn, at=gone - timedelta(seconds=1))])
    assert DeviceState.objects.get(device=dock).online is False
