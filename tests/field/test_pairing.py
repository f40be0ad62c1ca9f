"""Which aircraft belongs to which dock: what real docks send, in any order and with what they may leave out."""

import pytest

from tests.stack import CODE

M4D = "0-100-0"
DOCK3 = "3-3-0"


@pytest.fixture
def dock(world):
    return world.new_sn("DOCK")


@pytest.fixture
def aircraft(world):
    return world.new_sn("BIRD")


def own(aircraft, *, online=1, paired=1, **more):
    """Property `sub_device` of a Dock 3."""
    return {
        "device_sn": aircraft,
        "device_model_key": M4D,
        "device_online_status": online,
        "device_paired": paired,
    } | more


def place(world, aircraft):
    """(organization, dock) of an aircraft."""
    device = world.device(aircraft)
    return device["organization"], device["gateway"]


def settles(world, aircraft, expected):
    """Wait until telemetry has put it there; the comparison says what is wrong if it never does."""
    seen = []

    def arrived():
        seen[:] = [place(world, aircraft)] if world.key_of(aircraft) else []
        return seen == [expected]

    try:
        world.eventually(arrived, 20)
    except AssertionError:
        assert seen == [expected]


def is_bound_with(world, dock, aircraft):
    assert world.bind((dock, DOCK3), (aircraft, M4D)) == [0, 0]


# --- idle: the aircraft is switched off ---


def test_an_aircraft_that_switches_off_stays_the_docks_on_its_page_and_in_rest(world, dock, aircraft):
    is_bound_with(world, dock, aircraft)
    world.topology(dock, (aircraft, 100, 0))
    world.topology(dock)
    assert place(world, aircraft) == ("12345678", dock)
    assert world.device(aircraft)["presence"] == "offline"
    assert world.device(dock)["presence"] == "online"
    assert f"Callsign {aircraft} ({aircraft}) switched off" in world.device_page(dock)
    assert world.get(f"devices/{dock}/", include="carried")["carried"] == [aircraft]


def test_a_release_takes_the_switched_off_aircraft_too_and_the_next_owner_binds_both(world, dock, aircraft):
    is_bound_with(world, dock, aircraft)
    world.topology(dock, (aircraft, 100, 0))
    world.topology(dock)
    assert sorted(world.post(f"devices/{dock}/release/")["released"]) == sorted([dock, aircraft])
    assert world.bind_elsewhere((dock, DOCK3), (aircraft, M4D)) == [0, 0]
    assert place(world, aircraft) == ("87654321", dock)


def test_silence_ends_no_pairing(world, dock, aircraft):
    is_bound_with(world, dock, aircraft)
    world.osd(dock, mode_code=0)
    world.osd(dock, sub_device={"device_online_status": 0})
    world.osd(dock, sub_device=own(aircraft, online=0))
    world.topology(dock)
    world.topology(dock, sub_devices=None)
    assert place(world, aircraft) == ("12345678", dock)


def test_an_aircraft_that_its_dock_reports_as_not_connected_stays_offline(world, dock, aircraft):
    """`mode_code` 14 (DJI: aircraft properties), which FlightHub 2, too, shows of an aircraft that is switched off."""
    is_bound_with(world, dock, aircraft)
    world.topology(dock)
    assert world.ask(aircraft, "events", "hms", {"list": []}, gateway=dock, need_reply=1) == {"result": 0}
    world.osd(aircraft, gateway=dock, mode_code=14)
    world.eventually(lambda: world.device(aircraft)["state"]["mode"] == "not connected")
    assert world.device(aircraft)["presence"] == "offline"
    world.osd(aircraft, gateway=dock, mode_code=0)
    world.eventually(lambda: world.device(aircraft)["presence"] == "online")


# --- any order, before or after there is an owner ---


def test_topology_before_the_bind_and_none_after_it(world, dock, aircraft):
    world.topology(dock, (aircraft, 100, 0))
    is_bound_with(world, dock, aircraft)
    world.osd(dock, mode_code=0)
    world.osd(aircraft, gateway=dock, mode_code=0)
    assert place(world, aircraft) == ("12345678", dock)


def test_ten_docks_at_once_with_their_topology_before_the_bind(world):
    pairs = [(world.new_sn("MANY"), world.new_sn("FLOCK")) for _ in range(10)]
    for dock, aircraft in pairs:
        world.say(f"sys/product/{dock}/status", topology_of(dock, aircraft))
    for dock, aircraft in pairs:
        world.say(f"thing/product/{dock}/requests", bind_of(dock, aircraft))
    for dock, aircraft in pairs:
        world.osd(dock, sub_device=own(aircraft))
        world.osd(aircraft, gateway=dock, mode_code=0)
    for dock, aircraft in pairs:
        settles(world, aircraft, ("12345678", dock))


