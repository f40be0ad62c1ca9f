"""Binding devices to organizations, and releasing them.

The answers are those of docs/protocol.md; the messages are on DJI's "organization" page.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from devices import pairing, topology
from devices.live import broadcast
from devices.models import Claim, Device, Pairing
from devices.ownership import Changes
from devices.pairing import Pairings, Testimony
from mqtt_bridge.database import bulk
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import BindDevice
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import is_sn
from organizations.audit import Actor
from organizations.credentials import Credentials, Verdict, check
from organizations.models import AuditEvent, BindingCode

# in the journal
BOUND_ELSEWHERE = "bound to another organization"
FOREIGN_DOCK = "through enrolment, for a dock of another organization"
NEITHER = "neither the dock that asks nor an aircraft"


class Request(NamedTuple):
    """The devices that the dock `gateway_sn` asks to bind: itself and its aircraft."""

    gateway_sn: str
    devices: Sequence[BindDevice]
    by_enrolment: bool = False  # anybody may have sent it


class BindResult(NamedTuple):
    """DJI's `err_code` for one device of a request; for the journal, the reason and the organization concerned."""

    err_code: int
    reason: str = ""
    organization_id: int | None = None
    begun: int = 0  # pairings that the gateway's requests began; with the first device of the first of them


def bind(requests: Sequence[Request], *, now: datetime) -> list[list[BindResult]]:
    """Bind every device of every request or say why not, in the order of arrival; must run in a transaction.

    A constant number of statements for any number of requests: codes and devices are locked in the order of
    their keys, everything is decided in Python, then written once. The same request again gets the same answer.
    """
    credentials = [
        Credentials(request.gateway_sn, wanted.organization_id, wanted.device_binding_code, request.by_enrolment)
        for request in requests
        for wanted in request.devices
    ]
    verdicts = deque(check(credentials, now=now, lock=True))
    entries: list[list[_Entry]] = []
    for request in requests:
        paid: set[int] = set()
        entries.append(
            [
                _Entry(request.gateway_sn, wanted, verdicts.popleft(), paid, request.by_enrolment)
                for wanted in request.devices
            ]
        )
    decision = _Decision([entry for of_request in entries for entry in of_request], now)
    results = [[decision.judge(entry) for entry in of_request] for of_request in entries]
    decision.pair()
    decision.write()
    for request, of_request in zip(requests, results, strict=True):
        of_request[0] = of_request[0]._replace(begun=decision.begun.pop(request.gateway_sn, 0))
    return results


class _Entry(NamedTuple):
    """One device of one request."""

    gateway_sn: str
    wanted: BindDevice
    verdict: Verdict
    paid: set[int]  # the codes that its request has used: once per request, not per device
    by_enrolment: bool

    @property
    def is_gateway(self) -> bool:
        """Whether it is the dock that asks."""
        return self.wanted.sn == self.gateway_sn

    @property
    def claim(self) -> Claim:
        """What makes its organization the owner of a dock that binds itself."""
        return Claim.ENROLLED if self.by_enrolment else Claim.CODE


