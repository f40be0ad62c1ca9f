"""For load balancers and Prometheus: whether the web process is alive and can work, and how the bridge is."""

import hmac
import ipaddress

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cloudapi.diagnosis.server import is_own_token
from cloudapi.monitoring.database import DatabaseCollector
from cloudapi.monitoring.processes import own_collectors
from cloudapi.rest.guesses import client_of
from mqtt_bridge.models import Heartbeat
from mqtt_bridge.monitoring.exposition import together


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all; with a token of the doctor whether it is of the same server."""
    token = request.GET.get("token", "")
    return JsonResponse({"status": "ok"} | ({"is_mine": is_own_token(token)} if token else {}))


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
def metrics(request: HttpRequest) -> HttpResponse:
    """What this process, the database and Redis show, in Prometheus' text format; nothing about organizations.

    For clients that show METRICS_TOKEN; while that is not set, for those with a private address or one of this machine.
    """
    if not _may_read_metrics(request):
        headers = {"WWW-Authenticate": "Bearer"} if settings.METRICS_TOKEN else {}
        return HttpResponse("These figures are not for everybody.\n", status=403, headers=headers)
    registry = together([*own_collectors(), DatabaseCollector()])
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        shown = request.headers.get("Authorization", "")
        return hmac.compare_digest(shown.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    try:
        return ipaddress.ip_address(client_of(request.META.get("REMOTE_ADDR", ""))).is_private
    except ValueError:  # no address: a socket in the file system
        return True