def topology_of(dock, aircraft):
    sub = {"sn": aircraft, "domain": "0", "type": 100, "sub_type": 0, "index": "A"}
    data = {"domain": "3", "type": 3, "sub_type": 0, "sub_devices": [sub]}
    return {"tid": f"t{dock}", "bid": "", "timestamp": 1700000000000, "method": "update_topo", "data": data}


def bind_of(dock, aircraft):
    entries = [
        {"sn": sn, "device_model_key": key, "organization_id": "12345678", "device_binding_code": CODE}
        for sn, key in ((dock, DOCK3), (aircraft, M4D))
    ]
    data = {"bind_devices": entries}
    method = "airport_organization_bind"
    return {"tid": f"b{dock}", "bid": "", "timestamp": 1700000000000, "method": method, "data": data}


def test_topology_before_a_bind_of_the_dock_alone(world, dock, aircraft):
    world.topology(dock, (aircraft, 100, 0))
    assert world.bind((dock, DOCK3)) == [0]
    assert place(world, aircraft) == ("12345678", dock)


def test_a_bind_request_without_any_topology(world, dock, aircraft):
    is_bound_with(world, dock, aircraft)
    assert place(world, aircraft) == ("12345678", dock)


def test_a_dock_bound_alone_whose_properties_name_its_aircraft(world, dock, aircraft):
    assert world.bind((dock, DOCK3)) == [0]
    world.osd(aircraft, mode_code=0)  # heard of before anybody says what it is
    world.osd(dock, sub_device=own(aircraft))
    settles(world, aircraft, ("12345678", dock))
    assert world.device(aircraft)["model_key"] == M4D
    assert [row["sn"] for row in world.get("devices/", kind="dock", search=aircraft)["results"]] == []


def test_the_first_page_of_dock_1_calls_the_model_product_type(world, dock, aircraft):
    assert world.bind((dock, "3-1-0")) == [0]
    told = own(aircraft, product_type="0-67-0")
    del told["device_model_key"]
    world.osd(dock, sub_device=told)
    settles(world, aircraft, ("12345678", dock))
    assert world.device(aircraft)["model_key"] == "0-67-0"


def test_a_dock_3_gives_the_model_of_its_aircraft_only_while_that_is_on(world, dock, aircraft):
    """Recorded in github.com/damon-liu/Dji-cloud-api-tool (off) and github.com/SMengqi/sim_dji_cloud (on)."""
    assert world.bind((dock, DOCK3)) == [0]
    world.osd(dock, sub_device={"device_sn": aircraft, "device_online_status": 0, "device_paired": 1})
    world.eventually(lambda: "its model is not known until it is switched on" in world.device_page(dock))
    world.osd(dock, sub_device=own(aircraft))
    settles(world, aircraft, ("12345678", dock))
    assert "is not its owner's" not in world.device_page(dock)


def test_properties_before_the_bind(world, dock, aircraft):
    world.osd(dock, sub_device=own(aircraft))
    settles(world, aircraft, (None, dock))
    assert world.device(dock)["model_key"] == DOCK3  # the dock that a Matrice 4D is made for
    assert world.bind((dock, "")) == [0]
    assert place(world, aircraft) == ("12345678", dock)


def test_a_bind_entry_without_a_model_is_an_aircraft_if_the_dock_listed_it(world, dock, aircraft):
    assert world.bind((dock, DOCK3), (aircraft, "")) == [0, 210231]
    other = world.new_sn("BIRD")
    world.topology(dock, sub_devices=[{"sn": other, "index": "A"}])
    assert world.bind((dock, DOCK3), (other, "")) == [0, 0]
    assert place(world, other) == ("12345678", dock)


def test_the_aircrafts_own_gateway_pairs_and_does_not_change_its_owner(world, dock, aircraft):
    assert world.bind((dock, DOCK3)) == [0]
    world.osd(aircraft, gateway=dock, mode_code=0)
    world.eventually(lambda: "only the aircraft says" in world.device_page(dock))
    assert world.device(aircraft)["organization"] is None
    world.osd(dock, sub_device=own(aircraft))
    settles(world, aircraft, ("12345678", dock))
    assert "is not its owner's" not in world.device_page(dock)


def test_a_device_known_from_telemetry_alone_is_no_dock(world, aircraft):
    world.osd(aircraft, mode_code=0)
    world.eventually(lambda: world.key_of(aircraft))
    assert [row["sn"] for row in world.get("devices/", kind="dock", search=aircraft)["results"]] == []
    assert aircraft not in world.page(f"devices/device/?kind=dock&q={aircraft}")
    assert aircraft in world.page(f"devices/device/?kind=unknown&q={aircraft}")


