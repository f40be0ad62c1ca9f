"""The bridge without a broker: what its timer calls."""

from datetime import UTC, datetime, timedelta

from mqtt_bridge import bridge
from mqtt_bridge.bridge import Timer

calls = []


def tick(*, listening_since):
    """What settings.BRIDGE_TICKS names here."""
    calls.append(listening_since)


class Idle:
    """A bridge that has nothing to check and nobody to ping."""

    def check_lock(self):
        pass

    def ping(self, _control):
        pass


def test_a_clock_that_is_set_back_does_not_change_how_long_the_bridge_has_listened(settings, monkeypatch):
    settings.BRIDGE_TICKS = {"tests.mqtt_bridge.test_bridge.tick": 0}
    timer = Timer(Idle(), None)
    set_back = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(bridge.timezone, "now", lambda: set_back)
    timer.run()
    assert set_back - timedelta(minutes=1) < calls.pop() <= set_back
