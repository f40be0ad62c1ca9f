"""Devices that are not used any more: retired, since commands and license events keep them from being deleted."""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices import binding
from devices.broker import accounts
from devices.live import broadcast
from devices.models import Device, DeviceQuerySet
from organizations import audit
from organizations.audit import Actor


@transaction.atomic
def retire(devices: Iterable[Device], *, actor: Actor, now: datetime | None = None) -> list[Device]:
    """Release these devices and put them out of sight; returns those that were in use. Their history stays.

    A device that has another owner now than its given row says is left alone. One that is bound again, by its code, by
    its dock or by a person, is in use again (`ownership.Changes.give`).
    """
    now = now or timezone.now()
    owners = {device.pk: device.organization_id for device in devices}
    given = list(Device.objects.filter(pk__in=owners, retired_at=None).lock_in_order())
    same = [device for device in given if device.organization_id == owners[device.pk]]
    binding.release((device for device in same if device.is_bound), actor=actor, now=now)
    accounts.end_of([device.pk for device in same], actor=actor)  # of those that nobody owned, too
    audit.record(
        audit.event(actor, "retire", device, organization_id=device.organization_id, at=now) for device in same
    )
    Device.objects.filter(pk__in=[device.pk for device in same]).update(retired_at=now, ignored_at=None)
    broadcast.tell_device(same)
    return same


@transaction.atomic
def restore(devices: Iterable[Device], *, actor: Actor) -> list[Device]:
    """Take devices back into use, unclaimed; returns those that were retired."""
    rows = Device.objects.filter(pk__in=[device.pk for device in devices], retired_at__isnull=False)
    found = list(rows.lock_in_order())
    audit.record(audit.event(actor, "restore", device, organization_id=device.organization_id) for device in found)
    Device.objects.filter(pk__in=[device.pk for device in found]).update(retired_at=None)
    broadcast.tell_device(found)
    return found


def has_history(device: Device) -> bool:
    """Whether calls or license events, which stay, keep this device from being deleted. One query."""
    is_kept = Q(service_calls__isnull=False) | Q(license_events__isnull=False)
    return Device.objects.filter(is_kept, pk=device.pk).exists()


def finished() -> DeviceQuerySet:
    """Retired devices whose history is gone."""
    retired = Device.objects.unclaimed().filter(retired_at__isnull=False)
    return retired.filter(service_calls=None, license_events=None)


@transaction.atomic
def delete_finished(keys: Collection[int]) -> None:
    """Delete these devices, except those that came back at this moment."""
    locked = list(Device.objects.filter(pk__in=keys).lock_in_order().values_list("pk", flat=True))
    finished().filter(pk__in=locked).delete()
