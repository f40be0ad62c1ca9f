"""What real docks send that no page of DJI's shows: it is taken for what it means."""

import pytest

AIRCRAFT = {"sn": "", "type": 100, "sub_type": 1, "index": "A"}


@pytest.fixture
def bound(world):
    """The serial number of a Dock 3 that is bound."""
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    return sn


def test_topology_without_domains_is_understood_by_the_types(world, bound):
    aircraft = world.new_sn("AIR")
    world.ask(bound, "status", "update_topo", {"type": 3, "sub_type": 0, "sub_devices": [AIRCRAFT | {"sn": aircraft}]})
    assert (world.device(bound)["model_key"], world.device(aircraft)["model_key"]) == ("3-3-0", "0-100-1")
    assert world.device(aircraft)["gateway"] == bound


def test_topology_of_unknown_products_without_domains_is_understood_by_their_places(world, bound):
    aircraft = world.new_sn("AIR")
    subs = [{"sn": aircraft, "type": 777, "sub_type": 2}]
    world.ask(bound, "status", "update_topo", {"type": 888, "sub_devices": subs})
    assert (world.device(bound)["model_key"], world.device(aircraft)["model_key"]) == ("3-888-0", "0-777-2")


def test_topology_under_thing_is_answered_under_thing(world, bound):
    aircraft = world.new_sn("AIR")
    subs = [AIRCRAFT | {"sn": aircraft, "domain": "0"}]
    data = {"domain": "3", "type": 3, "sub_type": 0, "sub_devices": subs}
    assert world.ask(bound, "status", "update_topo", data, prefix="thing") == {"result": 0}
    assert world.device(aircraft)["gateway"] == bound
