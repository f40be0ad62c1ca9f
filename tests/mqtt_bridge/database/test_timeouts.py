"""Rows that another transaction has locked: what waits, and that nothing is lost."""

import json
from collections import Counter
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import connection

from devices import device_state
from devices.models import Device, DeviceState
from mqtt_bridge import dispatch, journal
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.telemetry import Frame, TelemetryBuffer
from tests.web import database_url

pytestmark = pytest.mark.django_db(transaction=True)

TOPOLOGY = {"domain": "3", "type": 3, "sub_type": 0, "sub_devices": []}  # another model, so that it is written


@pytest.fixture
def somebody():
    """A connection of somebody else, who locks rows until `rollback()`; we wait for 100 ms."""
    with psycopg.connect(database_url()) as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 100")
        yield other
        other.rollback()
        cursor.execute("RESET lock_timeout")


def lock(somebody, table, where):
    assert somebody.execute(f"SELECT 1 FROM {table} WHERE {where} FOR UPDATE").fetchall()


def topology(sn, tid, *, at=None):
    message = {"tid": tid, "bid": tid, "method": "update_topo", "timestamp": 1654070968655, "data": TOPOLOGY}
    received = {"received_at": at} if at else {}
    return Delivery(topic=f"sys/product/{sn}/status", payload=json.dumps(message).encode(), mid=1, **received)


def handle(*deliveries):
    """What became of each delivery, in their order; None: it is held."""
    became = {}
    for wave in dispatch.handle(deliveries):
        became |= {result.decoded.delivery: result for result in wave.results} | dict.fromkeys(wave.held)
    return [became[delivery] for delivery in deliveries]


def outcomes(*deliveries):
    return [result.outcome if result else "held" for result in handle(*deliveries)]


def test_only_the_messages_of_the_locked_device_are_held_and_all_of_them(dock, somebody):
    locked, later, other = topology(dock.sn, "1"), topology(dock.sn, "2"), topology("OTHER", "3")
    lock(somebody, "devices_device", f"sn = '{dock.sn}'")
    assert outcomes(locked, later, other) == ["held", "held", "answered"]
    somebody.rollback()
    assert outcomes(locked, later) == ["answered", "answered"]


@pytest.mark.parametrize("is_still_locked", [True, False])
def test_what_a_device_sent_after_a_held_message_does_not_overtake_it(dock, somebody, is_still_locked):
    held, fresh = topology(dock.sn, "1"), topology(dock.sn, "2")
    held.was_held = True
    if is_still_locked:
        lock(somebody, "devices_device", f"sn = '{dock.sn}'")
    waves = list(dispatch.handle([held, fresh]))
    assert [one for wave in waves for one in wave.held] == ([held, fresh] if is_still_locked else [])
    answered = [result.decoded.delivery for wave in waves for result in wave.results]
    assert answered == ([] if is_still_locked else [held, fresh])


def test_what_was_held_for_too_long_is_answered_with_an_error(dock, somebody, caplog):
    lock(somebody, "devices_device", f"sn = '{dock.sn}'")
    [result] = handle(topology(dock.sn, "1", at=datetime.now(UTC) - dispatch.LONGEST_HOLD))
    assert result.outcome == "error"
    assert json.loads(result.reply)["data"]["result"] != 0
    assert "No handler could cope" in caplog.text


def test_a_locked_organization_puts_the_journal_off(dock, somebody, caplog):
    lock(somebody, "organizations_organization", f"id = {dock.organization_id}")
    for tid in "12":
        journal.write(handle(topology(dock.sn, tid)))
    assert not Exchange.objects.exists()
    assert "2 rows wait" in caplog.text
    somebody.rollback()
    journal.write([])  # a batch that holds our own ping, perhaps
    assert Exchange.objects.count() == 2
    journal.write(handle(topology(dock.sn, "3")))
    assert [*Exchange.objects.order_by("pk").values_list("tid", flat=True)] == ["1", "2", "3"]


def frame(sn, **data):
    at = datetime.now(UTC)
    return Frame(sn, at, timestamp=0, data=data, data_since=at)


def test_frames_of_locked_devices_are_put_off_and_merged_with_later_ones(dock, somebody):
    Device.objects.create(sn="NEW")
    buffer = TelemetryBuffer(Counter())
    for table, where in (("devices_devicestate", f"device_id = {dock.pk}"), ("devices_device", "sn = 'NEW'")):
        lock(somebody, table, where)
    buffer._frames = {sn: frame(sn, mode_code=1) for sn in (dock.sn, "NEW", "OTHER")}
    buffer._flush(device_state.store)
    assert buffer._frames.keys() == {dock.sn, "NEW"}
    assert DeviceState.objects.get(device__sn="OTHER").mode_code == 1
    somebody.rollback()
    buffer.add(f"thing/product/{dock.sn}/osd", json.dumps({"data": {"cover_state": 2}, "timestamp": 1}).encode())
    assert device_state.store(buffer._take(None)) == []
    properties = DeviceState.objects.get(device=dock).properties
    assert (properties["mode_code"], properties["cover_state"]) == (1, 2)
    assert DeviceState.objects.get(device__sn="NEW").mode_code == 1


def test_what_a_locked_dock_says_of_its_aircraft_is_learned_later(dock, aircraft, somebody):
    other = Device.objects.create(sn="OTHER", model_key="3-2-0", organization=dock.organization)
    lock(somebody, "devices_device", f"sn = '{dock.sn}'")

    def of(sn, aircraft_sn):
        told = {"device_sn": aircraft_sn, "device_model_key": "0-91-0", "device_online_status": 1, "device_paired": 1}
        return frame(sn, sub_device=told)

    device_state.store([of(dock.sn, "BIRD1"), of(other.sn, "BIRD2")])
    assert Device.objects.get(sn="BIRD2").gateway == other
    assert not Device.objects.filter(sn="BIRD1").exists()
    somebody.rollback()
    device_state.store([of(dock.sn, "BIRD1")])
    assert Device.objects.get(sn="BIRD1").gateway == dock
