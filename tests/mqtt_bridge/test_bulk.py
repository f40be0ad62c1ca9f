"""Rows in bulk: keys before they are written."""

from devices.models import Device
from mqtt_bridge.bulk import append, number


def test_numbered_rows_are_written_with_their_keys_and_later_ones_get_others(db):
    first = Device.objects.create(sn="FIRST")
    rows = [Device(sn="BIRD"), Device(sn="DOCK")]
    number(Device, rows)
    rows[0].gateway = rows[1]  # which is written after it
    append(Device, rows)
    later = Device.objects.create(sn="LATER")
    assert len({first.pk, rows[0].pk, rows[1].pk, later.pk}) == 4
    assert Device.objects.get(sn="BIRD").gateway.sn == "DOCK"


def test_no_rows_cost_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        number(Device, [])
        append(Device, [])
