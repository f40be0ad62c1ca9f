"""The onboarding of DJI's "dock access to cloud" over a real broker, against a bridge process."""

import asyncio
import json

import pytest

from mqtt_bridge.simulator.dock import Patience
from mqtt_bridge.simulator.misbehaviour import FOREIGN_SN
from tests.stack import CODE, OTHER_CODE, QUICK, running_stack, wait_for

ORDER = ["config", "airport_bind_status", "airport_organization_get", "airport_organization_bind", "update_topo"]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def stack(request, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(request.param, folder, template=prepared(request.param)) as running:
        running.start_bridge()
        yield running


def onboard(fleet, loop, seconds=60):
    """Wait until every dock is onboarded or waits for a person; whether all are onboarded."""
    return asyncio.run_coroutine_threadsafe(fleet.settled(seconds), loop).result()


def steps(dock):
    return [(step.name, step.outcome) for step in dock.steps if step.name != "connect"]


def ask(fleet, loop, method, data):
    return asyncio.run_coroutine_threadsafe(fleet.docks[0].request(method, data), loop).result(timeout=60)


def test_dock_walks_the_onboarding_in_order_and_is_bound_and_online(stack):
    with stack.fleet(sn_prefix="WALK", aircraft_on=True) as (fleet, loop):
        assert onboard(fleet, loop)
        assert steps(fleet.docks[0]) == [(name, "ok") for name in ORDER]
        assert fleet.ledger.complaints == []
    bound = stack.bound()
    assert (bound["WALK00001"], bound["WALK00001A"]) == ("12345678", "12345678")
    online = "SELECT count(*) FROM devices_device d JOIN devices_devicestate s ON s.device_id = d.id WHERE s.online"
    assert stack.rows(f"{online} AND d.sn LIKE 'WALK%'") == [(2,)]


def test_dock_that_is_bound_skips_the_binding(stack):
    with stack.fleet(sn_prefix="SKIP") as (fleet, loop):
        onboard(fleet, loop)
    with stack.fleet(sn_prefix="SKIP", binding_code="") as (fleet, loop):
        assert onboard(fleet, loop)
        assert ("airport_bind_status", "ok") in steps(fleet.docks[0])
        assert "airport_organization_bind" not in [name for name, outcome in steps(fleet.docks[0]) if outcome == "ok"]


def test_wrong_code_stops_the_flow_until_a_person_types_the_right_one(stack):

    with stack.fleet(sn_prefix="WRONG", binding_code="WRON-GCOD-2345") as (fleet, loop):
        assert not onboard(fleet, loop)
        assert steps(fleet.docks[0])[-1] == ("airport_organization_get", "refused")
        assert "WRONG00001" not in stack.bound()
        loop.call_soon_threadsafe(fleet.docks[0].enter_code, "12345678", CODE)
        wait_for(lambda: fleet.docks[0].is_onboarded)
        assert stack.bound()["WRONG00001"] == "12345678"


def test_wrong_code_that_goes_straight_to_bind_binds_nothing(stack):
    with stack.fleet(sn_prefix="STRAIGHT", options=QUIET) as (fleet, loop):
        reply = ask(fleet, loop, "airport_organization_bind", bind_data("STRAIGHT00001", code="WRON-GCOD-2345"))
    assert codes(reply) == [210231, 210231]
    assert "STRAIGHT00001" not in stack.bound()


def test_foreign_device_is_refused_with_210232(stack):
    with stack.fleet(sn_prefix="FOREIGN") as (fleet, loop):
        onboard(fleet, loop)
        reply = ask(
            fleet,
            loop,
            "airport_organization_bind",
            bind_data("FOREIGN00001", organization_id="87654321", code=OTHER_CODE),
        )
    assert codes(reply) == [210232, 210232]
    assert stack.bound()["FOREIGN00001"] == "12345678"


def test_unknown_serial_number_is_answered(stack):
    with stack.fleet(sn_prefix="UNKNOWN", options=QUIET) as (fleet, loop):
        reply = ask(fleet, loop, "airport_bind_status", {"devices": [{"sn": "NOBODY"}, {"sn": "UNKNOWN00001"}]})
    empty = {"organization_id": "", "organization_name": "", "device_callsign": ""}
    assert reply == {
        "result": 0,
        "output": {
            "bind_status": [
                {"sn": sn, "is_device_bind_organization": False, **empty} for sn in ("NOBODY", "UNKNOWN00001")
            ]
        },
    }


def test_two_organizations_race_for_the_same_docks(stack):
    count = 20
    names = {"sn_prefix": "RACE", "count": count, "options": QUIET}
    with stack.fleet(**names) as (fleet, loop):
        both = [
            [bind_data(dock.sn), bind_data(dock.sn, organization_id="87654321", code=OTHER_CODE)]
            for dock in fleet.docks
        ]

        async def race():
            return await asyncio.gather(
                *(
                    dock.request("airport_organization_bind", data)
                    for dock, claims in zip(fleet.docks, both, strict=True)
                    for data in claims
                )
            )

        replies = asyncio.run_coroutine_threadsafe(race(), loop).result(timeout=60)
    for first, second in zip(replies[::2], replies[1::2], strict=True):
        assert sorted([codes(first)[0], codes(second)[0]]) == [0, 210232]
    assert len([sn for sn in stack.bound() if sn.startswith("RACE")]) == 2 * count


def test_dock_that_a_hostile_one_calls_its_aircraft_binds_to_its_own_organization(stack):
    topology = {
        "domain": "3",
        "type": 2,
        "sub_type": 0,
        "sub_devices": [{"sn": "VICTIM00001", "domain": "0", "type": 91, "sub_type": 0}],
    }
    with stack.fleet(sn_prefix="MALLORY") as (fleet, loop):
        assert onboard(fleet, loop)
        claim = fleet.docks[0]._ask("status", "update_topo", topology, Patience(1, None))
        asyncio.run_coroutine_threadsafe(claim, loop).result(timeout=60)
        assert stack.bound()["VICTIM00001"] == "12345678"
    with stack.fleet(sn_prefix="VICTIM", organization_id="87654321", binding_code=OTHER_CODE) as (fleet, loop):
        assert onboard(fleet, loop)
    assert stack.bound()["VICTIM00001"] == "87654321"
    seen_by = "SELECT DISTINCT organization_id FROM mqtt_bridge_exchange WHERE gateway_sn = 'VICTIM00001'"
    mallory = "SELECT organization_id FROM devices_device WHERE sn = 'MALLORY00001'"
    assert not set(stack.rows(seen_by)) & set(stack.rows(mallory))


@pytest.mark.parametrize(
    ("method", "data", "result"),
    [
        ("airport_bind_status", {}, 210233),
        ("airport_bind_status", {"devices": "no list"}, 210233),
        ("airport_organization_get", {}, 210230),
        ("airport_organization_get", {"organization_id": "12345678", "device_binding_code": ""}, 210230),
        ("airport_organization_bind", {}, 210231),
        ("airport_organization_bind", {"bind_devices": []}, 210231),
        ("flight_areas_get", None, 0),
        ("offline_map_get", None, 0),
        ("storage_config_get", {"module": 0}, 210003),
    ],
)
def test_every_request_is_answered(stack, method, data, result):
    with stack.fleet(sn_prefix="EVERY", options=QUIET) as (fleet, loop):
        assert ask(fleet, loop, method, data)["result"] == result


def test_event_that_wants_a_reply_gets_one(stack):
    with stack.fleet(sn_prefix="EVENT", options=QUIET) as (fleet, loop):
        event = fleet.docks[0].send_event("device_exit_homing_notify", {"action": 0})
        assert asyncio.run_coroutine_threadsafe(event, loop).result(timeout=60) == {"result": 0}


@pytest.mark.parametrize(
    "manner",
    ["duplicate", "trailing-commas", "colon-timestamp", "string-timestamp", "no-method", "no-bid", "wrong-gateway"],
)
def test_odd_docks_are_bound_all_the_same(stack, manner):
    prefix = f"ODD{manner.replace('-', '')}"
    with stack.fleet(sn_prefix=prefix, misbehave=[manner]) as (fleet, loop):
        assert onboard(fleet, loop)
    assert stack.bound()[f"{prefix}00001"] == "12345678"


def test_foreign_dock_in_the_list_is_refused_and_the_others_are_bound(stack):
    with stack.fleet(sn_prefix="LIST", misbehave=["foreign-sn"]) as (fleet, loop):
        onboard(fleet, loop)
    assert "LIST00001" in stack.bound()
    assert FOREIGN_SN not in stack.bound()


def test_journal_holds_the_whole_story_without_the_code(stack):
    with stack.fleet(sn_prefix="STORY", aircraft_on=True) as (fleet, loop):
        onboard(fleet, loop)
    story = "SELECT method, payload, reply FROM mqtt_bridge_exchange WHERE gateway_sn = 'STORY00001' ORDER BY id"
    wait_for(lambda: len(stack.rows(story)) >= len(ORDER))
    rows = stack.rows(story)
    assert [method for method, _, _ in rows] == ORDER
    text = json.dumps(rows)
    assert not any(secret in text for secret in ("HARB-HARB-2345", "HARBHARB2345", "a key", "a license"))


def test_sigterm_ends_the_bridge_with_exit_code_0(stack):
    bridge = stack.bridges[-1]
    assert stack.stop_bridge(bridge) == 0
    stack.start_bridge()


QUIET = QUICK.__class__(**{**QUICK.__dict__, "onboard": False})


def bind_data(sn, *, organization_id="12345678", code="HARB-HARB-2345"):
    return {
        "bind_devices": [
            {
                "sn": name,
                "device_model_key": key,
                "device_callsign": name,
                "organization_id": organization_id,
                "device_binding_code": code,
            }
            for name, key in ((sn, "3-2-0"), (f"{sn}A", "0-91-1"))
        ]
    }


def codes(reply):
    assert reply["result"] == 0
    return [entry["err_code"] for entry in reply["output"]["err_infos"]]
