"""Acknowledge a problem, so that the start page hides it for a while; end that; and what is hidden now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, F, Max, Min, Model, QuerySet
from django.utils import timezone

from cloudapi.attention.kinds import KINDS, Kind
from cloudapi.attention.rows import Visit, is_acknowledged
from devices.models import Acknowledgement, Device
from organizations import audit, rights
from organizations.audit import Actor
from organizations.models import Role

ROLE = Role.OPERATOR  # from which on a member may acknowledge
DEVICES_NAMED = 5  # of one act
DEVICES_READ = 200  # for their names


class Act(NamedTuple):
    """What one person acknowledged at one moment, in one organization; None: platform staff's own."""

    kind: str
    organization_id: int | None
    at: datetime
    until: datetime
    reason: str
    by: str | None
    pk: int  # of one of its rows
    devices: int
    total: int  # of the rows that had the problem then


class Deed(NamedTuple):
    """The act of one person, over all organizations, and for which devices."""

    act: Act
    devices: list[str]
    others: int  # that are not named
    may_end: bool


class Known(NamedTuple):
    """A problem that is acknowledged, in whole or in part."""

    text: str
    view: str
    query: str
    deeds: list[Deed]


class Cover(NamedTuple):
    """What of a problem is hidden: how many rows, and by the acknowledgements of which organizations."""

    total: int
    organizations: frozenset[int | None]


def acts(visit: Visit) -> list[Act]:
    """What is acknowledged now, as far as the visitor may see it, the newest first. One query."""
    rows = Acknowledgement.objects.visible_to(visit.user).filter(until__gt=visit.now).order_by("-at", "kind")
    found = rows.values_list("kind", "organization", "at", "until", "reason", "by__username")
    return [Act(*row) for row in found.annotate(Min("pk"), Count("device"), Max("count")) if row[0] in KINDS]


def cover(kind: Kind, count: int, held: Iterable[Act], visit: Visit) -> Cover:
    """What these acts hide of `count` rows of a kind that is not of devices.

    An organization's is in force while no more of its rows have the problem than had it then.
    """
    known: dict[int | None, int] = {}
    for act in held:
        known[act.organization_id] = max(act.total, known.get(act.organization_id, 0))
    counts = by_organization(kind, visit) if set(known) - {None} else {}
    in_force = {key for key in known if key is not None and counts.get(key, 0) <= known[key]}
    hidden = sum(counts.get(key, 0) for key in in_force)
    if None in known and count - hidden <= known[None]:
        return Cover(count, frozenset({*in_force, None}))
    return Cover(hidden, frozenset(in_force))


def known(
    visit: Visit, kinds: Mapping[str, Kind], acts: Mapping[str, list[Act]], covers: Mapping[str, Cover]
) -> list[Known]:
    """What is acknowledged, by problem. One query."""
    named: dict[tuple[object, ...], list[str]] = defaultdict(list)
    if acts:
        rows = Acknowledgement.objects.visible_to(visit.user).filter(until__gt=visit.now, device__isnull=False)
        columns = ("kind", "at", "by__username", "device__callsign", "device__sn")
        for kind, at, by, callsign, sn in rows.order_by("-at", "pk").values_list(*columns)[:DEVICES_READ]:
            named[kind, at, by].append(callsign or sn)
    may = rights.of(visit.user).may
    found = []
    for name, held in ((name, acts[name]) for name in covers):
        deeds: dict[tuple[object, ...], Deed] = {}
        for act in held:
            if act.organization_id not in covers[name].organizations:
                continue  # outgrown
            key = (act.kind, act.at, act.by)
            earlier = deeds.get(key)
            size = act.devices + (earlier.act.devices if earlier else 0)
            may_end = visit.is_staff or may(ROLE, act.organization_id) or bool(earlier and earlier.may_end)
            devices = named[key][:DEVICES_NAMED]
            deeds[key] = Deed(act._replace(devices=size), devices, size - len(devices), may_end)
        if deeds:
            text = kinds[name].words(covers[name].total)
            found.append(Known(text, kinds[name].view, kinds[name].query, list(deeds.values())))
    return found


