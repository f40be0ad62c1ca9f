"""Which devices there are: the discovery of new ones, their owners, and what people enable, disable or clear out."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from devices import pairing
from devices.live import broadcast
from devices.models import BrokerAccount, Device, DeviceQuerySet, Standing
from devices.ownership import Changes
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol.topics import Channel, is_sn
from organizations import audit
from organizations.audit import Actor
from organizations.models import Organization

STRANGER_KEPT = timedelta(days=1)  # of silence, when there is no room for more


class _Columns(NamedTuple):
    sn: str
    claim: str
    model_key: str
    gateway_id: int | None
    organization_id: int | None


class _Owned(_Columns, Standing):
    """A device with its owner."""


_OWNED = Prepared(
    _Owned,
    lambda: (
        Device.objects.filter(AnyOf("sn", "sns"))
        .order_by()
        .values_list("sn", "claim", "model_key", "gateway", "organization")
    ),
)


def discover(*groups: Iterable[str]) -> None:
    """Make unclaimed devices of serial numbers that are not known yet; if there is no room, those of the first group.

    UNCLAIMED_DEVICE_CAP limits how many uninvited devices there are. When it is reached, unclaimed ones that have been
    silent for STRANGER_KEPT are deleted to make room, the longest silent first.
    """
    wanted = dict.fromkeys(sn for sns in groups for sn in sorted(sns) if is_sn(sn))
    known = {device.sn for device in _OWNED(sns=wanted)} if wanted else set()
    missing = [sn for sn in wanted if sn not in known]
    if not missing:
        return
    room = max(0, settings.UNCLAIMED_DEVICE_CAP - Device.objects.uninvited().count())
    if room < len(missing):
        # Not what a person disabled, named or gave an account, or commanded while it had an owner.
        silent = Device.objects.unclaimed().filter(~_is_awaited(), is_enabled=True, callsign="", service_calls=None)
        silent = silent.filter(state__last_seen__lt=timezone.now() - STRANGER_KEPT).order_by("state__last_seen")
        gone = list(silent.values_list("pk", flat=True)[: len(missing) - room])
        Device.objects.filter(pk__in=gone).delete()
        room += len(gone)
    new = [Device(sn=sn) for sn in missing[:room]]
    Device.objects.bulk_create(new, ignore_conflicts=True)


def known() -> Iterable[str]:
    """The serial numbers of owned devices."""
    return Device.objects.exclude(organization=None).order_by().values_list("sn", flat=True)


def owners(spoken: Mapping[str, Collection[str]]) -> dict[str, int | None]:
    """The organization (primary key) that owned each of these serial numbers, given the channels it used.

    An aircraft sends events itself, and nothing else. A device that is recorded as one but ever sent what only gateways
    send is somebody's gateway, and nobody owns it (docs/decisions/0003). One query, two if aircraft are among them.
    """
    devices = _OWNED(sns=spoken)
    aircraft = {device.sn for device in devices if device.is_aircraft}
    gateways = {sn for sn in aircraft if any(channel != Channel.EVENTS for channel in spoken[sn])}
    if quiet := aircraft - gateways:
        onboarding = Exchange.objects.filter(gateway_sn__in=quiet, method__in=ONBOARDING, by_enrolment=False).order_by()
        gateways.update(onboarding.values_list("gateway_sn", flat=True).distinct())
    return {device.sn: None if device.sn in gateways else device.organization_id for device in devices}


@transaction.atomic
def set_enabled(devices: Iterable[Device], *, enabled: bool, actor: Actor) -> list[Device]:
    """Enable or disable devices; returns those that this changed.

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


@transaction.atomic
def add(*, actor: Actor, sn: str, owner: Organization | None, callsign: str = "", model_key: str = "") -> Device:
    """Add a device that has not connected yet, for its owner or for nobody; it corrects its product when it connects.

    Raises ValidationError if the owner has no room for it.
    """
    if owner is not None and pairing.room_in({owner.pk: owner.device_limit}).get(owner.pk, 1) < 1:
        raise ValidationError(_("{name} has reached its limit of devices.").format(name=owner.name))
    device = Device.objects.create(sn=sn, callsign=callsign, model_key=model_key)
    if owner is None:
        audit.record([audit.event(actor, "add", device, organization_id=None)])
        broadcast.tell_device([device])
        return device
    changes = Changes(actor, now=timezone.now())
    changes.give(device, owner, Device.Claim.PERSON, "add")
    changes.write([device])
    return device


@transaction.atomic
def rename(device: Device, callsign: str, *, actor: Actor) -> None:
    """Give a device, which is locked, another callsign."""
    before, device.callsign = device.callsign, callsign
    Device.objects.filter(pk=device.pk).update(callsign=callsign)
    audit.record(
        [
            audit.event(
                actor,
                "change",
                device,
                organization_id=device.organization_id,
                before={"callsign": before},
                after={"callsign": callsign},
            )
        ]
    )
    broadcast.tell_device([device])


def forgotten(*, days: int, now: datetime) -> DeviceQuerySet:
    """Unclaimed devices that were silent for so many days.

    Disabled ones stay: somebody shut them out, and they would come back enabled. So do those that were ever sent a
    command, a former owner's history, and those with an account of the broker, which somebody expects to come.
    """
    limit = now - timedelta(days=days)
    silent = Q(state__last_seen__lt=limit) | Q(state__last_seen=None)
    strangers = Device.objects.unclaimed().filter(is_enabled=True, created__lt=limit, service_calls=None)
    return strangers.filter(silent, ~_is_awaited())


def _is_awaited() -> Exists:
    """Devices with a valid account of the broker, which would be deleted with them."""
    return Exists(BrokerAccount.objects.alive(timezone.now()).filter(device=OuterRef("pk")))


@transaction.atomic
def clear_out(*, days: int, now: datetime, actor: Actor) -> int:
    """Delete the forgotten devices; returns how many went."""
    rows = list(Device.objects.filter(pk__in=forgotten(days=days, now=now).values("pk")).lock_in_order())
    audit.record(audit.event(actor, "delete", device, organization_id=None) for device in rows)
    # Claimed between the two statements is impossible: the rows are locked, and the condition is asked again.
    Device.objects.unclaimed().filter(pk__in=[device.pk for device in rows]).delete()
    broadcast.tell_device(rows)
    return len(rows)
