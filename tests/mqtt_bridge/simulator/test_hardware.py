"""The devices of a dock and how messages name them, without a connection."""

from collections.abc import Iterable

import pytest

from mqtt_bridge.simulator.hardware import Device, Hardware
from mqtt_bridge.simulator.osd import Telemetry


def hardware(*model_keys: str, habits: Iterable[str] = (), on: bool = True) -> Hardware:
    """Device 1 is the dock, device 2 its aircraft."""
    devices = [Device(f"SN{number}", key, "") for number, key in enumerate(model_keys, 1)]
    return Hardware(devices, Telemetry(0.0, 0.0), habits=habits, aircraft_on=on)


def test_topology_names_the_aircraft_while_it_is_on() -> None:
    dock = hardware("3-2-0", "0-91-1")
    topology = dock.topology()
    assert (topology["domain"], topology["type"], topology["sub_type"]) == ("3", 2, 0)
    [aircraft] = topology["sub_devices"]
    assert (aircraft["sn"], aircraft["domain"], aircraft["type"], aircraft["sub_type"]) == ("SN2", "0", 91, 1)
    dock.aircraft_on = False
    assert dock.topology()["sub_devices"] == []


def test_dock_without_an_aircraft_has_none_on() -> None:
    dock = hardware("3-2-0")
    assert (dock.aircraft, dock.is_paired, dock.aircraft_on, dock.relays_aircraft) == (None, False, False, False)


@pytest.mark.parametrize("keys", [("dock",), ("3-2",), ("3-2-0", "0-91-x")])
def test_bad_model_key_is_refused(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="Not a model key"):
        hardware(*keys, on=False)


def test_aircraft_with_a_bad_model_key_is_not_paired() -> None:
    dock = hardware("3-2-0", "0-91-1")
    with pytest.raises(ValueError, match="Not a model key"):
        dock.pair(Device("SN3", "M3D", ""))
    assert dock.sns == ["SN1", "SN2"]


def test_shared_aircraft_reports_through_one_dock_until_one_gets_another() -> None:
    first, second = hardware("3-2-0", "0-91-1"), hardware("3-2-0", "0-91-1")
    second.sn = "SN9"
    second.share_aircraft_of(first)
    assert (first.relays_aircraft, second.relays_aircraft) == (True, False)
    first.pair(Device("SN3", "0-91-1", ""))
    assert second.best_link_gateway == "SN9"
