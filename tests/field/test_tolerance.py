"""What real docks send that no DJI page shows, and how it is understood."""

import json
import uuid

import pytest

AIRCRAFT = {"sn": "", "type": 100, "sub_type": 1, "index": "A"}


@pytest.fixture
def bound(world):
    """The serial number of a Dock 3 that is bound."""
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    return sn


def frame(sn, data, **more):
    """The text of an osd message; `data` is text, too, for JSON knows no NaN."""
    return json.dumps({"tid": "t", "bid": "b", "gateway": sn} | more)[:-1] + f', "data": {data}}}'


def counter(world, name):
    """A counter of the bridge as its latest heartbeat has it, which comes every ten seconds."""
    [[counters]] = world.stack.rows("SELECT counters FROM mqtt_bridge_heartbeat")
    return (json.loads(counters) if isinstance(counters, str) else counters).get(name, 0)


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


def test_byte_order_mark_before_a_request_and_before_osd_is_skipped(world, bound):
    tid = str(uuid.uuid4())
    message = {"tid": tid, "bid": tid, "method": "airport_bind_status", "data": {"devices": [{"sn": bound}]}}
    world.say(f"thing/product/{bound}/requests", "\ufeff" + json.dumps(message))
    assert world.reply(f"thing/product/{bound}/requests_reply", tid)["result"] == 0
    world.say(f"thing/product/{bound}/osd", "\ufeff" + frame(bound, '{"mode_code": 4}'), qos=0)
    world.eventually(lambda: world.device(bound)["state"]["mode_code"] == 4)


def test_values_that_are_no_numbers_do_not_hide_the_rest_of_the_frame(world, bound):
    data = '{"mode_code": 4, "wind_speed": NaN, "n": {"rate": -nan(ind), "quality": 5}, "a": [1e400, "NaN"], "h": -inf}'
    world.say(f"thing/product/{bound}/osd", frame(bound, data), qos=0)
    world.eventually(lambda: world.device(bound)["state"]["mode_code"] == 4)
    device = world.get(f"devices/{bound}/", include="state,properties")
    assert device["properties"] == {"mode_code": 4, "n": {"quality": 5}, "a": [None, "NaN"]}
    assert (device["presence"], device["state"]["refused"]) == ("online", 4)
    page = world.device_page(bound)
    assert "4 messages or values" in page
    assert "osd: wind_speed is not a number" in page
    world.eventually(lambda: counter(world, "telemetry_not_numbers") >= 4)


UNREADABLE = {
    "osd": b"\x00\xff",
    "state": b'{"data":{"a":"' + b"x" * 262_144 + b'"}}',
    "events": b"[" * 40 + b"]" * 40,
    "requests": b"not JSON",
    "services_reply": b"",
    "property/set_reply": b'{"tid":"\\u0000"}',
    "status": b"[1]",
}


def test_message_that_cannot_be_read_is_a_sign_of_life_and_shows_on_the_page(world):
    docks = {channel: world.new_sn() for channel in UNREADABLE}
    for channel, sn in docks.items():
        world.say(f"thing/product/{sn}/{channel}", UNREADABLE[channel])
    for channel, sn in docks.items():
        world.eventually(lambda sn=sn: world.key_of(sn) and world.device(sn)["presence"] == "online")
        state = world.device(sn)["state"]
        assert (state["refused"], state["refused_why"].split(":")[0]) == (1, channel)
    assert state["refused_why"] in world.device_page(sn)


def test_frame_without_data_is_a_sign_of_life(world):
    messages = {world.new_sn(): message for message in ({}, {"tid": "t", "gateway": "X"}, {"data": None}, {"data": {}})}
    for sn, message in messages.items():
        world.say(f"thing/product/{sn}/osd", message, qos=0)
    for sn in messages:
        world.eventually(lambda sn=sn: world.key_of(sn) and world.device(sn)["presence"] == "online")
    world.eventually(lambda: counter(world, "telemetry_without_data") >= len(messages))
