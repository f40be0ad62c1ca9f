"""Binding devices to organizations: who owns this, whose code is this, bind, release.

The answers are those of docs/protocol.md; the messages are on DJI's "organization" page.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from devices import ownership, pairing, topology
from devices.live import broadcast
from devices.models import Device, DeviceState, Pairing
from devices.ownership import Changes
from devices.pairing import Pairings, Word
from mqtt_bridge.bulk import append, number
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import BindDevice, BindStatus
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import is_sn
from organizations.audit import Actor
from organizations.credentials import Credentials, Verdict, check
from organizations.models import AuditEvent, BindingCode, Organization

BOUND_ELSEWHERE = "bound to another organization"  # in the journal


class BindEntry(NamedTuple):
    """One device that the dock `gateway_sn` asks to bind in its request number `request`."""

    request: int
    gateway_sn: str
    wanted: BindDevice


class BindResult(NamedTuple):
    """DJI's `err_code` for one entry, and for the journal why and whom it concerns."""

    err_code: int
    reason: str = ""
    organization_id: int | None = None


class Finding(NamedTuple):
    """The organization that an id and a code open, or why none, and for the journal whom the attempt concerns."""

    organization: Organization | None
    reason: str
    organization_id: int | None


# --- questions ---------------------------------------------------------------------------------


def bind_status(questions: Sequence[tuple[str, Sequence[str]]]) -> list[list[BindStatus]]:
    """For each (gateway, serial numbers asked for): one entry per number, in the order asked. One query.

    Whether a number is bound is told of every device; names only of the gateway's own and of its organization's
    devices (docs/protocol.md, decision 30), so that nobody learns who owns what.
    """
    asked = {sn for gateway_sn, sns in questions for sn in (gateway_sn, *sns)}
    known = {device.sn: device for device in Device.objects.filter(sn__in=asked).select_related("organization")}
    return [[_status(sn, known.get(sn), known.get(gateway_sn)) for sn in sns] for gateway_sn, sns in questions]


def _status(sn: str, device: Device | None, asking: Device | None) -> BindStatus:
    if device is None:
        return BindStatus(sn=sn, is_device_bind_organization=False)
    owner = device.speaks_for if asking is not None and asking.pk == device.pk else device.organization
    if owner is None:
        return BindStatus(sn=sn, is_device_bind_organization=False)
    if not _may_learn_names(asking, device):
        return BindStatus(sn=sn, is_device_bind_organization=True)
    return BindStatus(
        sn=sn,
        is_device_bind_organization=True,
        organization_id=owner.organization_id,
        organization_name=owner.name,
        device_callsign=device.callsign,
    )


def _may_learn_names(asking: Device | None, device: Device) -> bool:
    if asking is None:
        return False
    own = asking.speaks_for
    return asking.pk in (device.pk, device.gateway_id) or (own is not None and own.pk == device.organization_id)


def find_organizations(attempts: Sequence[Credentials], *, now: datetime) -> list[Finding]:
    """For each pair of id and code the organization it opens. Consumes nothing, but notes what is wrong."""
    return [_finding(verdict, now) for verdict in check(attempts, now=now)]


def _finding(verdict: Verdict, now: datetime) -> Finding:
    if verdict.code is None:
        return Finding(None, verdict.reason, verdict.organization_id)
    reason = verdict.code.why_unusable(now)
    return Finding(None if reason else verdict.code.organization, reason, verdict.organization_id)


# --- binding -----------------------------------------------------------------------------------


def bind(entries: Sequence[BindEntry], *, now: datetime) -> list[BindResult]:
    """Bind every entry or say why not, in the order of arrival; must run in a transaction.

    A constant number of statements for any number of entries: codes and devices are locked in the order of
    their keys, everything is decided in Python, then written once. Doing the same again gives the same answer.
    """
    verdicts = check(
        [
            Credentials(entry.gateway_sn, entry.wanted.organization_id, entry.wanted.device_binding_code)
            for entry in entries
        ],
        now=now,
        lock=True,
    )
    right = [entry for entry, verdict in zip(entries, verdicts, strict=True) if verdict.code]
    devices = _lock({entry.gateway_sn for entry in right}, {entry.wanted.sn for entry in right})
    for entry in right:
        if entry.wanted.sn not in devices and _may_exist(entry):
            devices[entry.wanted.sn] = Device(sn=entry.wanted.sn)
    heard = _heard(right, verdicts, devices)
    named: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        named[entry.gateway_sn].add(entry.wanted.sn)
    decision = _Decision(
        now=now, devices=devices, room=_room(verdicts), named=named, paired=_paired(right), heard=heard
    )
    results = [decision.judge(entry, verdict) for entry, verdict in zip(entries, verdicts, strict=True)]
    decision.write()
    return results


