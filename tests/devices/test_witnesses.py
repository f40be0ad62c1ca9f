"""What telemetry shows of who belongs to whom; what follows from it is in tests/field/test_pairing.py."""

import pytest
from django.utils import timezone

from devices import witnesses
from devices.models import Device
from devices.witnesses import Sighting
from mqtt_bridge.protocol.device_properties import extract
from mqtt_bridge.telemetry import Frame

BIRD = {"device_sn": "BIRD1", "device_model_key": "0-91-0"}


def sighting(sn, before="", gateway="", **data):
    return Sighting(Frame(sn, timezone.now(), data=data, gateway=gateway), extract(data), before)


@pytest.mark.parametrize(
    ("sub_device", "before", "expected"),
    [
        (BIRD | {"device_online_status": 1}, "", ({"BIRD1": "0-91-0"}, True, False)),
        (BIRD | {"device_online_status": 0}, "BIRD1", ({"BIRD1": "0-91-0"}, False, False)),
        (BIRD, "BIRD2", ({"BIRD1": "0-91-0"}, None, True)),
        (BIRD | {"device_paired": 0}, "BIRD1", ({}, None, True)),
        (BIRD | {"device_paired": 0, "device_online_status": 1}, "BIRD1", ({"BIRD1": "0-91-0"}, True, False)),
        ({"device_online_status": 0}, "BIRD1", ({}, False, False)),
    ],
)
def test_what_a_dock_reports_about_its_aircraft(sub_device, before, expected):
    testimony = sighting("DOCK1", before, sub_device=sub_device).of_dock()
    assert (testimony.named, testimony.linked, testimony.instead) == expected


@pytest.mark.parametrize("data", [{}, {"sub_device": {}}, {"mode_code": 0}])
def test_a_frame_without_its_aircraft_reports_nothing_about_it(data):
    assert sighting("DOCK1", **data).of_dock() is None


@pytest.mark.django_db
def test_devices_that_repeat_themselves_cost_one_query(dock, aircraft, django_assert_num_queries):
    named = {"device_sn": aircraft.sn, "device_model_key": "0-91-0", "device_online_status": 1}
    sightings = [sighting(dock.sn, aircraft.sn, sub_device=named), sighting(aircraft.sn, gateway=dock.sn)]
    witnesses.learn(sightings, now=timezone.now())
    assert Device.objects.get(pk=aircraft.pk).gateway == dock
    with django_assert_num_queries(1):
        witnesses.learn(sightings, now=timezone.now())
