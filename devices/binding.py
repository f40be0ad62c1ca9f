"""Binding devices to organizations, and releasing them.

The answers are those of docs/protocol.md; the messages are on DJI's "organization" page.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from devices import pairing, topology
from devices.live import broadcast
from devices.models import Claim, Device, Pairing, Standing
from devices.ownership import Changes
from devices.pairing import Pairings, Testimony
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Prepared, pipeline
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import BindDevice
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import is_sn
from organizations import credentials
from organizations.audit import Actor
from organizations.credentials import Credentials, Verdict
from organizations.models import AuditEvent, BindingCode

# in the journal
BOUND_ELSEWHERE = gettext_noop("bound to another organization")
FOREIGN_DOCK = gettext_noop("through enrolment, for a dock of another organization")
NEITHER = gettext_noop("neither the dock that asks nor an aircraft")


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
    # with the first device of a request:
    owner: int | None = None  # whose the gateway is, if that is certain
    begun: int = 0  # with the first request of the gateway: the pairings that its requests began


class _Columns(NamedTuple):
    sn: str
    pk: int
    callsign: str
    is_enabled: bool
    claim: str
    model_key: str
    gateway_id: int | None
    organization_id: int | None
    enrolled_at: datetime | None


class _Known(_Columns, Standing):
    """A device as it is read when nothing is to be written."""


_Row = Device | _Known
_KNOWN = Prepared(
    _Known,
    lambda: (
        Device.objects.filter(AnyOf("sn", "sns"))
        .order_by()
        .values_list(
            "sn", "pk", "callsign", "is_enabled", "claim", "model_key", "gateway", "organization", "enrolled_at"
        )
    ),
)


def bind(requests: Sequence[Request], *, now: datetime) -> list[list[BindResult]]:
    """Bind every device of every request or say why not, in the order of arrival.

    A constant number of statements for any number of requests: rows are read, everything is decided in Python, then
    written once. The same request again gets the same answer and writes nothing, so it is decided on rows that nobody
    locked: what it is told was true when they were read. If anything is to be written, all is read and decided again
    in a transaction, with codes and devices locked in the order of their keys.
    """
    attempts = [
        Credentials(request.gateway_sn, wanted.organization_id, wanted.device_binding_code, request.by_enrolment)
        for request in requests
        for wanted in request.devices
    ]
    sns = {request.gateway_sn for request in requests} | {wanted.sn for one in requests for wanted in one.devices}
    known: dict[str, _Row] = {device.sn: device for device in _KNOWN(sns=sns)}
    if known.keys() == sns:
        verdicts, failures = credentials.judge(attempts, now=now)
        decision = _Decision(_entries(requests, verdicts), known, now)
        if not (failures or decision.changes):
            return decision.answer(requests)
    with transaction.atomic():
        verdicts, failures = credentials.judge(attempts, now=now, lock=True)
        entries = _entries(requests, verdicts)
        devices, new_keys = _lock(entries)
        decision = _Decision(entries, devices, now)
        credentials.record(failures)
        decision.write(new_keys)
    return decision.answer(requests)


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

    @property
    def model_key(self) -> str:
        """Its model, "" if it says none, or says that an aircraft asks."""
        key = self.wanted.device_model_key
        return "" if self.is_gateway and model_keys.domain(key) == model_keys.AIRCRAFT else key

    def is_met(self, device: _Row, code: BindingCode) -> bool:
        """Whether the device's row says already what is asked for."""
        if device.organization_id != code.organization_id:
            return False
        if self.is_gateway:
            is_noted = device.enrolled_at is not None if self.by_enrolment else device.claim != Claim.ENROLLED
            if device.is_unproven or not is_noted:
                return False
        return self.wanted.device_callsign in ("", device.callsign) and self.model_key in ("", device.model_key)


def _entries(requests: Sequence[Request], verdicts: Sequence[Verdict]) -> list[_Entry]:
    """The entries of all requests, in their order."""
    each, entries = iter(verdicts), []
    for request in requests:
        paid: set[int] = set()
        for wanted in request.devices:
            entries.append(_Entry(request.gateway_sn, wanted, next(each), paid, request.by_enrolment))
    return entries


