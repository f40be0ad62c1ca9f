"""The bridge without a broker: what its timer calls, and how long it waits when it cannot serve."""

from datetime import UTC, datetime, timedelta

import pytest

from mqtt_bridge import bridge
from mqtt_bridge.bridge import MAX_BACKOFF, MAX_TRUCE, Bridge, Timer
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.rate_limit import ENROLMENT_BURST

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


class Outbox:
    """A connection that keeps what is published."""

    def publish(self, _topic, payload, **_options):
        self.sent = payload

    def prefer(self, gateways):
        self.preferred = gateways


def test_only_the_last_ping_that_was_sent_is_taken_and_once():
    pinging, outbox = Bridge(url="mqtt://127.0.0.1:1", client_id="one"), Outbox()

    def is_taken(payload):
        return pinging._admit(Delivery(topic="bridge/one/ping", payload=payload, mid=1))

    assert not is_taken(b"")
    pinging.ping(outbox)
    earlier = outbox.sent
    pinging.ping(outbox)
    assert [is_taken(said) for said in (b"", b"guess", earlier, outbox.sent, outbox.sent)] == [False] * 3 + [
        True,
        False,
    ]
    assert pinging.counters == {"forged_pings": 5}
    assert outbox.preferred == ["ping"]  # docks that nobody knows do not keep it waiting


def test_what_was_admitted_is_dropped_when_its_sender_owes_tokens():
    weighing = Bridge(url="mqtt://127.0.0.1:1", client_id="one")
    guesses = [Delivery(topic=f"thing/product/{sn}/requests", payload=b"{}", mid=1) for sn in ("GUESSER", "OTHER")]
    assert [weighing._admit(guess) for guess in guesses] == [True, True]
    weighing._limiter.charge("GUESSER", 2_000)
    assert weighing._for_handlers(guesses) == guesses[1:]
    assert weighing.counters == {"overdrawn": 1}


def test_all_that_comes_through_enrolment_has_its_own_tokens():
    bridge = Bridge(url="mqtt://127.0.0.1:1", client_id="bridge-with-tokens")

    def admitted(count, topic):
        return sum(bridge._admit(Delivery(topic=topic.format(number), payload=b"{}", mid=1)) for number in range(count))

    count = 2 * int(ENROLMENT_BURST)
    assert ENROLMENT_BURST <= admitted(count, "enrol/thing/product/NEW{}/requests") < count
    assert bridge.counters["enrolment_limited"] > 0
    assert admitted(count, "thing/product/DOCK{}/requests") == count
