"""How many devices organizations have, counted by the database."""

from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Count, Exists, Q, QuerySet
from django.utils import timezone

from mqtt_bridge.models import Heartbeat
from organizations.models import Organization

SWEEP_SLACK = timedelta(seconds=15)  # the sweep for silent devices comes every five seconds; it may be late


def silent_before(now: datetime) -> datetime:
    """Of a device last seen before this moment nobody knows whether it is online, though it counts as such."""
    return now - timedelta(seconds=settings.DEVICE_OFFLINE_AFTER) - SWEEP_SLACK


def with_counts(organizations: QuerySet[Organization]) -> QuerySet[Any]:
    """Add `docks`, `docks_online`, `aircraft`, and `is_bridge_alive`: if not, nobody knows who is online.

    Online as the list of devices says it; a dock that somebody switched off is not counted among them.
    """
    now = timezone.now()
    devices = apps.get_model("devices", "Device").objects
    is_dock = Q(devices__in=devices.docks())
    is_heard = Q(devices__state__last_seen=None) | Q(devices__state__last_seen__gte=silent_before(now))
    is_online = is_heard & Q(devices__state__online=True, devices__is_enabled=True)
    # Named again, because Django forgets the model's order where it groups.
    return organizations.order_by(*(Organization._meta.ordering or ())).annotate(
        docks=Count("devices", filter=is_dock),
        docks_online=Count("devices", filter=is_dock & is_online),
        aircraft=Count("devices", filter=Q(devices__in=devices.aircraft())),
        is_bridge_alive=Exists(Heartbeat.objects.alive(now)),
    )
