"""What docks report about unlock licenses: apply a list, note a switch.

A dock has two inventories, by DJI's `device_model_domain`: what is imported in the aircraft (0) and what
FlySafe approved for the dock (3). DJI's page "remote unlock" has the messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.models import BigIntegerField, DateTimeField, PositiveSmallIntegerField
from django.utils import timezone

from devices.calls import methods
from devices.calls.transition import End, FollowUp
from devices.live import broadcast
from devices.models import Device, ServiceCall
from licenses import geography
from licenses.models import BOX, Inventory, LicenseEvent, LicenseList, UnlockLicense
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared
from mqtt_bridge.protocol.messages import License, LicenseListReply

Kind = LicenseEvent.Kind
Event = Mapping[str, object]  # a row of the history that is not saved
LONGEST_WAIT = timedelta(days=8)  # of a switch for its dock, and more
REPORTED = (
    "name", "type", "group_id", "user_id", "device_sn", "begin_time", "end_time", "user_only", "enabled", "details",
)  # fmt: skip


# --- what the end of a call means ------------------------------------------------------------------


class Applied(NamedTuple):
    """A list that counted: of which inventory, and when it was asked for."""

    device_id: int
    domain: int
    asked_at: datetime


# One asked in the future was asked before the server's clock was set back.
APPLIED = Prepared(
    Applied,
    lambda: (
        LicenseList.objects.filter(
            AnyOf("device_id", "devices"),
            asked_at__gt=Parameter("since", DateTimeField()),
            asked_at__lte=Parameter("now", DateTimeField()),
            applied=True,
        )
        .order_by()
        .values_list("device_id", "device_model_domain", "asked_at")
    ),
)
# In the aircraft: of any of these licenses in any of these docks.
SWITCHED = Prepared(
    UnlockLicense,
    lambda: (
        UnlockLicense.objects.filter(
            AnyOf("device_id", "devices"), AnyOf("license_id", "licenses"), device_model_domain=Inventory.AIRCRAFT
        )
        .only("device_id", "device_model_domain", "license_id", "name", "enabled")
        .select_for_update(no_key=True)
        .order_by("pk")
    ),
)


def listed(ends: Iterable[End]) -> None:
    """An answered list replaces its inventory; one without a list, or overtaken by a later one, changes nothing.

    An incomplete list brings licenses and takes none away. Must run in a transaction; two statements, and for each list
    one that reads its inventory, since that may be long, and at most one for each kind of change.
    """
    answered = [(call, data) for call, data in _confirmed(ends) if isinstance(data, LicenseListReply)]
    if not answered:
        return
    now = timezone.now()
    devices, since = {call.device_id for call, _ in answered}, min(call.created for call, _ in answered)
    known = APPLIED(devices=devices, since=since, now=now)
    answers = []
    for call, data in answered:
        domain = data.device_model_domain
        domain = Inventory(domain if domain in Inventory.values else call.data["device_model_domain"])
        overtaken = any(one[:2] == (call.device_id, domain) and one.asked_at > call.created for one in known)
        answer = LicenseList(
            device=call.device,
            device_model_domain=domain,
            consistence=data.consistence,
            complete=data.licenses is not None and not data.dropped,
            applied=data.licenses is not None and not overtaken,
            count=None if data.licenses is None else len(data.licenses),
            asked_at=call.created,
            fetched_at=now,
            call=call,
        )
        answers.append(answer)
        if answer.applied:
            known.append(Applied(call.device_id, domain, call.created))
            _apply(call, answer, data.licenses or [])
    bulk.insert(LicenseList, bulk.values_of(answers))
    broadcast.tell_licenses(call.device for call, _ in answered)


def switched(ends: Iterable[End]) -> list[FollowUp]:
    """Note switches that the docks confirmed, and read the lists that prove them; four statements."""
    calls = {(call.device_id, call.data["license_id"]): call for call, _ in _confirmed(ends)}
    rows = SWITCHED(devices={device for device, _ in calls}, licenses={license_id for _, license_id in calls})
    now, changed, events = timezone.now(), [], []
    for row in rows:
        call = calls.get((row.device_id, row.license_id))
        if call is None or row.enabled is call.data["enable"]:
            continue
        before, row.enabled = row.enabled, call.data["enable"]
        kind = Kind.ENABLED if row.enabled else Kind.DISABLED
        changed.append(row)
        events.append(_event(call, row, kind, now, {"enabled": before}, {"enabled": row.enabled}))
    UnlockLicense.objects.write_fields(changed, ["enabled"])
    bulk.insert(LicenseEvent, events)
    broadcast.tell_licenses(call.device for call in calls.values())
    return _lists(calls.values(), Inventory.AIRCRAFT)


def updated(ends: Iterable[End]) -> list[FollowUp]:
    """Read both lists after updates that the docks confirmed, which proves no import."""
    return _lists([call for call, _ in _confirmed(ends)], Inventory.AIRCRAFT, Inventory.DOCK)


def _confirmed(ends: Iterable[End]) -> list[End]:
    """What docks did, for the organizations that still own them.

    A release waits for open calls, which are locked here, but not for one that is answered late: then its dock is
    locked. A dock that is locked already may be on its way to another owner; the schedule reads its lists soon.
    """
    done = [end for end in ends if end.call.status == ServiceCall.Status.SUCCEEDED]
    owners = {end.call.device_id: end.call.device.organization_id for end in done}
    if late := {end.call.device_id for end in done if end.call.late}:
        docks = Device.objects.filter(pk__in=late).order_by("pk").select_for_update(no_key=True, skip_locked=True)
        owners |= dict.fromkeys(late) | dict(docks.values_list("pk", "organization_id"))
    return [end for end in done if owners[end.call.device_id] == end.call.organization_id]


def _lists(calls: Iterable[ServiceCall], *inventories: Inventory) -> list[FollowUp]:
    return [
        FollowUp(call, methods.LIST, {"device_model_domain": int(domain)}) for call in calls for domain in inventories
    ]


# --- apply a list ----------------------------------------------------------------------------------


class Stored(NamedTuple):
    """A license as it was last reported."""

    license_id: int
    raw: dict[str, object]
    enabled: bool | None


STORED = Prepared(
    Stored,
    lambda: (
        UnlockLicense.objects.filter(
            device=Parameter("device", BigIntegerField()),
            device_model_domain=Parameter("domain", PositiveSmallIntegerField()),
        )
        .order_by()
        .values_list("license_id", "raw", "enabled")
    ),
)


def _apply(call: ServiceCall, answer: LicenseList, licenses: Sequence[License]) -> None:
    """Make the rows of the inventory what the list says; at most one statement for each kind of change."""
    domain = int(answer.device_model_domain)
    stored = {key: shown for key, *shown in STORED(device=answer.device_id, domain=domain)}
    by_id = {license_.common_fields.license_id: license_ for license_ in licenses}
    news = [
        license_
        for key, license_ in by_id.items()
        if stored.get(key or 0) != [license_.raw, license_.common_fields.enabled]
    ]
    gone = stored.keys() - by_id.keys() if answer.complete else set()
    if not news and not gone:
        return  # as nearly always
    known: dict[int, UnlockLicense] = {}
    others: dict[int, UnlockLicense] = {}  # of the dock's other inventory
    for row in UnlockLicense.objects.filter(device=answer.device_id).defer("raw"):
        (known if row.device_model_domain == domain else others)[row.license_id] = row
    at = answer.fetched_at
    rows = [_read(answer, license_) for license_ in news]
    turned = [row for row in rows if row.license_id in known and known[row.license_id].enabled is not row.enabled]
    if turned and domain == Inventory.AIRCRAFT:
        switched = _switched_since(call)
        for row in turned:
            row.enabled = switched.get(row.license_id, row.enabled)
    new, changed, events = [], [], []
    for row in rows:
        row.in_other_inventory = row.license_id in others
        before = known.get(row.license_id)
        if before is None:
            new.append(row)
            events.append(_event(call, row, Kind.APPEARED, at, after=_shown(row)))
        else:
            row.pk, row.note = before.pk, before.note
            changed.append(row)
            events += _changes(call, before, row, at)
    vanished = [known[key] for key in sorted(gone)]
    for row in vanished:
        note = {"note": row.note} if row.note else {}
        events.append(_event(call, row, Kind.VANISHED, at, before=_shown(row) | note))
    if vanished:
        UnlockLicense.objects.filter(pk__in=[row.pk for row in vanished]).delete()
    UnlockLicense.objects.write_fields(changed, [*REPORTED, "raw", "seen_at", "in_other_inventory", *BOX])
    bulk.insert(UnlockLicense, bulk.values_of(new))
    held = by_id.keys() | known.keys() - gone
    twins = [row for key, row in others.items() if row.in_other_inventory is not (key in held)]
    for twin in twins:
        twin.in_other_inventory = not twin.in_other_inventory
    UnlockLicense.objects.write_fields(twins, ["in_other_inventory"])
    bulk.insert(LicenseEvent, events)


def _switched_since(asked: ServiceCall) -> dict[int, bool]:
    """What the dock confirmed of switches sent after the question for this list, which may be older: on or off."""
    switches = ServiceCall.objects.filter(
        device=asked.device_id,
        organization=asked.organization_id,
        method=methods.SWITCH,
        status=ServiceCall.Status.SUCCEEDED,
        created__gt=asked.created - LONGEST_WAIT,
        sent__gte=asked.sent or asked.created,
    )
    data = switches.order_by("sent").values_list("data", flat=True)
    return {one["license_id"]: one["enable"] for one in data}


def _changes(call: ServiceCall, known: UnlockLicense, row: UnlockLicense, at: datetime) -> list[Event]:
    """What became of a license that the list has in another form: it was switched, something else changed, or both."""
    before, after = _shown(known), _shown(row)
    differing = [name for name in REPORTED if before[name] != after[name]]
    events = []
    if "enabled" in differing and row.enabled is not None:
        kind = Kind.ENABLED if row.enabled else Kind.DISABLED
        events.append(_event(call, row, kind, at, {"enabled": known.enabled}, {"enabled": row.enabled}))
        differing.remove("enabled")
    if differing:
        old, new = ({name: values[name] for name in differing} for values in (before, after))
        events.append(_event(call, row, Kind.CHANGED, at, old, new))
    return events


def _event(
    call: ServiceCall,
    row: UnlockLicense,
    kind: Kind,
    at: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> Event:
    """The organization is the call's."""
    return {
        "device_id": row.device_id,
        "organization_id": call.organization_id,
        "device_model_domain": row.device_model_domain,
        "license_id": row.license_id,
        "name": row.name,
        "kind": kind,
        "at": at,
        "call_id": call.pk,
        "before": before or {},
        "after": after or {},
    }


def _read(answer: LicenseList, license_: License) -> UnlockLicense:
    """A license as the dock wrote it; what is out of every range is kept in `raw` alone."""
    common = license_.common_fields
    row = UnlockLicense(
        device=answer.device,
        device_model_domain=answer.device_model_domain,
        license_id=common.license_id or 0,  # the protocol leaves out a license without one
        name=common.name,
        type=common.type,
        group_id=common.group_id,
        user_id=common.user_id,
        device_sn=common.device_sn,
        begin_time=_moment(common.begin_time),
        end_time=_moment(common.end_time),
        user_only=common.user_only,
        enabled=common.enabled,
        details=license_.details,
        raw=license_.raw,
        seen_at=answer.fetched_at,
    )
    row.west, row.south, row.east, row.north = geography.box_of(row)
    return row


def _moment(seconds: int | None) -> datetime | None:
    """Seconds since 1970 as a moment; None also for a date that Python cannot hold."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _shown(row: UnlockLicense) -> dict[str, object]:
    """The reported fields of a license, as JSON."""
    values = {name: getattr(row, name) for name in REPORTED}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