class _Decision:
    """The rows of one group of bind requests while it is being decided."""

    def __init__(
        self,
        *,
        now: datetime,
        devices: dict[str, Device],
        room: dict[int, int],
        named: Mapping[str, set[str]],
        paired: set[tuple[str, str]],
        heard: set[tuple[str, str]],
    ) -> None:
        self.now = now
        self.devices = devices
        self.room = room
        self.named = named  # by the gateway's SN: all that its requests name
        self.paired = paired
        self.heard = heard
        self.ownership = Changes(Actor(AuditEvent.Through.BRIDGE), now=now)
        self.aircraft: dict[str, dict[str, str]] = {}  # by the gateway's SN: the aircraft it binds, with their models
        self.paid: set[tuple[int, int]] = set()  # (request, code): a code is used once per request
        self.used: dict[int, BindingCode] = {}
        self.bound: dict[str, Device] = {}
        self.touched: dict[str, Device] = {}
        self.gateways: set[str] = set()
        self.misnamed: set[str] = set()  # gateways that some dock named as its aircraft

    def judge(self, entry: BindEntry, verdict: Verdict) -> BindResult:
        code, wanted = verdict.code, entry.wanted
        if code is None:
            return BindResult(Code.BIND_FAILED, verdict.reason, verdict.organization_id)
        device = self.devices.get(wanted.sn)
        reason = self._why_not(entry, device, code)
        if device is None or reason:
            return BindResult(Code.BIND_FAILED, reason, code.organization_id)
        is_misnamed = device.sn == entry.gateway_sn and device.is_unproven
        if device.organization_id is None or self._yields(entry, device, code):
            self._give(entry, device, code)
        elif device.organization_id != code.organization_id:
            return BindResult(Code.BOUND_ELSEWHERE, BOUND_ELSEWHERE, code.organization_id)
        if is_misnamed:  # what binds itself is no aircraft
            self.misnamed.add(device.sn)
            device.claim, device.gateway, device.model_key = Device.Claim.CODE, None, ""
            self.touched[device.sn] = device
        self._describe(entry, device)
        if device.sn != entry.gateway_sn:
            self.aircraft.setdefault(entry.gateway_sn, {})[device.sn] = device.model_key
        return BindResult(Code.OK, "", code.organization_id)

    def _yields(self, entry: BindEntry, device: Device, code: BindingCode) -> bool:
        """Whether another owner has nothing but a dock's word, and the contrary is proven.

        A device that binds itself is no aircraft. An aircraft that another one's dock named is with the dock that asks
        if its own telemetry came through that, and never through a dock of its owner.
        """
        if not device.is_unproven or device.organization_id in (None, code.organization_id):
            return False
        return device.sn == entry.gateway_sn or (entry.gateway_sn, device.sn) in self.heard

    def _why_not(self, entry: BindEntry, device: Device | None, code: BindingCode) -> str:
        """Why this device may not be bound with this code; empty if it may, or is bound there already."""
        if device is None:
            return "neither the dock that asks nor an aircraft" if entry.wanted.sn else "serial number missing"
        if entry.wanted.sn != entry.gateway_sn and not self._is_aircraft(device, entry):
            return "neither the dock that asks nor an aircraft"
        yields = self._yields(entry, device, code)
        if not device.is_enabled and not yields:
            return "device disabled"
        if len(self.aircraft.get(entry.gateway_sn, {}).keys() - {device.sn}) >= pairing.MOST:
            return pairing.TOO_MANY
        if device.organization_id == code.organization_id and code.revoked_at is None and code.organization.is_active:
            return ""
        if (entry.request, code.pk) not in self.paid and (unusable := code.why_unusable(self.now)):
            return unusable
        if (device.organization_id is None or yields) and self.room.get(code.organization_id, 1) < 1:
            return "device limit of the organization reached"
        return ""

    def _is_aircraft(self, device: Device, entry: BindEntry) -> bool:
        """Whether the request and what we knew before say that this is an aircraft; if neither does, a pairing may."""
        if device.claim == Device.Claim.CODE:
            return False
        keys = [key for key in (entry.wanted.device_model_key, device.model_key) if key]
        if not keys:
            return (entry.gateway_sn, device.sn) in self.paired
        return all(model_keys.domain(key) == model_keys.AIRCRAFT for key in keys)

    def _give(self, entry: BindEntry, device: Device, code: BindingCode) -> None:
        if (entry.request, code.pk) not in self.paid:
            self.paid.add((entry.request, code.pk))
            code.uses += 1
            self.used[code.pk] = code
        if code.organization_id in self.room:
            self.room[code.organization_id] -= 1
        is_gateway = device.sn == entry.gateway_sn
        claim = Device.Claim.CODE if is_gateway else Device.Claim.NAMED
        self.ownership.give(device, code.organization, claim, "bind", code=code)
        self.bound[device.sn] = device
        if is_gateway:
            self.gateways.add(device.sn)

    def _describe(self, entry: BindEntry, device: Device) -> None:
        wanted, key = entry.wanted, entry.wanted.device_model_key
        if device.sn == entry.gateway_sn and model_keys.domain(key) == model_keys.AIRCRAFT:
            key = ""  # no aircraft asks
        new = (wanted.device_callsign or device.callsign, key or device.model_key)
        if (device.callsign, device.model_key) != new or device.sn in self.bound:
            device.callsign, device.model_key = new
            self.touched[device.sn] = device

    def write(self) -> None:
        """A constant number of statements, none for a kind of row that did not change."""
        # Somebody else may make the same device at this moment: the transaction fails then and is repeated.
        new = {sn: device for sn, device in self.touched.items() if device.pk is None}
        number(Device, list(new.values()))
        pairings = self._pair(new)
        if pairings is not None:
            self.touched |= pairings.changed
        ownership.save(device for sn, device in self.touched.items() if sn not in new)
        append(Device, list(new.values()))
        if pairings is not None:
            pairings.write()
            broadcast.tell_device(device for sn, device in pairings.docks.items() if sn not in self.touched)
        if self.used:
            BindingCode.objects.bulk_update(self.used.values(), ["uses"])
        self.ownership.write()
        self._set_online([new[sn] for sn in self.gateways & new.keys()], self.gateways - new.keys())
        broadcast.tell_device(self.touched.values())

    def _set_online(self, new: Sequence[Device], known: Collection[str]) -> None:
        """Gateways that were just bound speak."""
        append(
            DeviceState,
            [DeviceState(device=gateway, online=True, last_seen=self.now, connected_since=self.now) for gateway in new],
        )
        if known:
            gateways = [self.devices[sn] for sn in known]
            prefetch_related_objects(gateways, "state")
            topology.write_presence(
                topology.with_presence(gateway, online=True, seen_at=self.now) for gateway in gateways
            )

    def _pair(self, new: Collection[str]) -> Pairings | None:
        """What the list says of pairings, and what new owners mean for them; None if that is all known."""
        gateways = {
            sn: self.devices[sn] for sn in self.aircraft if sn in self.devices and self.devices[sn].pk is not None
        }
        is_known = all(
            self.devices[sn].gateway_id == gateway.pk
            for gateway in gateways.values()
            for sn in self.aircraft[gateway.sn]
        )
        if is_known and not self.bound and not self.misnamed:
            return None
        prefetch_related_objects(list(self.devices.values()), "organization")
        pairings = Pairings(self.devices, self.ownership, now=self.now, room=self.room)
        pairings.load(device for sn, device in self.devices.items() if sn not in new)
        pairings.end_all(self.misnamed, Pairing.Witness.BIND)
        for sn in gateways:
            refused = self.named[sn] - self.aircraft[sn].keys()
            pairings.hear(Word(sn, Pairing.Witness.BIND, self.now, self.aircraft[sn], linked=True, refused=refused))
        pairings.settle()
        return pairings