class _Decision:
    """The rows of one group of bind requests while it is being decided."""

    def __init__(self, entries: Sequence[_Entry], now: datetime) -> None:
        with_code = [entry for entry in entries if entry.verdict.code]
        gateways, named = {entry.gateway_sn for entry in with_code}, {entry.wanted.sn for entry in with_code}
        self.now = now
        self.devices = pairing.lock(gateways, named)
        for entry in with_code:
            sn, key = entry.wanted.sn, entry.wanted.device_model_key
            may_be_new = entry.is_gateway or model_keys.domain(key) == model_keys.AIRCRAFT
            if sn not in self.devices and may_be_new and is_sn(sn):
                self.devices[sn] = Device(sn=sn)
        self._read_pairings(with_code)
        organizations = {entry.verdict.code.organization for entry in with_code if entry.verdict.code}
        self.room = pairing.room_in({organization.pk: organization.device_limit for organization in organizations})
        self.ownership = Changes(Actor(AuditEvent.Through.BRIDGE), now=now)
        self.pairings = Pairings(self.devices, self.ownership, room=self.room)
        self.named: defaultdict[str, set[str]] = defaultdict(set)  # by the gateway's SN: all that its requests name
        for entry in entries:
            self.named[entry.gateway_sn].add(entry.wanted.sn)
        self.aircraft: dict[str, dict[str, str]] = {}  # by the gateway's SN: the aircraft it binds, with their models
        self.begun: dict[str, int] = {}  # by the gateway's SN: pairings
        self.used: dict[int, BindingCode] = {}
        self.touched: dict[str, Device] = {}
        self.gateways: dict[str, Device] = {}  # those that bound themselves, with an account of their own
        self.misnamed: set[str] = set()  # gateways that some dock named as its aircraft

    def _read_pairings(self, with_code: Sequence[_Entry]) -> None:
        """Read the open pairings of aircraft that the requests do not settle alone; at most one query, mostly none."""
        owners = {entry.verdict.organization_id for entry in with_code}
        keyless, contested = set(), set()
        for entry in with_code:
            device = self.devices.get(entry.wanted.sn)
            if not entry.is_gateway and not entry.wanted.device_model_key:
                keyless.add(entry.wanted.sn)
            if device is None or not device.pk or not device.is_unproven or entry.by_enrolment:
                continue
            if owners - {device.organization_id}:
                contested.add(device.sn)
        self.paired: set[tuple[str, str]] = set()  # (dock, aircraft)
        # (dock, aircraft): its telemetry came through this dock, and through no dock of its present owner
        self.heard: set[tuple[str, str]] = set()
        if not (doubtful := (keyless | contested) - {""}):
            return
        rows = Pairing.objects.filter(until=None, aircraft__sn__in=doubtful).values_list(
            "dock__sn", "aircraft__sn", "is_heard", "dock__organization", "aircraft__organization"
        )
        proven = set()
        for dock_sn, sn, is_heard, dock_owner, owner in rows:
            self.paired.add((dock_sn, sn))
            if is_heard and sn in contested:
                self.heard.add((dock_sn, sn))
                proven |= {sn} if dock_owner == owner else set()
        self.heard = {(dock_sn, sn) for dock_sn, sn in self.heard if sn not in proven}

    def judge(self, entry: _Entry) -> BindResult:
        """Decide on one device, and change its row if it may be bound."""
        code, device = entry.verdict.code, self.devices.get(entry.wanted.sn)
        reason = self._why_not(entry, device, code) if code else entry.verdict.reason
        if code is None or device is None or reason:
            return BindResult(Code.BIND_FAILED, reason, entry.verdict.organization_id)
        if device.organization_id not in (None, code.organization_id) and not self._yields(entry, device, code):
            return BindResult(Code.BOUND_ELSEWHERE, BOUND_ELSEWHERE, code.organization_id)
        self._take(entry, device, code)
        return BindResult(Code.OK, "", code.organization_id)

    def _why_not(self, entry: _Entry, device: Device | None, code: BindingCode) -> str:
        """Why this device may not be bound with this code; empty if it may, or is bound already."""
        if not entry.wanted.sn:
            return "serial number missing"
        if device is None:
            return NEITHER
        if not entry.is_gateway and not self._is_aircraft(entry, device):
            return NEITHER
        gateway = self.devices.get(entry.gateway_sn)
        if entry.by_enrolment and gateway is not None and gateway.organization_id not in (None, code.organization_id):
            # For the dock itself "bound elsewhere" follows; nobody may name aircraft in its name.
            return "" if entry.is_gateway else FOREIGN_DOCK
        yields = self._yields(entry, device, code)
        if not device.is_enabled and not yields:
            return "device disabled"
        if len(self.aircraft.get(entry.gateway_sn, {}).keys() - {device.sn}) >= pairing.MOST:
            return pairing.TOO_MANY
        if device.organization_id == code.organization_id and code.revoked_at is None and code.organization.is_active:
            return ""
        if code.pk not in entry.paid and (unusable := code.why_unusable(self.now)):
            return unusable
        if (device.organization_id is None or yields) and self.room.get(code.organization_id, 1) < 1:
            return "device limit of the organization reached"
        return ""

    def _is_aircraft(self, entry: _Entry, device: Device) -> bool:
        """Whether this is an aircraft, by its model in the request and in our row, else by its pairing."""
        if device.bound_itself:
            return False
        if keys := [key for key in (entry.wanted.device_model_key, device.model_key) if key]:
            return all(model_keys.domain(key) == model_keys.AIRCRAFT for key in keys)
        return (entry.gateway_sn, device.sn) in self.paired

    def _yields(self, entry: _Entry, device: Device, code: BindingCode) -> bool:
        """Whether another owner owns it only because a dock named it, and the contrary is proven.

        A device that binds itself is no aircraft. An aircraft that another owner's dock named is with the asking dock
        if its own telemetry came through that, and never through a dock of its owner. A dock that was bound through
        enrolment belongs to the code that it brings with its own account. Nothing that comes through enrolment is
        proof.
        """
        if entry.by_enrolment or device.organization_id in (None, code.organization_id):
            return False
        if device.claim == Claim.ENROLLED:
            return entry.is_gateway
        if not device.is_unproven:
            return False
        return entry.is_gateway or (entry.gateway_sn, device.sn) in self.heard

    def _take(self, entry: _Entry, device: Device, code: BindingCode) -> None:
        """Change the row of a device that may be bound; a new owner costs one use of the code per request."""
        key = entry.wanted.device_model_key
        is_misnamed = entry.is_gateway and device.is_unproven
        if device.organization_id != code.organization_id:
            if code.pk not in entry.paid:
                entry.paid.add(code.pk)
                code.uses += 1
                self.used[code.pk] = code
            if code.organization_id in self.room:
                self.room[code.organization_id] -= 1
            claim = entry.claim if entry.is_gateway else Claim.NAMED
            self.ownership.give(device, code.organization, claim, "bind", code=code)
            self.touched[device.sn] = device
            if entry.is_gateway and not entry.by_enrolment:
                self.gateways[device.sn] = device
        if is_misnamed:  # what binds itself is no aircraft
            self.misnamed.add(device.sn)
            device.claim, device.gateway, device.model_key = entry.claim, None, ""
            self.touched[device.sn] = device
        if entry.is_gateway and device.note_code(by_enrolment=entry.by_enrolment, at=self.now):
            self.touched[device.sn] = device
        if entry.is_gateway and model_keys.domain(key) == model_keys.AIRCRAFT:
            key = ""  # no aircraft asks
        described = (entry.wanted.device_callsign or device.callsign, key or device.model_key)
        if (device.callsign, device.model_key) != described:
            device.callsign, device.model_key = described
            self.touched[device.sn] = device
        if not entry.is_gateway:
            self.aircraft.setdefault(entry.gateway_sn, {})[device.sn] = device.model_key

    def pair(self) -> None:
        """Update the pairings from the requests and the new owners, unless nothing of it is new."""
        # Another transaction may make the same device at this moment: this one fails then and is repeated.
        bulk.assign_keys(Device, [device for device in self.touched.values() if device.pk is None])
        gateways = [device for sn in self.aircraft if (device := self.devices.get(sn)) and device.pk is not None]
        is_known = all(
            self.devices[sn].gateway_id == gateway.pk for gateway in gateways for sn in self.aircraft[gateway.sn]
        )
        if is_known and not self.ownership.given and not self.misnamed:
            return
        self.pairings.load()
        self.pairings.end_all(self.misnamed, Pairing.Witness.BIND)
        for gateway in gateways:
            bound = self.aircraft[gateway.sn]
            refused = self.named[gateway.sn] - bound.keys()
            before = self.pairings.begun
            self.pairings.apply(
                Testimony(gateway.sn, Pairing.Witness.BIND, self.now, bound, linked=True, refused=refused)
            )
            self.begun[gateway.sn] = self.pairings.begun - before
        self.pairings.settle()

    def write(self) -> None:
        """Save what changed, and tell browsers; a constant number of statements, none where nothing changed."""
        changed = self.pairings.write(self.touched)
        BindingCode.objects.write_fields(self.used.values(), ["uses"])
        # What has just bound itself is online.
        if self.gateways:
            connections = topology.Connections(self.gateways.values(), now=self.now)
            for gateway in self.gateways.values():
                connections.note(gateway, online=True)
            connections.write()
        broadcast.tell_device(changed.values())


# --- release -----------------------------------------------------------------------------------


@transaction.atomic
def release(devices: Iterable[Device], *, actor: Actor, now: datetime | None = None) -> list[Device]:
    """Take devices from their organization, so that another may bind them; returns those that were bound.

    A device that has another owner now than its given row says is left alone: nobody was asked about that one.
    What the next owner must not see goes (`devices/ownership.py`). Returns the rows as they were.
    """
    now = now or timezone.now()
    owners = {device.sn: device.organization_id for device in devices}
    rows = pairing.lock(owners, ())
    changes = Changes(actor, now=now)
    pairings = Pairings(rows, changes)
    pairings.load()
    bound = {sn: row for sn, row in rows.items() if row.is_bound and row.organization_id == owners.get(sn)}
    were = [copy(row) for row in bound.values()]
    for row in bound.values():
        changes.take(row, "release")
    # An aircraft that stays goes to another dock that has it, if any.
    pairings.end_all(bound, Pairing.Witness.RELEASE)
    pairings.settle()
    broadcast.tell_device(pairings.write(bound).values())
    return were