def _lock(entries: Iterable[_Entry]) -> tuple[dict[str, _Row], Iterator[int]]:
    """Lock the devices that these may change, and make those that may be new; by SN, with primary keys for the new."""
    with_code = [entry for entry in entries if entry.verdict.code]
    gateways, named = {entry.gateway_sn for entry in with_code}, {entry.wanted.sn for entry in with_code}
    with pipeline():
        keys = bulk.ask_keys(Device, len(gateways | named))
        locked = pairing.CONCERNED.ask(gateways=gateways, sns=gateways | named)
    devices: dict[str, _Row] = {device.sn: device for device in locked()}
    now = timezone.now()  # later than a reader of changes could have seen while this waited
    for entry in with_code:
        sn, key = entry.wanted.sn, entry.wanted.device_model_key
        if sn not in devices and is_sn(sn) and (entry.is_gateway or model_keys.domain(key) == model_keys.AIRCRAFT):
            devices[sn] = bulk.new(Device, sn=sn, created=now, updated=now)
    return devices, keys()


class _Decision:
    """The rows of one group of bind requests while it is being decided: locked instances, or plain rows to look at."""

    def __init__(self, entries: Sequence[_Entry], devices: dict[str, _Row], now: datetime) -> None:
        self.now = now
        self.entries = entries
        self.devices = devices
        self.paired, self.heard = _read_pairings(entries, devices)
        self.ownership = Changes(Actor(AuditEvent.Through.BRIDGE), now=now)
        self.aircraft: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by the gateway's SN, with their models
        self.begun: dict[str, int] = {}  # by the gateway's SN: pairings
        self.used: dict[int, BindingCode] = {}
        self.touched: dict[str, Device] = {}
        self.gateways: dict[str, Device] = {}  # those that bound themselves, with an account of their own
        self.misnamed: set[str] = set()  # gateways that some dock named as its aircraft
        self.is_to_write = False
        self.results = [self.judge(entry) for entry in entries]

    @cached_property
    def room(self) -> dict[int, int]:
        """As `pairing.room_in`: only who binds something new must count."""
        codes = {code.organization_id: code for entry in self.entries if (code := entry.verdict.code)}
        return pairing.room_in({pk: code.organization.device_limit for pk, code in codes.items()})

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return self.is_to_write or not self._is_paired()

    def answer(self, requests: Sequence[Request]) -> list[list[BindResult]]:
        """The results of each request."""
        each = iter(self.results)
        answers = [[next(each) for _ in request.devices] for request in requests]
        for request, results in zip(requests, answers, strict=True):
            dock = self.devices.get(request.gateway_sn)
            owner = dock.organization_id if dock is not None and dock.bound_itself else None
            results[0] = results[0]._replace(owner=owner, begun=self.begun.pop(request.gateway_sn, 0))
        return answers

    def _is_paired(self) -> bool:
        """Whether each dock has the aircraft that it binds already."""
        return all(self.devices[sn].gateway_id == dock.pk for dock in self._docks() for sn in self.aircraft[dock.sn])

    def _docks(self) -> list[_Row]:
        """Those that bind aircraft."""
        return [dock for sn in self.aircraft if (dock := self.devices.get(sn)) and dock.pk is not None]

    def judge(self, entry: _Entry) -> BindResult:
        """Decide on one device, and change its row if it may be bound and is locked."""
        code, device = entry.verdict.code, self.devices.get(entry.wanted.sn)
        reason = self._why_not(entry, device, code) if code else entry.verdict.reason
        if code is None or device is None or reason:
            return BindResult(Code.BIND_FAILED, reason, entry.verdict.organization_id)
        if device.organization_id not in (None, code.organization_id) and not self._yields(entry, device, code):
            return BindResult(Code.BOUND_ELSEWHERE, BOUND_ELSEWHERE, code.organization_id)
        if not entry.is_met(device, code):
            self.is_to_write = True
            if isinstance(device, Device):
                self.take(entry, device, code)
        if not entry.is_gateway:
            self.aircraft[entry.gateway_sn][device.sn] = device.model_key
        return BindResult(Code.OK, "", code.organization_id)

    def _why_not(self, entry: _Entry, device: _Row | None, code: BindingCode) -> str:
        """Why this device may not be bound with this code; empty if it may, or is bound already."""
        if not entry.wanted.sn:
            return gettext_noop("serial number missing")
        if device is None or not (entry.is_gateway or self._is_aircraft(entry, device)):
            return NEITHER
        gateway = self.devices.get(entry.gateway_sn)
        if entry.by_enrolment and gateway is not None and gateway.organization_id not in (None, code.organization_id):
            # For the dock itself "bound elsewhere" follows; nobody may name aircraft in its name.
            return "" if entry.is_gateway else FOREIGN_DOCK
        yields = self._yields(entry, device, code)
        if not device.is_enabled and not yields:
            return Exchange.DISABLED
        if len(self.aircraft.get(entry.gateway_sn, {}).keys() - {device.sn}) >= pairing.MOST:
            return pairing.TOO_MANY
        if device.organization_id == code.organization_id and code.revoked_at is None and code.organization.is_active:
            return ""
        if code.pk not in entry.paid and (unusable := code.why_unusable(self.now)):
            return unusable
        if (device.organization_id is None or yields) and self.room.get(code.organization_id, 1) < 1:
            return gettext_noop("device limit of the organization reached")
        return ""

    def _is_aircraft(self, entry: _Entry, device: _Row) -> bool:
        """Whether this is an aircraft, by its model in the request and in our row, else by its pairing."""
        if device.bound_itself:
            return False
        if keys := [key for key in (entry.wanted.device_model_key, device.model_key) if key]:
            return all(model_keys.domain(key) == model_keys.AIRCRAFT for key in keys)
        return (entry.gateway_sn, device.sn) in self.paired

    def _yields(self, entry: _Entry, device: _Row, code: BindingCode) -> bool:
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

    def take(self, entry: _Entry, device: Device, code: BindingCode) -> None:
        """Change the row of a device that may be bound; a new owner costs one use of the code per request."""
        self.touched[device.sn] = device
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
            if entry.is_gateway and not entry.by_enrolment:
                self.gateways[device.sn] = device
        if is_misnamed:  # what binds itself is no aircraft
            self.misnamed.add(device.sn)
            device.claim, device.gateway, device.model_key = entry.claim, None, ""
        if entry.is_gateway:
            device.note_code(by_enrolment=entry.by_enrolment, at=self.now)
        device.callsign = entry.wanted.device_callsign or device.callsign
        device.model_key = entry.model_key or device.model_key

    def write(self, new_keys: Iterator[int]) -> None:
        """Save what changed, and tell browsers; a constant number of statements, none where nothing changed."""
        for device in self.touched.values():
            if device.pk is None:
                device.pk = next(new_keys)
        pairings = self.pair()
        # What has just bound itself is online.
        connections = topology.Connections(self.gateways.values(), now=self.now)
        for gateway in self.gateways.values():
            connections.note(gateway, online=True)
        # What a former owner's devices leave behind is deleted by Django, which counts the rows.
        with nullcontext() if self.ownership.taken else pipeline():
            # Another transaction may make the same device at this moment: this one fails then and is repeated.
            changed = pairings.write(self.touched)
            BindingCode.objects.write_fields(self.used.values(), ["uses"])
            connections.write()
        broadcast.tell_device(changed.values())

    def pair(self) -> Pairings:
        """The pairings that follow from the requests and the new owners, unless nothing of it is new."""
        locked = {sn: device for sn, device in self.devices.items() if isinstance(device, Device)}
        if self._is_paired() and not self.ownership.given and not self.misnamed:
            return Pairings(locked, self.ownership)
        pairings = Pairings(locked, self.ownership, room=self.room)
        pairings.load()
        pairings.end_all(self.misnamed, Pairing.Witness.BIND)
        named: defaultdict[str, set[str]] = defaultdict(set)  # by the gateway's SN: all that its requests name
        for entry in self.entries:
            named[entry.gateway_sn].add(entry.wanted.sn)
        for dock in self._docks():
            bound, before = self.aircraft[dock.sn], pairings.begun
            refused = named[dock.sn] - bound.keys()
            pairings.apply(Testimony(dock.sn, Pairing.Witness.BIND, self.now, bound, linked=True, refused=refused))
            self.begun[dock.sn] = pairings.begun - before
        pairings.settle()
        return pairings


def _read_pairings(
    entries: Iterable[_Entry], devices: Mapping[str, _Row]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The open pairings, as (dock, aircraft), of aircraft that the requests do not settle alone; mostly no query.

    The second are those that prove something: the aircraft's telemetry came through this dock, and through no dock of
    its present owner.
    """
    keyless: set[str] = set()
    owners: defaultdict[str, set[int | None]] = defaultdict(set)  # the present one, and those that would be
    for entry in entries:
        sn, device = entry.wanted.sn, devices.get(entry.wanted.sn)
        if not entry.is_gateway and not entry.wanted.device_model_key:
            keyless.add(sn)
        if device is not None and device.pk and device.is_unproven and not entry.by_enrolment:
            owners[sn] |= {device.organization_id, entry.verdict.organization_id}
    contested = {sn for sn, of_one in owners.items() if len(of_one - {None}) > 1}
    doubtful = (keyless | contested) - {""}
    rows = pairing.OPEN(sns=doubtful) if doubtful else []
    proven = {row.sn for row in rows if row.is_heard and row.dock_owner == row.owner}
    heard = {(row.dock_sn, row.sn) for row in rows if row.is_heard and row.sn in contested - proven}
    return {(row.dock_sn, row.sn) for row in rows}, heard


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