def by_organization(kind: Kind, visit: Visit) -> Mapping[int | None, int]:
    """How many rows have the problem, by organization. One query."""
    if kind.rows is None:
        return {}
    rows: QuerySet[Model, object] = kind.rows(visit)
    if not hasattr(rows.model, "organization_path"):
        return {}
    owner = F(rows.model.organization_path or "pk")
    if kind.where is not None:
        rows = rows.filter(kind.where(visit))
    counted = rows.order_by().values_list(owner).annotate(n=Count(kind.counted, distinct=True))
    return dict(counted)


def uncovered(name: str, visit: Visit) -> QuerySet[Device]:
    """The devices with this problem that the visitor may acknowledge."""
    kind = KINDS[name]
    assert kind.rows is not None  # noqa: S101  # a kind of devices
    devices: QuerySet[Device] = kind.rows(visit).filter(~is_acknowledged(name, visit))  # type: ignore[assignment]
    if kind.where is not None:
        devices = devices.filter(kind.where(visit))
    return rights.of(visit.user).readable(devices, ROLE).order_by("callsign", "sn")


@transaction.atomic
def acknowledge(name: str, count: int, *, visit: Visit, actor: Actor, reason: str, until: datetime) -> int:
    """Hide this problem until a moment, where the visitor may; returns how many rows it hides, 0: there is nothing.

    Of devices each is acknowledged by itself. Of the rest `count` are on the visitor's start page.
    """
    kind = KINDS[name]
    common = {"kind": name, "reason": reason, "by": actor.user, "at": timezone.now(), "until": until}
    if kind.is_of_devices:
        devices = list(uncovered(name, visit).only("sn", "callsign", "organization"))
        rows = [Acknowledgement(device=one, organization_id=one.organization_id, **common) for one in devices]
    else:
        counts: Mapping[int | None, int] = {None: count} if visit.is_staff else by_organization(kind, visit)
        held = [act for act in acts(visit) if act.kind == name]
        known = cover(kind, count, held, visit).organizations
        may = rights.of(visit.user).may
        rows = [
            Acknowledgement(organization_id=key, count=found, **common)
            for key, found in counts.items()
            if key not in known and may(ROLE, key)
        ]
        # One that was outgrown would hide it again when some of its rows are gone.
        outgrown = [act.pk for act in held if act.organization_id in {row.organization_id for row in rows}]
        Acknowledgement.objects.filter(pk__in=outgrown).update(until=common["at"])
    _record(actor, "acknowledge", Acknowledgement.objects.bulk_create(rows))
    return sum(row.count for row in rows)


@transaction.atomic
def end(row: Acknowledgement, *, visit: Visit, actor: Actor) -> int:
    """End this, with what its person acknowledged of the same at the same moment; returns how many rows ended."""
    same = Acknowledgement.objects.filter(kind=row.kind, at=row.at, by=row.by_id, until__gt=visit.now)
    locked = rights.of(visit.user).readable(same, ROLE).select_for_update(no_key=True, of=("self",)).order_by("pk")
    rows = list(locked.select_related("device"))
    Acknowledgement.objects.filter(pk__in=[one.pk for one in rows]).update(until=timezone.now())
    _record(actor, "end acknowledgement", rows)
    return len(rows)


def _record(actor: Actor, action: str, rows: Sequence[Acknowledgement]) -> None:
    """In the trail of the device, where there is one."""
    audit.record(
        audit.event(
            actor,
            action,
            row.device or row,
            organization_id=row.organization_id,
            after={"problem": row.kind, "reason": row.reason, "until": row.until.isoformat(timespec="seconds")},
        )
        for row in rows
    )
