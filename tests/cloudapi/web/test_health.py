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
