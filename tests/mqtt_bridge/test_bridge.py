"""The bridge without a broker: what its timer calls, and how long it waits when it cannot serve."""

from datetime import UTC, datetime, timedelta

import pytest

from mqtt_bridge import bridge
from mqtt_bridge.bridge import MAX_BACKOFF, MAX_TRUCE, Bridge, Timer
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError

calls = []


def tick(*, listening_since):
    """What settings.BRIDGE_TICKS names here."""
    calls.append(listening_since)


class Idle:
    """A lock that is held and a connection that takes pings."""

    def is_held(self):
        return True

    def ping(self, _payload):
        pass


def test_a_clock_that_is_set_back_does_not_change_how_long_the_bridge_has_listened(settings, monkeypatch):
    settings.BRIDGE_TICKS = {"tests.mqtt_bridge.test_bridge.tick": 0}
    timer = Timer(Idle(), Idle())
    set_back = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(bridge.timezone, "now", lambda: set_back)
    timer.run()
    assert set_back - timedelta(minutes=1) < calls.pop() <= set_back


@pytest.mark.parametrize(
    ("error", "longest"), [(ConnectionClosedError, MAX_TRUCE), (BrokerUnavailableError, MAX_BACKOFF)]
)
@pytest.mark.django_db(transaction=True)
def test_a_bridge_that_is_thrown_out_again_and_again_waits_longer_every_time(monkeypatch, error, longest):
    thrown_out = Bridge(url="mqtt://127.0.0.1:1", client_id="bridge-that-waits")
    waits = []

    def serve():
        raise error("for the test")

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 12:
            thrown_out.stop()

    monkeypatch.setattr(thrown_out, "_serve", serve)
    monkeypatch.setattr(thrown_out._stop, "wait", wait)
    thrown_out.run()
    assert waits[0] <= 0.2
    assert waits == sorted(waits)
    assert waits[-1] == longest
