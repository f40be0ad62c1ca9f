"""A dock that sends more than the journal keeps of it in a day."""

import pytest

from mqtt_bridge.models import Exchange
from tests.field.world import World
from tests.stack import running_stack


@pytest.fixture
def world(prepared, tmp_path):
    """A world of its own: the bridge counts from its start."""
    with running_stack("postgresql", tmp_path, template=prepared("postgresql"), JOURNAL_BYTES_PER_DAY="5000") as stack:
        stack.start_bridge()
        world = World(stack)
        yield world
        world.close()


def test_every_message_is_answered_and_only_the_first_are_kept(world):
    for _ in range(20):
        answer = world.ask("TALKER", "requests", "offline_map_get", {"padding": "x" * 1_000})
        assert answer["result"] == 0
    world.ask("QUIET", "requests", "config", {"config_type": "json", "config_scope": "product"})
    world.eventually(lambda: world.stack.rows("SELECT 1 FROM mqtt_bridge_exchange WHERE gateway_sn = 'QUIET'"))
    kept = world.stack.rows("SELECT method, reason FROM mqtt_bridge_exchange WHERE gateway_sn = 'TALKER' ORDER BY id")
    assert kept == [("offline_map_get", "")] * 5 + [("", f"{Exchange.FULL}: 1 more are not kept")]
