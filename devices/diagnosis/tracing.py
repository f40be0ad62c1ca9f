"""Keeping every event of one device for a while, so that a person can see them."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from devices.models import Device
from mqtt_bridge.models import Trace
from organizations import audit
from organizations.audit import Actor

LONGEST = 24 * 60  # minutes


@transaction.atomic
def trace(device: Device, *, minutes: int, actor: Actor) -> datetime | None:
    """Journal every event of this device for so many minutes from now; returns when that ends. 0 ends it: None."""
    until = timezone.now() + timedelta(minutes=minutes) if minutes else None
    if until is None:
        Trace.objects.filter(gateway_sn=device.sn).delete()
    else:
        values = {"organization_id": device.organization_id, "until": until}
        Trace.objects.update_or_create(gateway_sn=device.sn, defaults=values)
    after = {"until": f"{until:%Y-%m-%d %H:%M:%S} UTC" if until else "ended"}
    audit.record([audit.event(actor, "trace", device, organization_id=device.organization_id, after=after)])
    return until


def traced_until(device: Device) -> datetime | None:
    """When the running trace of this device for its owner ends; None if no trace runs."""
    running = Trace.objects.filter(gateway_sn=device.sn, organization=device.organization_id, until__gt=timezone.now())
    until: datetime | None = running.values_list("until", flat=True).first()
    return until
