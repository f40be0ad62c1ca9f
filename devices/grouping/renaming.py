"""Names for many devices at once, by a pattern such as `{site} dock {n:02}`."""

import re
from collections.abc import Iterable, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from devices.live import broadcast
from devices.models import Device
from organizations import audit
from organizations.audit import Actor

PLACES = ("n", "organization", "site", "product", "sn", "callsign")
LONGEST = 128  # characters of a callsign
_PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")(?::0?([1-9]))?\}")


def names(devices: Sequence[Device], pattern: str, *, first: int = 1) -> list[str]:
    """The name of each device by the pattern, `{n}` counting from `first`; ValidationError for a wrong pattern."""
    if re.search(r"[{}]", _PLACE.sub("", pattern)):
        places = ", ".join(f"{{{place}}}" for place in PLACES)
        raise ValidationError(
            _("Known places are {places}; {n:02} is a number of two digits.").replace("{places}", places)
        )
    found = []
    for number, device in enumerate(devices, first):
        values = {
            "organization": device.organization.name if device.organization else "",
            "site": device.site_name,
            "product": device.model_name,
            "sn": device.sn,
            "callsign": device.callsign,
        }
        name = _PLACE.sub(
            lambda place, number=number, values=values: (  # type: ignore[misc]
                f"{number:0{place[2] or 1}}" if place[1] == "n" else values[place[1]]
            ),
            pattern,
        )
        if len(name) > LONGEST:
            raise ValidationError(_("{name} is too long.").format(name=name[:40]))
        found.append(" ".join(name.split()))
    return found


@transaction.atomic
def rename(devices: Iterable[Device], wanted: Iterable[str], *, actor: Actor) -> list[Device]:
    """Give each device its name; returns those that this changed.

    A device that has another owner now than its given row says is left alone.
    """
    given = {device.pk: (device.organization_id, name) for device, name in zip(devices, wanted, strict=True)}
    changed, events = [], []
    for device in Device.objects.filter(pk__in=given).lock_in_order():
        owner, name = given[device.pk]
        if device.organization_id != owner or device.callsign == name:
            continue
        before, after = {"callsign": device.callsign}, {"callsign": name}
        device.callsign = name
        changed.append(device)
        events.append(audit.event(actor, "change", device, organization_id=owner, before=before, after=after))
    Device.objects.write_fields(changed, ["callsign"])
    audit.record(events)
    broadcast.tell_device(changed)
    return changed
