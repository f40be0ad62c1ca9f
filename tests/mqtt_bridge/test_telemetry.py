"""Telemetry on its way to the database."""

import json
from collections import Counter

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


def test_malformed_frame_is_counted_and_the_others_are_kept(buffer, flushed):
    buffer.add("thing/product/DOCK1/osd", b"{nonsense")
    buffer.add("thing/product/DOCK2/osd", osd(mode_code=0))
    buffer.start()
    wait_for(lambda: flushed[0])
    assert [frame.sn for frame in flushed[0][0]] == ["DOCK2"]
    assert buffer._counters["telemetry_refused"] == 1
