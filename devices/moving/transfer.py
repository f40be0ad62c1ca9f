"""Moving devices to an organization, from another one or from nobody: what would happen, and the step itself.

What the former owner knew or wrote is forgotten as at a release (`devices/ownership.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from devices import pairing
from devices.live import broadcast
from devices.models import (
    OPEN_STATUSES,
    BrokerAccount,
    Claim,
    Device,
    DeviceAccount,
    DeviceQuerySet,
    Label,
    Pairing,
    ServiceCall,
)
from devices.ownership import Changes
from devices.pairing import Pairings, Testimony
from organizations.audit import Actor
from organizations.models import Organization

ACTION = "transfer"  # in the audit trail of both organizations
THERE_ALREADY = _("belongs to it already")


class Refused(Exception):  # noqa: N818  (a verdict, which pages and REST show to the caller)
    """No device is moved, and the text says to a person why."""


class Move(NamedTuple):
    """A device that would go, and what ends or is lost with it."""

    device: Device
    open_calls: int
    account: str  # the DJI account that the dock is logged in to, "" if none
    labels: list[Label]
    has_broker_account: bool
    dock: Device | None  # of an aircraft whose dock stays


class Counted(TypedDict):
    """What `plan` reads of each device besides its row."""

    has_broker_account: bool
    former_labels: list[Label]


if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    Planned = WithAnnotations[Device, Counted]


class Plan(NamedTuple):
    """What a transfer would do."""

    moves: list[Move]
    skipped: list[tuple[Device, str]]
    refused: str  # why nothing would be moved; empty if all would


def plan(devices: Iterable[Device], to: Organization | None) -> Plan:
    """What moving these devices would do; without `to`, whatever the organization. A constant number of queries."""
    own = BrokerAccount.objects.alive(timezone.now()).filter(device=OuterRef("pk"))
    keys = {device.pk for device in devices}
    found = (
        Device.objects.filter(pk__in=keys)
        .select_related("organization", "site", "gateway", "account")
        .defer("organization__app_key", "organization__app_license")
        .prefetch_related(Prefetch("labels", to_attr="former_labels"))
        .annotate(has_broker_account=Exists(own))
    )

    def place(row: Device) -> tuple[bool, str, bool, str]:
        """Docks, each with its aircraft below it; then aircraft whose docks were not chosen."""
        dock = row.gateway if row.gateway_id in keys else None
        return row.gateway_id is not None and dock is None, dock.sn if dock else row.sn, dock is not None, row.sn

    rows = sorted(cast("list[Planned]", list(found)), key=place)
    calls = ServiceCall.objects.filter(device__in=rows, status__in=OPEN_STATUSES).order_by()
    open_calls = Counter(calls.values_list("device", flat=True))
    goes = {row.pk for row in rows if to is None or row.organization_id != to.pk}
    moves = []
    skipped: list[tuple[Device, str]] = []
    for row in rows:
        if row.pk not in goes:
            skipped.append((row, str(THERE_ALREADY)))
            continue
        account: DeviceAccount | None = getattr(row, "account", None)
        is_logged_in = account is not None and account.status != DeviceAccount.Status.LOGGED_OUT
        dock = row.gateway if row.gateway_id not in goes else None
        username = account.username if account is not None and is_logged_in else ""
        moves.append(Move(row, open_calls[row.pk], username, row.former_labels, row.has_broker_account, dock))
    return Plan(moves, skipped, why_not(to, len(moves)) if to else "")


def with_aircraft(keys: Iterable[int]) -> DeviceQuerySet:
    """The devices with these primary keys, and the aircraft in docks among them that are their owner's or nobody's."""
    keys = list(keys)
    is_theirs = Q(organization=F("gateway__organization")) | Q(organization=None)
    return Device.objects.filter(Q(pk__in=keys) | Q(is_theirs, gateway__in=keys))


def why_not(to: Organization, count: int) -> str:
    """Why so many devices cannot be moved to this organization; empty if they can."""
    if not to.is_active:
        return _("{organization} is not active.").format(organization=to.name)
    room = pairing.room_in({to.pk: to.device_limit}).get(to.pk, count)
    if room < count:
        text = ngettext(
            "{organization} has room for {count} more device: raise its limit first.",
            "{organization} has room for {count} more devices: raise its limit first.",
            max(room, 0),
        )
        return text.format(organization=to.name, count=max(room, 0))
    return ""


@transaction.atomic
def move(
    devices: Iterable[Device],
    to: Organization,
    *,
    actor: Actor,
    keep_accounts: bool = True,
    now: datetime | None = None,
) -> list[Device]:
    """Give these devices to an organization, all of them or none; returns those that were moved.

    A device that has another owner now than its given row says is left alone. Aircraft stay in docks that go with
    them. Without `keep_accounts` the broker accounts of docks are revoked, which cuts them off until a person types
    new ones in beside them. Raises Refused.
    """
    now = now or timezone.now()
    owners = {device.sn: device.organization_id for device in devices}
    # Two transfers to one organization wait for each other: the second counts what the first one brought.
    to = Organization.objects.select_for_update(no_key=True).get(pk=to.pk)
    rows = pairing.lock(owners, ())
    moved = {sn: row for sn, row in rows.items() if sn in owners and row.organization_id == owners[sn] != to.pk}
    if reason := why_not(to, len(moved)):
        raise Refused(reason)
    changes = Changes(actor, now=now, keep_accounts=keep_accounts)
    pairings = Pairings(rows, changes)
    pairings.load()
    by_key = {row.pk: row for row in moved.values()}
    carried: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by the dock's SN: its aircraft and their models
    linked = []
    for row in moved.values():
        if dock := by_key.get(row.gateway_id or 0):
            carried[dock.sn][row.sn] = row.model_key
            linked += [(dock.sn, row.sn)] if pairings.is_linked(dock.sn, row.sn) else []
    for row in moved.values():
        claim = Claim.NAMED if row.gateway_id in by_key else Claim.PERSON
        if row.is_bound:
            changes.take(row, ACTION)
        changes.give(row, to, claim, ACTION)
    pairings.end_all(moved, Pairing.Witness.RELEASE)
    for sn, aircraft in carried.items():
        pairings.apply(Testimony(sn, Pairing.Witness.RECORD, now, aircraft))
    for dock_sn, sn in linked:
        pairings.relink(dock_sn, sn)
    pairings.settle()
    broadcast.tell_device(pairings.write(moved).values())
    return list(moved.values())
