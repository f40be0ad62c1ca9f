"""How many requests a user or a key may send in a minute."""

from datetime import UTC, datetime, timedelta
from socket import socket

import pytest
import time_machine
from rest_framework.test import APIRequestFactory

from cloudapi.rest.pause import Pause
from cloudapi.rest.rate_limit import HAS_WAITED, PerMinute
from devices.api.devices import DeviceViewSet

ROUTE = "/api/v1/devices/"
START = datetime(2027, 5, 1, 12, 0, 20, tzinfo=UTC)


@pytest.fixture
def at():
    """Let the clock stand at so many seconds after `START`."""

    def at(seconds):
        return time_machine.travel(START + timedelta(seconds=seconds), tick=False)

    return at


@pytest.fixture(autouse=True)
def _three_a_minute(settings, monkeypatch):
    settings.API_REQUESTS_PER_MINUTE = 3
    monkeypatch.setattr(PerMinute, "pause", Pause())


@pytest.fixture
def closed_port():
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]  # bound, and nobody listens


def limits(response):
    return [response[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]


@pytest.mark.parametrize("who", ["viewer_key", "bob"])
def test_one_request_too_many_is_told_when_to_come_again(api, who, at):
    with at(0):
        client = api(who)
        assert [limits(client.get(ROUTE)) for _ in range(3)] == [["3", left, "41"] for left in "210"]
        refused = client.get(ROUTE)
    assert (refused.status_code, refused["Content-Type"]) == (429, "application/problem+json")
    assert limits(refused) == ["3", "0", "41"]
    assert refused["Retry-After"] == "41"
    assert refused.json()["type"].endswith(":throttled")


def test_the_next_minute_begins_anew(api, viewer_key, at):
    client = api(viewer_key)
    for seconds in (0, 41):
        with at(seconds):
            assert [client.get(ROUTE).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_everybody_has_a_count_of_their_own(api, at, organization):
    with at(0):
        for who in ("viewer_key", "manager_key", "bob", "stranger_key"):
            assert limits(api(who).get(ROUTE))[1] == "2"


def test_all_routes_count_together(api, viewer_key, at):
    client = api(viewer_key)
    with at(0):
        for route in (ROUTE, f"{ROUTE}GONE/", "/api/v1/organizations/"):
            client.get(route)
        assert client.get(ROUTE).status_code == 429


def test_nobody_is_counted_who_is_not_known(api, db):
    for _ in range(5):
        response = api().get(ROUTE)
        assert response.status_code == 401
        assert "RateLimit-Limit" not in response


def test_no_limit_is_no_count(api, viewer_key, settings):
    settings.API_REQUESTS_PER_MINUTE = 0
    for _ in range(5):
        response = api(viewer_key).get(ROUTE)
        assert response.status_code == 200
        assert "RateLimit-Limit" not in response


def test_a_cache_that_cannot_be_reached_limits_nobody(api, viewer_key, settings, closed_port, caplog):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{closed_port}",
            "OPTIONS": {"socket_connect_timeout": 1.0},
        }
    }
    for _ in range(5):
        response = api(viewer_key).get(ROUTE)
        assert response.status_code == 200
        assert "RateLimit-Limit" not in response
    told = [record for record in caplog.records if "not counted" in record.message]
    assert len(told) == 1  # and is not asked again for a while


def test_counting_begins_again_after_a_pause(api, viewer_key, settings, monkeypatch):
    PerMinute.pause.begin()
    assert "RateLimit-Limit" not in api(viewer_key).get(ROUTE)
    monkeypatch.setattr(PerMinute, "pause", Pause())
    assert "RateLimit-Limit" in api(viewer_key).get(ROUTE)


def test_the_second_look_of_a_request_that_waited_is_not_counted_and_told_the_limit(viewer_key, at):
    """As the web process does it, see cloudapi/web/handler.py."""
    answers = []
    with at(0):
        for has_waited in (False, True, False, False, True, False):
            request = APIRequestFactory().get(ROUTE, headers={"Authorization": f"Api-Key {viewer_key.plain}"})
            if has_waited:
                request.META[HAS_WAITED] = True
            answers.append(DeviceViewSet.as_view({"get": "list"})(request))
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [limits(answer)[1] for answer in answers] == ["2", "2", "1", "0", "0", "0"]
