"""Whose words the journal keeps, and how much of what passes by."""


def rows_of(world, sn):
    """(method, organization_id) of the rows that the journal has of this serial number."""
    return world.stack.rows(
        "SELECT e.method, o.organization_id FROM mqtt_bridge_exchange e"
        f" LEFT JOIN organizations_organization o ON o.id = e.organization_id WHERE e.gateway_sn = '{sn}' ORDER BY e.id"
    )


def bound_pair(world):
    dock, aircraft = world.new_sn(), world.new_sn("AIR")
    assert world.bind((dock, "3-3-0"), (aircraft, "0-100-0")) == [0, 0]
    world.topology(dock, (aircraft, 100, 0))
    return dock, aircraft


def test_what_an_aircraft_says_on_its_own_topic_belongs_to_its_organization(world):
    _, aircraft = bound_pair(world)
    assert world.ask(aircraft, "events", "hms", {"list": []}, need_reply=1) == {"result": 0}
    world.eventually(lambda: rows_of(world, aircraft))
    assert rows_of(world, aircraft) == [("hms", "12345678")]


def test_a_gateway_that_another_dock_called_its_aircraft_does_not_speak_for_that_dock(world):
    thief, victim = world.new_sn(), world.new_sn()
    assert world.bind_elsewhere((thief, "3-3-0"), (victim, "0-100-0")) == [0, 0]
    world.ask(victim, "requests", "config", {"config_type": "json", "config_scope": "product"})
    world.ask(victim, "events", "hms", {"list": []}, need_reply=1)
    world.eventually(lambda: len(rows_of(world, victim)) == 2)
    assert {owner for _, owner in rows_of(world, victim)} == {None}
