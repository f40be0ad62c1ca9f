"""What people do to devices by hand: enable and disable them, clear out those nobody claims."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from devices.live import broadcast
from devices.models import Device, DeviceQuerySet
from organizations import audit
from organizations.audit import Actor


@transaction.atomic
def set_enabled(devices: Iterable[Device], *, enabled: bool, actor: Actor) -> list[Device]:
    """Enable or disable devices; returns those that were not so before.

    A disabled device gets no DJI license when it connects and cannot be bound; what it is bound to stays.
    """
    rows = Device.objects.filter(pk__in=[device.pk for device in devices]).exclude(is_enabled=enabled)
    changed = list(rows.lock_in_order())
    audit.record(
        audit.event(
            actor,
            "enable" if enabled else "disable",
            device,
            organization_id=device.organization_id,
            before={"is_enabled": not enabled},
            after={"is_enabled": enabled},
        )
        for device in changed
    )
    Device.objects.filter(pk__in=[device.pk for device in changed]).update(is_enabled=enabled)
    broadcast.tell_device(changed)
    return changed


def forgotten(*, days: int, now: datetime) -> DeviceQuerySet:
    """Unclaimed devices that nobody heard of for so many days.

    Disabled ones stay: somebody shut them out, and they would come back enabled. So do those that were asked for
    something once: that is a former owner's history.
    """
    limit = now - timedelta(days=days)
    silent = Q(state__last_seen__lt=limit) | Q(state__last_seen=None)
    return Device.objects.unclaimed().filter(silent, is_enabled=True, created__lt=limit, service_calls=None)


@transaction.atomic
def clear_out(*, days: int, now: datetime, actor: Actor) -> int:
    """Delete the forgotten devices; returns how many went."""
    rows = list(Device.objects.filter(pk__in=forgotten(days=days, now=now).values("pk")).lock_in_order())
    audit.record(audit.event(actor, "delete", device, organization_id=None) for device in rows)
    # Claimed between the two statements is impossible: the rows are locked, and the condition is asked again.
    Device.objects.unclaimed().filter(pk__in=[device.pk for device in rows]).delete()
    broadcast.tell_device(rows)
    return len(rows)
