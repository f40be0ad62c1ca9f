"""Telemetry on its way to the database."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from mqtt_bridge import telemetry
from mqtt_bridge.telemetry import TelemetryBuffer
from tests.stack import wait_for


@pytest.fixture
def flushed(monkeypatch):
    """What the buffer handed over, flush by flush; a test may put an exception in front to have it raised."""
    monkeypatch.setattr(telemetry, "FLUSH_INTERVAL", 0.05)
    taken = []
    failures = []

    def sink(frames):
        if failures:
            raise failures.pop()
        taken.append(frames)
        return []

    monkeypatch.setattr(telemetry, "import_string", lambda _path: sink)
    return taken, failures


@pytest.fixture
def buffer(flushed):
    running = TelemetryBuffer(Counter())
    yield running
    running.stop()


def osd(**data):
    return json.dumps({"tid": "1", "bid": "1", "timestamp": 1654070968655, "data": data}).encode()


def test_frames_of_one_device_become_one(buffer, flushed):
    buffer.add("thing/product/DOCK1/osd", osd(mode_code=0, cover_state=1))
    buffer.add("thing/product/DOCK1/osd", osd(mode_code=4))
    buffer.start()
    wait_for(lambda: flushed[0])
    [[frame]] = flushed[0]
    assert (frame.sn, frame.data, frame.timestamp) == ("DOCK1", {"mode_code": 4, "cover_state": 1}, 1654070968655)


def test_large_fleet_is_written_a_part_at_a_time_those_that_wait_longest_first(buffer, flushed, monkeypatch):
    monkeypatch.setattr(telemetry, "DEVICES", 2)
    for number in (1, 2, 3, 4, 5, 1, 5):
        buffer.add(f"thing/product/DOCK{number}/osd", osd(mode_code=number))
    buffer.note_seen([("DOCK3", ""), ("DOCK6", "")], datetime.now(UTC))
    buffer.start()
    wait_for(lambda: len(flushed[0]) == 3)
    assert [[frame.sn for frame in frames] for frames in flushed[0]] == [
        ["DOCK1", "DOCK2"], ["DOCK3", "DOCK4"], ["DOCK5", "DOCK6"],
    ]  # fmt: skip


def test_what_is_left_at_the_end_is_written_in_one_part(buffer, flushed, monkeypatch):
    monkeypatch.setattr(telemetry, "DEVICES", 2)
    for number in range(5):
        buffer.add(f"thing/product/DOCK{number}/osd", osd(mode_code=number))
    buffer._stop.set()
    buffer.start()
    wait_for(lambda: flushed[0])
    assert len(flushed[0][0]) == 5


def test_room_of_what_is_written_is_free_again(buffer, flushed, monkeypatch):
    monkeypatch.setattr(telemetry, "BACKLOG_BYTES", 10_000)
    buffer.start()
    for _ in range(30):
        buffer.add("thing/product/DOCK1/osd", b"x" * 1000)
        wait_for(lambda: buffer._bytes_out == buffer._bytes_in)
    assert buffer._counters["telemetry_dropped"] == 0


def test_fault_while_storing_does_not_end_the_thread(buffer, flushed):
    taken, failures = flushed
    failures.append(ValueError("a fault of ours"))
    buffer.start()
    buffer.add("thing/product/DOCK1/osd", osd(mode_code=0))
    wait_for(lambda: not failures)
    buffer.add("thing/product/DOCK2/osd", osd(mode_code=0))
    wait_for(lambda: taken)


def test_backlog_is_limited_in_bytes(buffer, monkeypatch):
    monkeypatch.setattr(telemetry, "BACKLOG_BYTES", 10_000)
    for _ in range(100):
        buffer.add("thing/product/DOCK1/osd", b"x" * 1000)
    assert buffer._counters["telemetry_dropped"] == 90
    buffer.start()


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{nonsense", "osd: not_json: 9 bytes"),
        (b"x" * 262_145, "osd: too_large: 262145 bytes, at most 262144"),
        (b'{"data":' + b"[" * 40 + b"]" * 40 + b"}", "osd: too_deep: more than 32 levels"),
        (b'{"data":[1]}', "osd: data_invalid: data is of type list"),
    ],
)
def test_frame_that_cannot_be_read_is_counted_and_a_sign_of_life(buffer, flushed, payload, why):
    buffer.add("thing/product/DOCK1/osd", payload)
    buffer.add("thing/product/DOCK1/osd", payload)
    buffer.add("thing/product/DOCK2/osd", osd(mode_code=0))
    buffer.start()
    wait_for(lambda: flushed[0])
    refused, read = flushed[0][0]
    assert (refused.sn, refused.data, refused.refused, refused.refused_why) == ("DOCK1", {}, 2, why)
    assert refused.refused_at == refused.received_at
    assert (read.sn, read.refused) == ("DOCK2", 0)
    assert (buffer._counters["telemetry_refused"], buffer._counters["telemetry"]) == (2, 1)


def test_value_that_is_no_number_is_left_out_and_counted(buffer, flushed):
    buffer.add("thing/product/DOCK1/state", b'{"data":{"wind_speed":NaN,"height":-inf,"mode_code":4}}')
    buffer.start()
    wait_for(lambda: flushed[0])
    [[frame]] = flushed[0]
    assert (frame.data, frame.refused, frame.refused_why) == ({"mode_code": 4}, 2, "state: wind_speed is not a number")
    assert buffer._counters["telemetry_not_numbers"] == 2


@pytest.mark.parametrize("payload", [b"{}", b'{"tid":"1","data":null}', b'{"data":{}}'])
def test_frame_without_data_is_counted_and_a_sign_of_life(buffer, flushed, payload):
    buffer.add("thing/product/DOCK1/osd", payload)
    buffer.start()
    wait_for(lambda: flushed[0])
    [[frame]] = flushed[0]
    assert (frame.sn, frame.data, frame.refused) == ("DOCK1", {}, 0)
    assert buffer._counters["telemetry_without_data"] == 1


def test_refused_control_message_is_noted_beside_what_was_said_on_telemetry(buffer, flushed):
    buffer.add("thing/product/DOCK1/osd", osd(mode_code=0))
    buffer.note_seen([("DOCK1", "requests: not_json"), ("DOCK1", ""), ("DOCK2", "")], datetime.now(UTC))
    buffer.start()
    wait_for(lambda: flushed[0])
    assert [(frame.sn, frame.refused, frame.refused_why) for frame in flushed[0][0]] == [
        ("DOCK1", 1, "requests: not_json"),
        ("DOCK2", 0, ""),
    ]
