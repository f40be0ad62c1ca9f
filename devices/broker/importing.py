"""Many serial numbers at once: docks that are not here yet are added, and each gets an account of its own."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices import pairing
from devices.broker import accounts
from devices.models import BrokerAccount, Device
from devices.ownership import Changes
from mqtt_bridge.protocol.topics import is_sn
from organizations.audit import Actor
from organizations.models import Organization
from organizations.typed import typed

MOST: Final = 1000  # serial numbers at once
NO_SN: Final = _("not a serial number")
NOT_YOURS: Final = _("not your dock: only platform staff adds docks")
NO_ROOM: Final = _("the organization has reached its limit of devices")


class Imported(NamedTuple):
    """New accounts, with `plain` set; the serial numbers that were added; and those without an account, and why."""

    accounts: list[BrokerAccount]
    added: list[str]
    skipped: list[tuple[str, str]]


def serial_numbers(text: str) -> list[str]:
    """The serial numbers in typed text, each once, in order; separated by spaces, commas, semicolons or lines."""
    return list(dict.fromkeys(filter(None, map(typed, re.split(r"[\s,;]+", text)))))


@transaction.atomic
def bring_in(
    sns: Iterable[str],
    *,
    actor: Actor,
    may_manage: Callable[[Device], bool],
    may_add: bool,
    owner: Organization | None = None,
) -> Imported:
    """Issue an account to each of these docks; with `may_add` unknown ones are added, for `owner` or for nobody.

    A constant number of queries. Raises ValidationError for more than MOST serial numbers.
    """
    wanted = list(dict.fromkeys(sns))
    if len(wanted) > MOST:
        text = gettext("{count} serial numbers: {most} at most at once.")
        raise ValidationError(text.format(count=len(wanted), most=MOST))
    skipped = [(sn, str(NO_SN)) for sn in wanted if not is_sn(sn)]
    wanted = [sn for sn in wanted if is_sn(sn)]
    known = set(Device.objects.filter(sn__in=wanted).values_list("sn", flat=True))
    new = [sn for sn in wanted if sn not in known] if may_add else []
    if owner is not None and new:
        room = pairing.room_in({owner.pk: owner.device_limit}).get(owner.pk, len(new))
        skipped += [(sn, str(NO_ROOM)) for sn in new[room:]]
        new = new[:room]
    Device.objects.bulk_create([Device(sn=sn) for sn in new], ignore_conflicts=True)
    rows = {row.sn: row for row in Device.objects.filter(sn__in={*known, *new}).lock_in_order()}
    if owner is not None:
        changes = Changes(actor, now=timezone.now())
        joined = [rows[sn] for sn in new if sn in rows and not rows[sn].is_bound]
        for device in joined:
            changes.give(device, owner, Device.Claim.PERSON, "add")
        changes.write(joined)
    mine = [row for row in rows.values() if row.sn in new or may_manage(row)]
    done = accounts.issue_many(mine, actor=actor)
    skipped += [(device.sn, reason) for device, reason in done.skipped]
    accounted = {row.sn for row in mine} | {sn for sn, _ in skipped}
    skipped += [(sn, str(NOT_YOURS)) for sn in wanted if sn not in accounted]
    return Imported(done.accounts, new, skipped)