def test_an_aircraft_of_another_organization_stays_there(world, dock, aircraft):
    other = world.new_sn("DOCK")
    assert world.bind_elsewhere((other, DOCK3), (aircraft, M4D)) == [0, 0]
    assert world.bind((dock, DOCK3)) == [0]
    world.topology(dock, (aircraft, 100, 0))
    world.topology(dock)
    assert place(world, aircraft) == ("87654321", other)


# --- two docks, one aircraft ---


def test_an_aircraft_that_two_docks_list_is_in_the_one_of_its_best_link(world, dock, aircraft):
    other = world.new_sn("DOCK")
    is_bound_with(world, dock, aircraft)
    assert world.bind((other, DOCK3)) == [0]
    world.topology(dock, (aircraft, 100, 0))
    world.topology(other, (aircraft, 100, 0))
    world.state(aircraft, gateway=other, best_link_gateway=dock)
    settles(world, aircraft, ("12345678", dock))
    world.topology(other)
    assert place(world, aircraft) == ("12345678", dock)
    assert world.device(aircraft)["presence"] == "online"


def test_an_aircraft_goes_back_when_the_other_dock_lets_go(world, dock, aircraft):
    other = world.new_sn("DOCK")
    is_bound_with(world, dock, aircraft)
    assert world.bind((other, DOCK3)) == [0]
    world.topology(dock, (aircraft, 100, 0))
    world.topology(other, (aircraft, 100, 0))
    assert place(world, aircraft) == ("12345678", other)
    world.topology(other)
    assert place(world, aircraft) == ("12345678", dock)
    assert world.device(aircraft)["presence"] == "online"


def test_docks_that_repeat_themselves_do_not_pull_an_aircraft_to_and_fro(world, dock, aircraft):
    other = world.new_sn("DOCK")
    is_bound_with(world, dock, aircraft)
    assert world.bind((other, DOCK3)) == [0]
    world.osd(other, sub_device=own(aircraft))
    settles(world, aircraft, ("12345678", other))
    before = pairings(world, aircraft)
    for number in range(3):
        world.osd(dock, sub_device=own(aircraft), height=number)
        world.osd(aircraft, gateway=dock, mode_code=0)
        world.osd(other, sub_device=own(aircraft), height=number)
        world.osd(aircraft, gateway=other, mode_code=number)
        world.eventually(lambda number=number: world.device(aircraft)["state"]["mode_code"] == number)
        assert place(world, aircraft) == ("12345678", other)
    assert pairings(world, aircraft) == before


def pairings(world, aircraft):
    sql = (
        "SELECT d.sn, p.until IS NULL FROM devices_pairing p JOIN devices_device d ON d.id = p.dock_id"
        f" JOIN devices_device a ON a.id = p.aircraft_id WHERE a.sn = '{aircraft}' ORDER BY p.id"
    )
    return [(sn, bool(is_open)) for sn, is_open in world.stack.rows(sql)]


# --- replacement ---


def test_an_aircraft_that_is_replaced_leaves_the_dock_and_the_new_one_is_adopted(world, dock, aircraft):
    new = world.new_sn("BIRD")
    is_bound_with(world, dock, aircraft)
    world.osd(dock, sub_device=own(aircraft, online=0))
    world.osd(dock, sub_device=own(new, online=0))
    settles(world, new, ("12345678", dock))
    assert place(world, aircraft) == ("12345678", None)
    assert pairings(world, aircraft) == [(dock, False)]
    page = world.device_page(dock)
    assert f"Callsign {aircraft}" in page
    assert "properties of the dock" in page


def test_a_dock_that_says_that_nothing_is_paired_has_no_aircraft(world, dock, aircraft):
    is_bound_with(world, dock, aircraft)
    world.osd(dock, sub_device=own("", online=0, paired=0))
    settles(world, aircraft, ("12345678", None))


def test_a_new_aircraft_over_the_limit_is_said_on_the_page_and_in_the_journal(world, dock, aircraft):
    new = world.new_sn("BIRD")
    is_bound_with(world, dock, aircraft)
    try:
        world.patch("organizations/12345678/", {"device_limit": 1})
        world.osd(dock, sub_device=own(new))
        world.eventually(lambda: "device limit" in world.device_page(dock))
        assert world.device(new)["organization"] is None
        reasons = [row["reason"] for row in world.get(f"devices/{dock}/exchanges/")["results"]]
        assert sum("device limit of the organization reached" in reason for reason in reasons) == 1
    finally:
        world.patch("organizations/12345678/", {"device_limit": None})
    world.osd(dock, sub_device=own(new))
    settles(world, new, ("12345678", dock))
    assert "is not its owner's" not in world.device_page(dock)
