"""Which aircraft belongs to which dock: what witnesses report, and what follows from it.

An idle dock's aircraft is switched off and absent from its topology, and that is the normal state: it stays the
dock's. A pairing ends when a witness names another aircraft in its place or reports that there is none, and at a
release, never because of silence. The witnesses are on DJI's pages "organization", "device management" and "device
properties"; decisions 13 to 16 in docs/protocol.md.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import NamedTuple

from django.db.models import Count, DateTimeField, Q
from django.utils.translation import gettext_noop

from devices.models import Device, DeviceQuerySet, Pairing
from devices.ownership import Changes, read_owners
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.topics import is_sn

Witness = Pairing.Witness
JUST_NOW = timedelta(minutes=1)  # no telemetry waits longer than this to be stored
MOST = 8  # aircraft of a dock; DJI's docks have one, and its multi-dock flights a few

TOO_MANY = gettext_noop("a dock has at most {most} aircraft").format(most=MOST)
OVER_LIMIT = gettext_noop("not adopted: device limit of the organization reached")
UNRECORDED = gettext_noop("not recorded: too many unclaimed devices")


class Testimony(NamedTuple):
    """What one witness reports at one moment about the aircraft of one gateway.

    `named` maps serial numbers to model keys ("" where the witness gives none). `linked` is whether those are
    switched on and linked through this gateway, None if the witness does not report that. With `complete`, an aircraft
    that is not named is not linked; with `instead`, it does not belong to the gateway any more. `refused` are named as
    well, but not bound: they keep what they have, for nothing else is in their place.
    """

    gateway_sn: str
    witness: Witness
    at: datetime
    named: Mapping[str, str]
    linked: bool | None = None
    complete: bool = False
    instead: bool = False
    refused: Collection[str] = ()


def _concerned() -> DeviceQuerySet:
    gateways = AnyOf("dock__sn", "gateways")
    has = Pairing.objects.filter(gateways, until=None).order_by().values("aircraft")
    # An OR of the two would read the whole table.
    keys = Device.objects.filter(AnyOf("sn", "sns")).order_by().values("pk").union(has)
    return Device.objects.filter(pk__in=keys).lock_in_order()


CONCERNED = Prepared(Device, _concerned)  # locked: gateways, what they have, and what is named
_DEVICES = Prepared(Device, lambda: Device.objects.filter(AnyOf("pk", "keys")).order_by())
_PAIRINGS = Prepared(
    Pairing,
    lambda: Pairing.objects.filter(
        Q(AnyOf("dock", "keys")) | Q(AnyOf("aircraft", "keys")),
        Q(until=None) | Q(until__gt=Parameter("since", DateTimeField())),
    ),
)


class OpenPairing(NamedTuple):
    """That an aircraft belongs to a dock, and whose they are."""

    dock_sn: str
    sn: str
    is_heard: bool
    dock_owner: int | None
    owner: int | None


# of these aircraft; nothing is locked
OPEN = Prepared(
    OpenPairing,
    lambda: (
        Pairing.objects.filter(AnyOf("aircraft__sn", "sns"), until=None)
        .order_by()
        .values_list("dock__sn", "aircraft__sn", "is_heard", "dock__organization", "aircraft__organization")
    ),
)


def lock(gateways: Collection[str], named: Iterable[str]) -> dict[str, Device]:
    """Lock the devices that `Pairings` needs: gateways, what they have, and what is named; all by SN."""
    sns = {*gateways, *named}
    return {device.sn: device for device in CONCERNED(gateways=gateways, sns=sns)} if sns else {}


class Pairings:
    """The open pairings of a group of devices while they change; `devices` are locked and by SN.

    Call `load`, `apply` for each testimony, `settle`, then `write`.
    """

    def __init__(self, devices: dict[str, Device], ownership: Changes, *, room: dict[int, int] | None = None) -> None:
        self.devices = devices
        self.ownership = ownership  # where adoptions go
        self.now = ownership.now
        self.room = room or {}  # as `room_in`, where the caller has counted already
        self.changed: dict[str, Device] = {}  # rows of `devices` to be saved
        self.switched_off: dict[str, Device] = {}  # none of their docks reports them as linked any more
        self.remarks: dict[str, list[str]] = {}  # by the gateway's SN: why its aircraft is not its owner's
        self.new_remarks: list[tuple[Device, str]] = []  # those among them that did not hold before
        self.begun = 0  # new rows
        self._of_dock: defaultdict[str, dict[str, Pairing]] = defaultdict(dict)  # open ones, by both SNs
        self._of_aircraft: defaultdict[str, dict[str, Pairing]] = defaultdict(dict)
        self._touched: dict[int, Pairing] = {}  # by identity: a pairing may be opened again after it ended
        self._unlinked: dict[str, Device] = {}
        self._ended: dict[str, datetime] = {}  # by the gateway's SN: when it last lost one

    def load(self) -> None:
        """Read the pairings of the devices that are open or ended just now; one query, two if others are in them."""
        devices = {device.pk: device for device in self.devices.values() if not device._state.adding}
        if not devices:
            return
        rows = _PAIRINGS(keys=devices, since=self.now - JUST_NOW)
        if others := {key for row in rows for key in (row.dock_id, row.aircraft_id)} - devices.keys():
            devices |= {device.pk: device for device in _DEVICES(keys=others)}
        for row in rows:
            row.dock, row.aircraft = devices[row.dock_id], devices[row.aircraft_id]
            if row.until is not None:
                self._ended[row.dock.sn] = max(row.until, self._ended.get(row.dock.sn, row.until))
            else:
                self._add(row)

    def _add(self, row: Pairing) -> None:
        self._of_dock[row.dock.sn][row.aircraft.sn] = row
        self._of_aircraft[row.aircraft.sn][row.dock.sn] = row

    # --- what a witness reports --------------------------------------------------------------------

    def apply(self, testimony: Testimony) -> list[str]:
        """Take one testimony; returns remarks for the journal on what is named and not taken."""
        dock = self.devices.get(testimony.gateway_sn)
        if dock is None or dock.is_aircraft:
            return []
        mine = dict(self._of_dock[dock.sn])
        changes = [self._ended.get(dock.sn, testimony.at), *(row.changed_at for row in mine.values())]
        if any(testimony.at < moment <= self.now for moment in changes):
            return []  # older than what we know; the next frame reports what holds now
        # An aircraft comes beside the others; every other witness reports what the dock has instead.
        by_aircraft = testimony.witness == Witness.AIRCRAFT
        beside = len(mine.keys() - testimony.named.keys()) if by_aircraft else 0
        refused = {}
        for place, sn in sorted(enumerate(testimony.named, beside), key=itemgetter(1)):
            if reason := TOO_MANY if place >= MOST else self._name(dock, sn, testimony):
                refused[sn] = reason
        named = testimony.named.keys() - refused.keys()
        # A dock that names another one has that in place of what it had; an aircraft may visit.
        is_replaced = testimony.instead or (not by_aircraft and bool(named - mine.keys()))
        for sn in mine.keys() - named:
            if is_replaced and sn not in testimony.refused:
                self._end(mine[sn], testimony.witness)
            elif testimony.complete or (testimony.linked is False and not testimony.named):
                self._link(mine[sn], False)
        return [f"{sn}: {refused[sn]}" for sn in testimony.named if sn in refused]

    def _name(self, dock: Device, sn: str, testimony: Testimony) -> str:
        """Note that the aircraft belongs to the dock, and what the testimony says of the two; else returns why not."""
        if not is_sn(sn):
            return gettext_noop("malformed serial number")
        aircraft, witness, model_key = self.devices.get(sn), testimony.witness, testimony.named[sn]
        if aircraft is None:
            return UNRECORDED
        if aircraft is dock:
            return gettext_noop("the dock itself is not an aircraft")
        domains = {model_keys.domain(model_key), model_keys.domain(aircraft.model_key)}
        if aircraft.bound_itself or domains - {None, model_keys.AIRCRAFT}:
            return gettext_noop("not an aircraft, so it cannot belong to a dock")
        row = self._of_dock[dock.sn].get(sn)
        if row is None:
            row = bulk.new(Pairing, since=self.now, witness=witness.value)
            row.dock, row.aircraft = dock, aircraft
            self.begun += 1
            self._add(row)
            self._touch(row)
        self.describe(aircraft, model_key)
        if not dock.model_key:
            self.describe(dock, model_keys.dock_of(model_key))
        if row.witness == Witness.AIRCRAFT != witness:
            row.witness = witness.value
            self._touch(row)
        if witness == Witness.AIRCRAFT and not row.is_heard:
            row.is_heard = True
            self._touch(row)
        self._link(row, testimony.linked)
        return ""

    def describe(self, device: Device, model_key: str) -> None:
        """Note the reported model of a device."""
        if model_key and device.model_key != model_key:
            device.model_key = model_key
            self.changed[device.sn] = device

    def _link(self, row: Pairing, linked: bool | None) -> None:
        """Note whether the dock is linked with the aircraft; the latest link to begin is the one that counts."""
        if linked is False and row.fits:
            self._unlinked[row.aircraft.sn] = row.aircraft
        if linked is None or (row.linked_since is not None) == linked:
            return
        row.linked_since = self.now if linked else None
        self._touch(row)

    def relink(self, dock_sn: str, aircraft_sn: str) -> None:
        """The aircraft itself reports that this is the link it uses now, whichever other docks receive it."""
        if (row := self._of_dock[dock_sn].get(aircraft_sn)) is not None:
            row.linked_since = self.now
            self._touch(row)

    def end_all(self, sns: Iterable[str], witness: Witness) -> None:
        """End whatever pairings these devices have."""
        for sn in sns:
            for row in [*self._of_dock[sn].values(), *self._of_aircraft[sn].values()]:
                self._end(row, witness)

    def _end(self, row: Pairing, witness: Witness) -> None:
        row.until, row.ended_by, row.linked_since = self.now, witness.value, None
        del self._of_dock[row.dock.sn][row.aircraft.sn], self._of_aircraft[row.aircraft.sn][row.dock.sn]
        if row.fits:
            self._unlinked[row.aircraft.sn] = row.aircraft
        self._touch(row)

    def _touch(self, row: Pairing) -> None:
        row.changed_at = self.now
        self._touched[id(row)] = row

    def is_linked(self, dock_sn: str, aircraft_sn: str) -> bool:
        """Whether this dock is linked with an aircraft that its owner may have."""
        row = self._of_dock[dock_sn].get(aircraft_sn)
        return row is not None and row.linked_since is not None and row.fits

    # --- what follows ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Give every aircraft concerned its dock, and if nobody owns it the dock's owner."""
        paired = {*self._of_aircraft, *(row.aircraft.sn for row in self._touched.values())}
        for sn in paired & self.devices.keys():
            aircraft = self.devices[sn]
            known = [row for row in self._of_aircraft[sn].values() if row.fits]
            shown: Pairing | None
            if linked := [row for row in known if row.linked_since]:
                shown = max(linked, key=attrgetter("linked_since"))
            else:  # in the dock it is shown in already, else in the one that changed last
                known.reverse()
                shown = max(known, key=lambda row: (row.dock.pk == aircraft.gateway_id, row.changed_at), default=None)
            dock = shown.dock if shown is not None else None
            if aircraft.gateway_id != (dock and dock.pk):
                aircraft.gateway = dock
                self.changed[sn] = aircraft
        self._adopt()
        self.switched_off = {
            sn: device
            for sn, device in self._unlinked.items()
            if not any(self.is_linked(dock_sn, sn) for dock_sn in self._of_aircraft[sn])
        }

    def _adopt(self) -> None:
        rows = [row for rows in self._of_dock.values() for row in rows.values()]
        read_owners(row.dock for row in rows if row.aircraft.organization_id is None)
        candidates = []
        for row in rows:
            if (remark := row.why_not_adopted()) is None:
                candidates.append(row)
            else:
                self._remark(row, remark)
        owners = {row.dock.organization for row in candidates if row.dock.organization}
        self.room |= room_in({owner.pk: owner.device_limit for owner in owners if owner.pk not in self.room})
        for row in candidates:
            owner = row.dock.organization
            assert owner is not None  # noqa: S101  (why_not_adopted found it)
            if self.room.get(owner.pk, 1) < 1:
                self._remark(row, OVER_LIMIT)
                continue
            if owner.pk in self.room:
                self.room[owner.pk] -= 1
            self._remark(row, "")
            self.ownership.give(row.aircraft, owner, Device.Claim.NAMED, "adopt", dock=str(row.dock))
            self.changed[row.aircraft.sn] = row.aircraft

    def _remark(self, row: Pairing, remark: str) -> None:
        if remark:
            self.remarks.setdefault(row.dock.sn, []).append(f"{row.aircraft.sn}: {remark}")
        if row.remark != remark:
            row.remark = remark
            self._touched[id(row)] = row
            self.new_remarks += [(row.dock, f"{row.aircraft.sn}: {remark}")] if remark else []

    def write(self, devices: Mapping[str, Device]) -> dict[str, Device]:
        """Save these devices, and all that changed here; returns by SN the devices whose pages differ now.

        A constant number of statements, none for a kind of row that did not change.
        """
        changed = {**devices, **self.changed}
        self.ownership.write(changed.values())
        rows = list(self._touched.values())
        # First what ended: the same two may have come together again.
        Pairing.objects.write_fields(
            (row for row in rows if row.pk is not None),
            ["until", "ended_by", "linked_since", "is_heard", "changed_at", "witness", "remark"],
        )
        bulk.insert(Pairing, bulk.values_of(row for row in rows if row.pk is None))
        return {row.dock.sn: row.dock for row in rows} | changed


class _Owned(NamedTuple):
    organization_id: int
    devices: int


_OWNED = Prepared(
    _Owned,
    lambda: (
        Device.objects.filter(AnyOf("organization", "keys"))
        .order_by()
        .values_list("organization")
        .annotate(count=Count("*"))
    ),
)


def room_in(limits: Mapping[int, int | None]) -> dict[int, int]:
    """How many more devices each of these organizations (by primary key) may have; without a limit: left out."""
    limited = {pk: limit for pk, limit in limits.items() if limit is not None}
    if not limited:
        return {}
    owned = dict(_OWNED(keys=limited))
    return {pk: limit - owned.get(pk, 0) for pk, limit in limited.items()}