def _lock(gateways: set[str], named: set[str]) -> dict[str, Device]:
    """What we know of the devices with these serial numbers and of the gateways' own aircraft, locked."""
    known = Device.objects.filter(pairing.concerned(gateways, named)).lock_in_order()
    return {device.sn: device for device in known}


def _paired(entries: Iterable[BindEntry]) -> set[tuple[str, str]]:
    """Of the entries without a model key: which of them are (gateway, its aircraft) already; at most one query."""
    asked = [(entry.gateway_sn, entry.wanted.sn) for entry in entries if not entry.wanted.device_model_key]
    asked = [(gateway_sn, sn) for gateway_sn, sn in asked if sn not in ("", gateway_sn)]
    if not asked:
        return set()
    rows = Pairing.objects.filter(until=None, aircraft__sn__in={sn for _, sn in asked})
    return set(rows.values_list("dock__sn", "aircraft__sn"))


def _may_exist(entry: BindEntry) -> bool:
    """Whether to record a device of this name: the dock that asks, or what it calls an aircraft."""
    named = entry.wanted
    is_aircraft = model_keys.domain(named.device_model_key) == model_keys.AIRCRAFT
    return is_sn(named.sn) and (named.sn == entry.gateway_sn or is_aircraft)


def _heard(
    entries: Iterable[BindEntry], verdicts: Iterable[Verdict], devices: dict[str, Device]
) -> set[tuple[str, str]]:
    """(gateway, aircraft) of aircraft whose owner a dock's word made: who was heard there, and nowhere at its owner's.

    At most one query, none if nobody else's aircraft is asked for.
    """
    own = {verdict.code.organization_id for verdict in verdicts if verdict.code}
    named = [devices[entry.wanted.sn] for entry in entries if entry.wanted.sn in devices]
    foreign = {device.pk for device in named if device.pk and device.is_unproven and own - {device.organization_id}}
    if not foreign:
        return set()
    rows = Pairing.objects.filter(until=None, is_heard=True, aircraft__in=foreign)
    heard = list(rows.values_list("dock__sn", "aircraft__sn", "dock__organization", "aircraft__organization"))
    proven = {sn for _, sn, dock_owner, owner in heard if dock_owner == owner}
    return {(dock_sn, sn) for dock_sn, sn, *_ in heard if sn not in proven}


