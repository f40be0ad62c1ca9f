"""Token buckets."""

import json
from types import SimpleNamespace

import pytest

from mqtt_bridge.rate_limit import RateLimiter, cost


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("mqtt_bridge.rate_limit.monotonic", lambda: clock.now)
    return clock


def test_burst_is_allowed_and_then_the_rate(clock):
    limiter = RateLimiter(rate=50, burst=100)
    assert sum(limiter.allow("DOCK1") for _ in range(500)) == 100
    clock.now = 1.0
    assert sum(limiter.allow("DOCK1") for _ in range(500)) == 50


def message(method, data):
    return json.dumps({"tid": "t", "bid": "b", "timestamp": 1, "method": method, "data": data}).encode()


REPLY, REQUESTS, STATUS = (f"thing/product/DOCK1/{channel}" for channel in ("services_reply", "requests", "status"))
ENTRY = {"sn": "DOCK1", "device_binding_code": "CODE", "organization_id": "1"}


@pytest.mark.parametrize(
    ("topic", "payload", "tokens"),
    [
        (REQUESTS, message("config", {"config_type": "json"}), 1),
        (REQUESTS, message("airport_organization_bind", {"bind_devices": [ENTRY]}), 1),
        (REQUESTS, message("airport_organization_bind", {"bind_devices": [ENTRY] * 50}), 50),
        (STATUS, message("update_topo", {"type": 3, "sub_devices": [{"sn": "A"}] * 8}), 8),
        (STATUS, b"", 1),
        (REPLY, message("unlock_license_list", {"output": {"licenses": [{"common_fields": {}}] * 30}}), 1),
        (REPLY, b" " * 3 * 2**20, 385),
        (REQUESTS, b'{"a":' * 50_000, 1000),  # it is answered, if only that it is too much
    ],
)
def test_a_message_costs_as_much_as_the_work_it_makes(topic, payload, tokens):
    assert cost(topic, payload) == tokens


def test_two_longest_lists_of_licenses_fit_in_a_burst():
    limiter = RateLimiter(rate=50, burst=1000)
    price = cost(REPLY, b"{" * 3 * 2**20)
    assert [limiter.allow("DOCK1", cost=price) for _ in range(3)] == [True, True, False]


def test_what_a_dock_owes_it_pays_before_it_is_heard_again(clock):
    limiter = RateLimiter(rate=50, burst=100)
    limiter.charge("DOCK1", 120)
    assert (limiter.owes("DOCK1"), limiter.owes("DOCK2")) == (True, False)
    clock.now = 0.5
    assert not limiter.owes("DOCK1")
    assert limiter.allow("DOCK1", cost=5)


def test_nobody_owes_more_than_a_burst(clock):
    limiter = RateLimiter(rate=50, burst=100)
    limiter.charge("DOCK1", 1_000_000)
    clock.now = 2.1
    assert limiter.allow("DOCK1")


def test_one_sender_does_not_use_up_the_tokens_of_another():
    limiter = RateLimiter(rate=50, burst=1)
    limiter.allow("DOCK1")
    assert not limiter.allow("DOCK1")
    assert limiter.allow("DOCK2")


def test_quiet_senders_are_forgotten(monkeypatch, clock):
    monkeypatch.setattr("mqtt_bridge.rate_limit.MAX_GATEWAYS", 10)
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(10):
        limiter.allow(f"DOCK{number}")
    clock.now = 5.0
    limiter.allow("NEW")
    assert list(limiter._full_at) == ["NEW"]


def test_a_flood_of_new_senders_is_not_looked_through_again_for_each(monkeypatch):
    monkeypatch.setattr("mqtt_bridge.rate_limit.MAX_GATEWAYS", 10)
    limiter = RateLimiter(rate=1, burst=1)
    for number in range(11):
        limiter.allow(f"DOCK{number}")
    assert limiter._full_at == {}
