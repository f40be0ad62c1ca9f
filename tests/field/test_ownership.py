"""What a dock reports changes no owner: neither its own type nor the devices it names (docs/decisions/0007).

Two organizations, each with a dock that may publish on all its own topics and those of the aircraft it names.
"""

import pytest

from tests.field.test_pairing import M4D, own, settles

DOCK3 = "3-3-0"
ELSEWHERE = 210232


@pytest.fixture
def dock(world):
    """Bound to Harbour with its code."""
    sn = world.new_sn("DOCK")
    assert world.bind((sn, DOCK3)) == [0]
    return sn


@pytest.fixture
def mallory(world):
    """A dock of Northern Grid."""
    sn = world.new_sn("MALLORY")
    assert world.bind_elsewhere((sn, DOCK3)) == [0]
    return sn


def owner(world, sn):
    """The id of the organization that has this device."""
    sql = f"""SELECT o.organization_id FROM devices_device d
    JOIN organizations_organization o ON o.id = d.organization_id WHERE d.sn = '{sn}'"""
    return (world.stack.rows(sql) or [(None,)])[0][0]


# What a dock may say of itself, and another one of it.
SAID = {
    "it is an aircraft": lambda world, dock, _: world.topology(dock, domain="0", type=60),
    "it is an aircraft without a type": lambda world, dock, _: world.topology(dock, domain="0", type=None),
    "it is a remote controller": lambda world, dock, _: world.topology(dock, domain="2", type=56),
    "it is of no domain": lambda world, dock, _: world.topology(dock, domain=None),
    "it binds as an aircraft": lambda world, dock, _: world.bind((dock, "0-60-0")),
    "it binds without a type": lambda world, dock, _: world.bind((dock, "")),
    "it has an aircraft of its own name": lambda world, dock, _: world.topology(dock, (dock, 100, 0)),
    "it carries the other one": lambda world, dock, mallory: world.topology(dock, (mallory, 100, 0)),
    "its osd names another gateway": lambda world, dock, mallory: world.osd(dock, gateway=mallory, mode_code=0),
    "another one carries it": lambda world, dock, mallory: world.topology(mallory, (dock, 100, 0)),
    "another one binds it": lambda world, dock, mallory: world.bind_elsewhere((mallory, DOCK3), (dock, M4D)),
    "another one's osd names it": lambda world, dock, mallory: world.osd(mallory, sub_device=own(dock)),
}


@pytest.mark.parametrize("said", SAID)
def test_a_bound_dock_keeps_its_owner_whatever_is_said(world, dock, mallory, said):
    for mark in (1, 2):
        SAID[said](world, dock, mallory)
        world.osd(dock, mode_code=mark)  # once this is stored, so are the properties before it
        world.eventually(lambda mark=mark: (world.device(dock)["state"] or {}).get("mode_code") == mark)
        assert world.bind_elsewhere((dock, DOCK3)) == [ELSEWHERE]
        [told] = world.ask(dock, "requests", "airport_bind_status", {"devices": [{"sn": dock}]})["output"][
            "bind_status"
        ]
        assert told["is_device_bind_organization"]
        assert told["organization_id"] == "12345678"
        assert owner(world, dock) == "12345678"


NAMED = {
    "in a bind": lambda world, mallory, sn: world.bind_elsewhere((mallory, DOCK3), (sn, M4D)),
    "in a topology": lambda world, mallory, sn: world.topology(mallory, (sn, 100, 0)),
    "in its properties": lambda world, mallory, sn: world.osd(mallory, sub_device=own(sn)),
    "and speaks for it": lambda world, mallory, sn: (
        world.topology(mallory, (sn, 100, 0)),
        world.osd(sn, gateway=mallory, mode_code=0, latitude=1.0, longitude=2.0),
    ),
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("disabled", [False, True])
def test_a_dock_that_another_one_named_binds_with_its_owners_code_at_once(world, mallory, named, disabled):
    sn = world.new_sn("DOCK")
    NAMED[named](world, mallory, sn)
    world.eventually(lambda: owner(world, sn) == "87654321")
    if disabled:
        world.stack.rows(f"UPDATE devices_device SET is_enabled = false WHERE sn = '{sn}' RETURNING id")
    assert world.bind((sn, DOCK3)) == [0]
    assert owner(world, sn) == "12345678"
    device = world.device(sn)
    assert (device["model_key"], device["gateway"]) == (DOCK3, None)
    NAMED[named](world, mallory, sn)
    assert owner(world, sn) == "12345678"


@pytest.mark.parametrize("named", [name for name in NAMED if name != "and speaks for it"])
def test_an_aircraft_that_another_dock_named_comes_to_the_dock_that_has_it(world, dock, mallory, named):
    aircraft = world.new_sn("BIRD")
    NAMED[named](world, mallory, aircraft)
    world.eventually(lambda: owner(world, aircraft) == "87654321")
    assert world.bind((dock, DOCK3), (aircraft, M4D)) == [0, ELSEWHERE]  # both docks only say so
    world.topology(dock, (aircraft, 100, 0))
    world.osd(aircraft, gateway=dock, mode_code=0)
    heard = f"SELECT p.is_heard FROM devices_pairing p JOIN devices_device d ON d.id = p.dock_id WHERE d.sn = '{dock}'"
    world.eventually(lambda: any(is_heard for (is_heard,) in world.stack.rows(heard)))
    assert world.bind((dock, DOCK3), (aircraft, M4D)) == [0, 0]
    settles(world, aircraft, ("12345678", dock))


def test_an_aircraft_that_spoke_through_its_owners_dock_is_not_taken(world, dock, mallory):
    aircraft = world.new_sn("BIRD")
    assert world.bind((dock, DOCK3), (aircraft, M4D)) == [0, 0]
    world.osd(aircraft, gateway=dock, mode_code=0)
    world.eventually(lambda: (world.device(aircraft)["state"] or {}).get("mode_code") == 0)
    NAMED["and speaks for it"](world, mallory, aircraft)
    world.eventually(lambda: (world.device(aircraft)["state"] or {}).get("latitude") == 1.0)
    assert world.bind_elsewhere((mallory, DOCK3), (aircraft, M4D)) == [0, ELSEWHERE]
    assert owner(world, aircraft) == "12345678"


def test_a_dock_has_at_most_eight_aircraft(world, dock):
    birds = [world.new_sn("BIRD") for _ in range(20)]
    world.topology(dock, *((bird, 100, 0) for bird in birds[:10]))
    assert sum(owner(world, bird) is not None for bird in birds) == 8
    assert sum(world.key_of(bird) is not None for bird in birds) == 8
    bound = world.bind((dock, DOCK3), *((bird, M4D) for bird in birds[10:]))
    assert bound == [0] * 9 + [210231] * 2