def _room(verdicts: Iterable[Verdict]) -> dict[int, int]:
    organizations = {verdict.code.organization for verdict in verdicts if verdict.code}
    return pairing.room_in({organization.pk: organization.device_limit for organization in organizations})


# --- release -----------------------------------------------------------------------------------


@transaction.atomic
def release(devices: Iterable[Device], *, actor: Actor, now: datetime | None = None) -> list[Device]:
    """Take devices from their organization, so that another may bind them; returns those that were bound.

    A device that has another owner by now than its given row says is left alone: nobody was asked about that one.
    What the next owner must not see goes (`devices/ownership.py`). Returns the rows as they were.
    """
    now = now or timezone.now()
    owners = {device.sn: device.organization_id for device in devices}
    locked = Device.objects.filter(pairing.concerned(owners, ())).select_related("organization").lock_in_order()
    rows = {row.sn: row for row in locked}
    bound = [row for row in rows.values() if row.is_bound and row.organization_id == owners.get(row.sn)]
    were = [copy(row) for row in bound]
    changes = Changes(actor, now=now)
    for row in bound:
        changes.take(row, "release")
    # An aircraft that stays goes to another dock that has it, if any.
    pairings = Pairings(rows, changes, now=now)
    pairings.load(rows.values())
    pairings.end_all([row.sn for row in bound], Pairing.Witness.RELEASE)
    pairings.settle()
    changed = {row.sn: row for row in bound} | pairings.changed
    ownership.save(changed.values())
    changes.write()
    pairings.write()
    broadcast.tell_device((pairings.docks | changed).values())
    return were
