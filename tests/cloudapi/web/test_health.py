"""Health pages and metrics."""

from datetime import timedelta

import pytest
from django.utils import timezone

from mqtt_bridge.models import Heartbeat

pytestmark = pytest.mark.django_db


def heartbeat(seconds_ago):
    now = timezone.now()
    return Heartbeat.objects.create(
        instance="bridge",
        started_at=now,
        beat_at=now - timedelta(seconds=seconds_ago),
        round_trip_ms=2.5,
        counters={"answered": 7},
    )


def test_web_process_is_healthy_without_a_database_query(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/healthz").json() == {"status": "ok"}


def test_web_process_is_ready_whatever_the_bridge_does(client):
    assert client.get("/readyz").json() == {"status": "ok", "bridge": "stale"}
    heartbeat(seconds_ago=5)
    assert client.get("/readyz").json() == {"status": "ok", "bridge": "ok"}


def test_metrics_tell_of_a_living_bridge(client):
    heartbeat(seconds_ago=5)
    text = client.get("/metrics").content.decode()
    assert "bridge_up 1.0" in text
    assert 'bridge_messages_total{outcome="answered"} 7.0' in text


def test_metrics_tell_of_a_dead_bridge(client):
    heartbeat(seconds_ago=60)
    assert "bridge_up 0.0" in client.get("/metrics").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("token", "shown", "address", "status"),
    [
        ("", "", "127.0.0.1", 200),
        ("", "", "10.1.2.3", 200),
        ("", "", "8.8.8.8", 403),
        ("", "", "2600::1", 403),
        ("a token", "Bearer a token", "8.8.8.8", 200),
        ("a token", "Bearer another", "127.0.0.1", 403),
        ("a token", "", "127.0.0.1", 403),
    ],
)
def test_figures_are_for_private_addresses_or_a_token(client, settings, token, shown, address, status):
    settings.METRICS_TOKEN = token
    headers = {"Authorization": shown} if shown else {}
    assert client.get("/metrics", headers=headers, REMOTE_ADDR=address).status_code == status
