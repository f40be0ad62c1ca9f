"""How many devices organizations have, counted by the database."""

from typing import Any

from django.apps import apps
from django.db.models import Count, Exists, Q, QuerySet
from django.utils import timezone

from mqtt_bridge.models import Heartbeat
from organizations.models import Organization


def with_counts(organizations: QuerySet[Organization]) -> QuerySet[Any]:
    """Add `docks`, `docks_online`, `aircraft`, and `is_bridge_alive`: if not, nobody knows who is online."""
    docks = apps.get_model("devices", "Device").objects.docks()
    is_dock = Q(devices__in=docks)
    # Named again, because Django forgets the model's order where it groups.
    return organizations.order_by(*(Organization._meta.ordering or ())).annotate(
        docks=Count("devices", filter=is_dock),
        docks_online=Count("devices", filter=is_dock & Q(devices__state__online=True)),
        aircraft=Count("devices", filter=Q(devices__model_key__startswith="0-")),
        is_bridge_alive=Exists(Heartbeat.objects.filter(beat_at__gt=timezone.now() - Heartbeat.STALE_AFTER)),
    )
