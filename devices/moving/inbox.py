"""The inbox of platform staff: devices that belong to nobody, why each is here, and those that are meant to stay so."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.diagnosis import needs
from devices.live import broadcast
from devices.models import Device, DeviceQuerySet, DeviceState
from mqtt_bridge.models import Exchange
from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent

# What took a device from its owner, or brought it here without one, by the action in the audit trail.
_CAUSES = {
    "release": gettext_lazy("Released by {who} from {organization}."),
    "disown": gettext_lazy("It proved that it is not the aircraft of {organization}."),
    "restore": gettext_lazy("Taken back into use by {who}."),
    "add": gettext_lazy("Added by {who} without an organization."),
}


class Entry(NamedTuple):
    """An unclaimed device, why it is nobody's, and since when."""

    device: Device
    state: DeviceState | None
    why: list[str]
    since: datetime


def waiting(*, ignored: bool = False) -> DeviceQuerySet:
    """Devices in use that belong to nobody, the newest first: those to be looked at, or those ignored or disabled."""
    is_open = Q(ignored_at=None, is_enabled=True)
    rows = Device.objects.unclaimed().not_retired().filter(~is_open if ignored else is_open)
    return rows.select_related("state", "gateway").order_by("-created", "-pk")


def entries(devices: Sequence[Device]) -> list[Entry]:
    """Why each of these is here; a constant number of queries."""
    now = timezone.now()
    events = AuditEvent.objects.filter(
        object_type=Device._meta.label, object_id__in=[str(device.pk) for device in devices], action__in=[*_CAUSES]
    )
    last = {event.object_id: event for event in events.select_related("user", "api_key").order_by("at", "pk")}
    refused = needs.refusals(devices, Exchange.objects.all(), now)
    found = []
    for device in devices:
        event = last.get(str(device.pk))
        state: DeviceState | None = getattr(device, "state", None)
        why = []
        if event is not None:
            owner = event.before.get("organization", "")
            why.append(_CAUSES[event.action].format(who=event.who, organization=owner))
        for exchange in refused.get(device.sn, ()):
            reason = exchange.reason or exchange.outcome
            if exchange.method in needs.LICENSE:
                why.append(_("DJI license refused: {reason}.").format(reason=reason))
            else:
                why.append(_("Binding refused: {reason}.").format(reason=reason))
        if device.gateway is not None:
            why.append(_("The dock {dock} named it.").format(dock=device.gateway))
        if not device.is_enabled:
            why.append(_("It is disabled."))
        if not why:
            is_silent = state is None or state.last_seen is None
            why.append(
                _("Nobody has bound it, and it has reported nothing.") if is_silent else _("Nobody has bound it.")
            )
        found.append(Entry(device, state, why, event.at if event else device.created))
    return found


@transaction.atomic
def set_ignored(devices: Iterable[Device], *, ignored: bool, actor: Actor) -> list[Device]:
    """Take unclaimed devices out of the inbox, or put them back; returns those that this changed."""
    rows = Device.objects.unclaimed().filter(pk__in=[device.pk for device in devices], ignored_at__isnull=ignored)
    changed = list(rows.lock_in_order())
    action = "ignore" if ignored else "stop ignoring"
    audit.record(audit.event(actor, action, device, organization_id=None) for device in changed)
    Device.objects.filter(pk__in=[device.pk for device in changed]).update(
        ignored_at=timezone.now() if ignored else None
    )
    broadcast.tell_device(changed)
    return changed
