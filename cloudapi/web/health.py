"""For load balancers and Prometheus: whether the web process is alive and can work, and how the bridge is."""

from collections.abc import Iterator

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mqtt_bridge.models import Heartbeat


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 if requests can be served, which needs the database; the bridge is only reported."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        heartbeat = Heartbeat.objects.current()
    except DatabaseError:
        return JsonResponse({"status": "database unavailable"}, status=503)
    return JsonResponse({"status": "ok", "bridge": "ok" if heartbeat and not heartbeat.is_stale() else "stale"})


@require_safe
def metrics(_request: HttpRequest) -> HttpResponse:
    """The bridge's heartbeat and counters in Prometheus' text format; nothing about organizations."""
    registry = CollectorRegistry()
    registry.register(BridgeCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class BridgeCollector:
    """Reads the heartbeat row at each scrape, so that every web process reports the same."""

    def collect(self) -> Iterator[Metric]:
        heartbeat = Heartbeat.objects.current()
        up = heartbeat is not None and not heartbeat.is_stale()
        yield GaugeMetricFamily("bridge_up", "1 if the bridge's ping came back lately.", value=float(up))
        if heartbeat is None:
            return
        age = (timezone.now() - heartbeat.beat_at).total_seconds()
        yield GaugeMetricFamily("bridge_heartbeat_age_seconds", "Since the last ping came back.", value=age)
        yield GaugeMetricFamily(
            "bridge_round_trip_seconds",
            "Through broker, handler and database.",
            value=heartbeat.round_trip_ms / 1000,
        )
        messages = CounterMetricFamily("bridge_messages", "What became of messages.", labels=["outcome"])
        for outcome, count in heartbeat.counters.items():
            messages.add_metric([outcome], count)
        yield messages
