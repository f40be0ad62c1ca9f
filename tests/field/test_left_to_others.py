"""Another service on the same broker: the bridge leaves alone what that answers."""

import json
import threading
import time

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client

from mqtt_bridge.line.client import parse_url
from tests.field.world import World
from tests.stack import running_stack

LEFT = "storage_config_get,file_upload_callback,flighttask_resource_get"


@pytest.fixture(scope="module")
def world(prepared, tmp_path_factory):
    """As the world of this folder, with a bridge that leaves some methods to others; one database is enough."""
    with running_stack(
        "sqlite", tmp_path_factory.mktemp("left"), template=prepared("sqlite"), MQTT_LEAVE_METHODS=LEFT
    ) as stack:
        stack.start_bridge()
        world = World(stack)
        try:
            yield world
        finally:
            world.close()


@pytest.fixture(scope="module")
def media(world):
    """Answers storage_config_get and file_upload_callback after 20 ms of work, and nothing else."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="media")

    def answer(client, _userdata, message):
        said = json.loads(message.payload)
        if said["method"] in ("storage_config_get", "file_upload_callback"):
            time.sleep(0.02)
            reply = {key: said[key] for key in ("tid", "bid", "method")} | {"data": {"result": 0, "output": "media"}}
            client.publish(f"{message.topic}_reply", json.dumps(reply), qos=1)

    is_subscribed = threading.Event()
    client.on_message = answer
    client.on_subscribe = lambda *_: is_subscribed.set()
    address = parse_url(world.stack.broker.url)
    client.connect(address.host, address.port)
    client.subscribe([("thing/product/+/requests", 1), ("thing/product/+/events", 1)])
    client.loop_start()
    assert is_subscribed.wait(60)
    yield
    client.disconnect()
    client.loop_stop()


def rows(world, sn, method):
    """(outcome, reason, reply) of what the journal has of it."""
    columns = "outcome, reason, reply"
    return world.stack.rows(
        f"SELECT {columns} FROM mqtt_bridge_exchange WHERE gateway_sn = '{sn}' AND method = '{method}' ORDER BY id"
    )


@pytest.mark.parametrize(
    ("channel", "method"), [("requests", "storage_config_get"), ("events", "file_upload_callback")]
)
def test_the_other_service_alone_answers_and_the_journal_has_its_answer(world, media, channel, method):
    dock = world.new_sn()
    for _ in range(5):
        assert world.ask(dock, channel, method, {"module": 0}, need_reply=1) == {"result": 0, "output": "media"}
    world.eventually(lambda: sum(bool(reply) for _, _, reply in rows(world, dock, method)) == 5)
    assert len(rows(world, dock, method)) == 5
    for outcome, reason, reply in rows(world, dock, method):
        assert (outcome, json.loads(reply)) == ("left", {"result": 0, "output": "media"})
        assert reason.startswith("left to others; answered after ")


def test_what_nobody_answers_is_said(world):
    dock = world.new_sn()
    message = {"tid": "t", "bid": "b", "timestamp": 1700000000000, "method": "flighttask_resource_get", "data": {}}
    world.say(f"thing/product/{dock}/requests", message)
    world.eventually(lambda: "nobody answered" in str(rows(world, dock, "flighttask_resource_get")))
    world.say(f"thing/product/{dock}/requests_reply", message | {"data": {"result": 0}})
    world.eventually(lambda: "answered after" in str(rows(world, dock, "flighttask_resource_get")))
    assert len(rows(world, dock, "flighttask_resource_get")) == 1


def test_everything_else_is_answered_as_ever(world):
    dock = world.new_sn()
    assert world.bind((dock, "3-3-0")) == [0]
    assert world.ask(dock, "requests", "moon_get", {})["result"] == 210003
    assert world.ask(dock, "events", "moon_seen", {}, need_reply=1) == {"result": 0}


def test_replies_to_services_that_somebody_else_sent_are_noted_and_change_nothing(world):
    dock = world.new_sn()
    assert world.bind((dock, "3-3-0")) == [0]
    before = world.stack.rows("SELECT count(*) FROM devices_servicecall")
    message = {"tid": "another's", "bid": "b", "timestamp": 1700000000000, "method": "cover_open"}
    world.say(f"thing/product/{dock}/services_reply", message | {"data": {"result": 0}})
    world.eventually(lambda: rows(world, dock, "cover_open"))
    assert rows(world, dock, "cover_open") == [("ignored", "not a command of this server", "")]
    assert world.stack.rows("SELECT count(*) FROM devices_servicecall") == before
