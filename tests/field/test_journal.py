"""Whose messages the journal keeps, and how many of the other events."""


def rows(world, sn, table="exchange"):
    """(method, organization_id) of what is kept of this serial number."""
    return world.stack.rows(
        f"SELECT e.method, o.organization_id FROM mqtt_bridge_{table} e"
        f" LEFT JOIN organizations_organization o ON o.id = e.organization_id WHERE e.gateway_sn = '{sn}' ORDER BY e.id"
    )


def passing(world, sn):
    return rows(world, sn, "passingevent")


def bound_pair(world):
    dock, aircraft = world.new_sn(), world.new_sn("AIR")
    assert world.bind((dock, "3-3-0"), (aircraft, "0-100-0")) == [0, 0]
    world.topology(dock, (aircraft, 100, 0))
    return dock, aircraft


def hms(world, sn, number=0):
    assert world.ask(sn, "events", "hms", {"list": [], "number": number}, need_reply=1) == {"result": 0}


def test_what_an_aircraft_says_on_its_own_topic_belongs_to_its_organization(world):
    _, aircraft = bound_pair(world)
    hms(world, aircraft)
    world.eventually(lambda: passing(world, aircraft))
    assert passing(world, aircraft) == [("hms", "12345678")]


def test_a_gateway_that_another_dock_called_its_aircraft_does_not_speak_for_that_dock(world):
    thief, victim = world.new_sn(), world.new_sn()
    assert world.bind_elsewhere((thief, "3-3-0"), (victim, "0-100-0")) == [0, 0]
    world.ask(victim, "requests", "config", {"config_type": "json", "config_scope": "product"})
    hms(world, victim)
    world.eventually(lambda: passing(world, victim))
    assert {owner for _, owner in rows(world, victim) + passing(world, victim)} == {None}


def test_events_that_pass_by_are_counted_and_kept_in_full_only_while_a_person_traces_the_device(world):
    dock, _ = bound_pair(world)
    for number in range(3):
        hms(world, dock, number)
    world.eventually(lambda: [event["count"] for event in world.get(f"devices/{dock}/events/")["results"]] == [3])
    [event] = world.get(f"devices/{dock}/events/", include="payload")["results"]
    assert (event["method"], event["payload"]["number"]) == ("hms", 2)
    assert "hms" not in dict(rows(world, dock))

    world.post(f"devices/{dock}/trace/", {"minutes": 10})
    hms(world, dock, 3)
    hms(world, dock, 4)
    world.eventually(lambda: [method for method, _ in rows(world, dock)].count("hms") == 2)
    assert "Each event is kept until" in world.device_page(dock)

    world.post(f"devices/{dock}/trace/", {"minutes": 0})
    hms(world, dock, 5)
    world.eventually(lambda: world.get(f"devices/{dock}/events/")["results"][0]["count"] == 6)
    assert [method for method, _ in rows(world, dock)].count("hms") == 2
