"""How many devices organizations have, counted by the database."""

from datetime import datetime, timedelta
from typing import Protocol

from django.apps import apps
from django.conf import settings
from django.db.models import Count, Exists, Q
from django.utils import timezone

from mqtt_bridge.models import Heartbeat
from organizations.models import Organization
from organizations.tenancy import Rows

SWEEP_SLACK = timedelta(seconds=15)  # the sweep for silent devices runs every five seconds; it may be late


class Counted(Protocol):
    """An organization from `with_counts`."""

    docks: int
    docks_online: int
    aircraft: int
    is_bridge_alive: bool


def silent_before(now: datetime) -> datetime:
    """Nobody knows whether a device last seen before this moment is online, though its row may say so."""
    return now - timedelta(seconds=settings.DEVICE_OFFLINE_AFTER) - SWEEP_SLACK


def with_counts(organizations: Rows) -> Rows:
    """Organizations as `Counted`; if `is_bridge_alive` is false, nobody knows which docks are online.

    Online as the list of devices shows it; disabled docks are not counted among them.
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
