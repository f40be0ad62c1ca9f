"""Whatever the habits of simulated docks, they are bound and online, have their aircraft, and object to no answer."""

import asyncio

import pytest

from mqtt_bridge.simulator.habits import HABITS

ANSWERED = [name for name in HABITS if name != "thing-status"]


@pytest.mark.parametrize("habit", ANSWERED)
def test_docks_are_bound_and_online_with_every_habit(world, habit):
    with world.stack.fleet(count=2, sn_prefix=world.new_sn("HABIT"), habits=[habit]) as (fleet, loop):
        asyncio.run_coroutine_threadsafe(fleet.onboarded(60), loop).result()
        for sn in [dock.sn for dock in fleet.docks]:
            assert world.device(sn)["organization"] == "12345678"
            world.eventually(lambda sn=sn: world.device(sn)["presence"] == "online")
        sns = [dock.sn for dock in fleet.docks]
        for dock in fleet.docks:
            aircraft = world.device(dock.aircraft.sn)
            assert aircraft["organization"] == "12345678"
            assert aircraft["gateway"] in (sns if habit == "shared-aircraft" else [dock.sn])
        assert fleet.ledger.complaints == []
