"""Licenses over the wire: what a dock lists, switches and updates ends as rows."""

import itertools
import json
import os
import queue
import subprocess
from pathlib import Path

import pytest

from cloudapi.embedded import programs
from cloudapi.embedded.servers import Redis
from mqtt_bridge.line.client import build_client, parse_url
from mqtt_bridge.simulator.dock import Options
from tests.stack import running_stack, wait_for

LIST, SWITCH, UPDATE = "unlock_license_list", "unlock_license_switch", "unlock_license_update"
SAMPLE = Path(__file__).parent.parent / "samples" / "001_unlock_license_list_services_reply.json"
PREFIXES = (f"LIC{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("licenses")
    with running_stack("postgresql", folder, template=prepared("postgresql"), redis=Redis()) as stack:
        stack.start_bridge()
        stack.start_worker(beat=False)
        yield stack


@pytest.fixture
def dock(stack):
    with stack.fleet(sn_prefix=next(PREFIXES), options=Options(osd_rate=1), aircraft_on=True) as (fleet, _):
        [dock] = fleet.docks
        wait_for(lambda: dock.is_onboarded)
        yield dock


def licenses(stack, sn, columns="license_id"):
    sql = (
        f"SELECT {columns} FROM licenses_unlocklicense l JOIN devices_device d ON d.id = l.device_id"
        f" WHERE d.sn = '{sn}' ORDER BY device_model_domain, license_id"
    )
    return stack.rows(sql)


def calls(stack, sn):
    sql = (
        "SELECT c.method, c.status, c.data FROM devices_servicecall c JOIN devices_device d ON d.id = c.device_id"
        f" WHERE d.sn = '{sn}' ORDER BY c.created"
    )
    return stack.rows(sql)


def ended(stack, sn, count):
    """Wait until so many calls of a dock are through, those included that follow by themselves; returns them."""
    wait_for(lambda: sum(status == "succeeded" for _, status, _ in calls(stack, sn)) == count)
    return calls(stack, sn)


def test_example_of_the_documentation_sent_by_mosquitto_pub_becomes_seven_rows(stack, dock):
    dock.handlers[LIST] = silent  # another client speaks for it
    heard = queue.Queue()
    listener = build_client(parse_url(stack.broker.url), client_id=f"by-hand-{dock.sn}")
    listener.on_message = lambda _client, _userdata, message: heard.put(json.loads(message.payload))
    listener.connect("127.0.0.1", stack.broker.port)
    listener.loop_start()
    listener.subscribe(f"thing/product/{dock.sn}/services", qos=1)
    call = stack.issue(dock.sn, LIST, {"device_model_domain": 3})
    asked = heard.get(timeout=60)
    listener.disconnect()
    listener.loop_stop()
    answer = json.loads(SAMPLE.read_text()) | {"tid": asked["tid"], "bid": asked["bid"]}
    clients = programs.find("mosquitto-clients")
    topic = f"{stack.broker.url}/thing/product/{dock.sn}/services_reply"
    said = [clients.path, "-q", "1", "-L", topic, "-m", json.dumps(answer)]
    subprocess.run(said, env=os.environ | clients.env, check=True)
    assert stack.ended(call["id"]) == "succeeded"
    rows = licenses(stack, dock.sn, "type, end_time::text, details")
    assert sorted(kind for kind, _, _ in rows) == [0, 1, 2, 3, 4, 5, 6]
    assert {end[:10] for _, end, _ in rows} == {"2038-01-01"}
    details = {kind: details for kind, _, details in rows}
    assert (details[2]["country_number"], details[6]["level"]) == (156, 1)


async def silent(_dock, _command):
    return None


def test_switch_is_confirmed_by_the_list_that_follows(stack, dock):
    stack.issue(dock.sn, LIST, {"device_model_domain": 0})
    ended(stack, dock.sn, 1)
    common = dock.licenses.imported[0]["common_fields"]
    key, enable = common["license_id"], not common["enabled"]
    stack.issue(dock.sn, SWITCH, {"license_id": key, "enable": enable})
    done = ended(stack, dock.sn, 3)
    assert [method for method, _, _ in done] == [LIST, SWITCH, LIST]
    assert dict(licenses(stack, dock.sn, "license_id, enabled"))[key] is enable


def test_update_is_followed_by_both_lists_which_then_agree(stack, dock):
    stack.issue(dock.sn, UPDATE)
    done = ended(stack, dock.sn, 3)
    assert [method for method, _, _ in done] == [UPDATE, LIST, LIST]
    rows = licenses(stack, dock.sn, "device_model_domain, license_id")
    assert {key for domain, key in rows if domain == 0} == {key for domain, key in rows if domain == 3}
    assert stack.rows(
        "SELECT bool_and(consistence), bool_and(complete) FROM licenses_licenselist l"
        f" JOIN devices_device d ON d.id = l.device_id WHERE d.sn = '{dock.sn}'"
    ) == [(True, True)]
