"""Token buckets."""

from mqtt_bridge.bridge import Bridge
from mqtt_bridge.connection import Delivery
from mqtt_bridge.rate_limit import RateLimiter


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_burst_is_allowed_and_then_the_rate():
    clock = Clock()
    limiter = RateLimiter(rate=50, burst=100, clock=clock)
    assert sum(limiter.allow("DOCK1") for _ in range(500)) == 100
    clock.now = 1.0
    assert sum(limiter.allow("DOCK1") for _ in range(500)) == 50


def test_large_messages_are_worth_many():
    limiter = RateLimiter(rate=50, burst=1000, clock=Clock())
    assert [limiter.allow("DOCK1", size=3 * 2**20) for _ in range(3)] == [True, True, False]
    assert sum(limiter.allow("DOCK2", size=2**20) for _ in range(500)) == 7


def test_bridge_weighs_what_a_dock_sends():
    bridge = Bridge(url="mqtt://127.0.0.1:1883", client_id="test")
    delivery = Delivery(topic="thing/product/DOCK1/services_reply", payload=b" " * 2**20, mid=1)
    assert sum(bridge._is_allowed(delivery) for _ in range(100)) == 7
    assert bridge.counters["rate_limited"] == 93


def test_one_sender_does_not_use_up_the_tokens_of_another():
    limiter = RateLimiter(rate=50, burst=1, clock=Clock())
    limiter.allow("DOCK1")
    assert not limiter.allow("DOCK1")
    assert limiter.allow("DOCK2")


def test_quiet_senders_are_forgotten(monkeypatch):
    monkeypatch.setattr("mqtt_bridge.rate_limit.MAX_SENDERS", 10)
    clock = Clock()
    limiter = RateLimiter(rate=1, burst=1, clock=clock)
    for number in range(10):
        limiter.allow(f"DOCK{number}")
    clock.now = 5.0
    limiter.allow("NEW")
    assert list(limiter._buckets) == ["NEW"]
