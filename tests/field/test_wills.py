"""What the broker sends in the name of a dock whose connection is gone."""

import json

import pytest

from mqtt_bridge.line.client import build_client, cut, parse_url

AIRCRAFT = ("0-100-0", 100, 0)


def bound_pair(world):
    """A dock and its aircraft, bound, both online."""
    dock, aircraft = world.new_sn(), world.new_sn("AIR")
    assert world.bind((dock, "3-3-0"), (aircraft, AIRCRAFT[0])) == [0, 0]
    world.topology(dock, (aircraft, *AIRCRAFT[1:]))
    assert presence(world, dock) == presence(world, aircraft) == "online"
    return dock, aircraft


def presence(world, sn):
    return world.device(sn)["presence"]


def last_message(world, sn, method):
    return world.get(f"devices/{sn}/exchanges/", method=method, include="payload")["results"][0]


@pytest.mark.parametrize("form", [{"online": False}, {"status": "offline"}, {"data": {"online": 0}}])
def test_a_last_will_that_says_offline_is_believed_at_once(world, form):
    dock, aircraft = bound_pair(world)
    client = build_client(parse_url(world.stack.broker.url), client_id=dock)
    client.will_set(f"sys/product/{dock}/status", json.dumps(form), qos=1)
    client.connect("127.0.0.1", world.stack.broker.port)
    client.loop_start()
    world.eventually(client.is_connected)
    cut(client)
    world.eventually(lambda: presence(world, dock) == "offline", 30)
    assert presence(world, aircraft) == "offline"
    # The journal follows what a message changes.
    world.eventually(lambda: last_message(world, dock, "update_topo")["became"] == "noted")
    assert last_message(world, dock, "update_topo")["payload"] == form.get("data", form)
    client.loop_stop()


def test_a_topology_that_says_offline_is_answered_and_believed(world):
    dock, aircraft = bound_pair(world)
    assert world.topology(dock, status="offline") == {"result": 0}
    assert (presence(world, dock), presence(world, aircraft)) == ("offline", "offline")
    world.topology(dock)
    assert presence(world, dock) == "online"


def test_a_message_without_tid_is_no_sign_of_life_and_is_kept_readable(world):
    dock, _ = bound_pair(world)
    before = world.topology(dock, online=False)
    assert before == {"result": 0}
    data = {"domain": "3", "type": 3, "sub_type": 0, "sub_devices": []}
    world.say(f"sys/product/{dock}/status", {"method": "update_topo", "data": data})
    world.eventually(lambda: last_message(world, dock, "update_topo")["became"] == "quarantined")
    row = last_message(world, dock, "update_topo")
    assert row["payload"] == data
    assert row["reason"].startswith("tid_missing")
    bystander = world.new_sn()
    world.osd(bystander, mode_code=0)  # written together with all that was seen before it
    world.eventually(lambda: world.key_of(bystander))
    assert presence(world, dock) == "offline"
