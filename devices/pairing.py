"""Which aircraft belongs to which dock: what witnesses say, and what follows from it.

An idle dock's aircraft is switched off and absent from its topology, and that is the normal state: it stays the
dock's. A pairing ends when a witness names another aircraft in its place or says that there is none, and at a release,
never because of silence. The witnesses are on DJI's pages "organization", "device management" and "device properties";
decisions 13 to 16 in docs/protocol.md.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import NamedTuple

from django.db.models import Count, Q

from devices.models import Device, Pairing
from devices.ownership import Changes
from mqtt_bridge.bulk import append
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.topics import is_sn

Witness = Pairing.Witness
JUST_NOW = timedelta(minutes=1)  # no telemetry waits longer than this to be stored
MOST = 8  # aircraft of a dock; DJI's docks have one, and its multi-dock flights a few

TOO_MANY = f"a dock has at most {MOST} aircraft"
NOT_NAMED = "not adopted: only the aircraft says that it belongs to this dock"
UNKNOWN_MODEL = "not adopted: its model is not known yet"
DISABLED = "not adopted: it is disabled"
OVER_LIMIT = "not adopted: device limit of the organization reached"
INACTIVE = "not adopted: the organization is not active"
FOREIGN = "belongs to another organization"


class Word(NamedTuple):
    """What one witness says at one moment of the aircraft of one gateway.

    `named` maps serial numbers to model keys ("" where the witness gives none). `linked` tells whether those are
    switched on and linked through this gateway, None if the witness does not say. With `complete`, an aircraft that is
    not named is not linked; with `instead`, it does not belong to the gateway any more. `refused` are named as well,
    but not bound: they keep what they have, for nothing else is in their place.
    """

    gateway_sn: str
    witness: Witness
    at: datetime
    named: Mapping[str, str]
    linked: bool | None = None
    complete: bool = False
    instead: bool = False
    refused: Collection[str] = ()


def concerned(gateways: Iterable[str], named: Iterable[str]) -> Q:
    """The devices to lock before `Pairings` may be told anything: gateways, what they have, what is named."""
    has = Pairing.objects.filter(until=None, dock__sn__in=gateways).order_by().values("aircraft")
    # An OR of the two would read the whole table.
    return Q(pk__in=Device.objects.filter(sn__in={*gateways, *named}).order_by().values("pk").union(has))


class Pairings:
    """The open pairings of a group of devices while they are being changed; `devices` are locked and by SN.

    Call `load` with those that were known before, `hear` for each word, `settle`; save `changed`, then call `write`.
    """

    def __init__(
        self, devices: dict[str, Device], ownership: Changes, *, now: datetime, room: dict[int, int] | None = None
    ) -> None:
        self.devices = devices
        self.ownership = ownership  # where adoptions go
        self.now = now
        self.room = room or {}  # as `room_in`, where the caller has counted already
        self.changed: dict[str, Device] = {}  # rows of `devices` to be saved
        self.switched_off: dict[str, Device] = {}  # no dock of theirs says that it is linked with them any more
        self.remarks: dict[str, list[str]] = {}  # by the gateway's SN: why its aircraft is not its owner's
        self.new_remarks: list[tuple[Device, str]] = []  # those among them that did not hold before
        self._of_dock: defaultdict[str, dict[str, Pairing]] = defaultdict(dict)  # open ones, by both SNs
        self._of_aircraft: defaultdict[str, dict[str, Pairing]] = defaultdict(dict)
        self._touched: dict[int, Pairing] = {}  # by identity: a pairing may be opened again after it ended
        self._unlinked: dict[str, Device] = {}
        self._ended: dict[str, datetime] = {}  # by the gateway's SN: when it last lost one

    def load(self, known: Iterable[Device]) -> None:
        """Read the pairings of known devices that are open, or ended just now; at most two queries."""
        devices = {device.pk: device for device in known if device.pk is not None}
        if not devices:
            return
        rows = list(
            Pairing.objects.filter(
                Q(dock__in=devices) | Q(aircraft__in=devices), Q(until=None) | Q(until__gt=self.now - JUST_NOW)
            )
        )
        if others := {key for row in rows for key in (row.dock_id, row.aircraft_id)} - devices.keys():
            devices |= Device.objects.select_related("organization").in_bulk(others)
        for row in rows:
            row.dock, row.aircraft = devices[row.dock_id], devices[row.aircraft_id]
            if row.until is not None:
                self._ended[row.dock.sn] = max(row.until, self._ended.get(row.dock.sn, row.until))
            else:
                self._add(row)

    def _add(self, row: Pairing) -> None:
        self._of_dock[row.dock.sn][row.aircraft.sn] = row
        self._of_aircraft[row.aircraft.sn][row.dock.sn] = row

    # --- what a witness says -----------------------------------------------------------------------

    def hear(self, word: Word) -> list[str]:
        """Take one word; returns remarks for the journal on what is named and not taken."""
        dock = self.devices.get(word.gateway_sn)
        if dock is None or dock.is_aircraft:
            return []
        mine = dict(self._of_dock[dock.sn])
        changes = [self._ended.get(dock.sn, word.at), *(row.changed_at for row in mine.values())]
        if any(word.at < moment <= self.now for moment in changes):
            return []  # said before what we know; the next frame says what holds now
        # An aircraft comes beside the others; every other witness says what the dock has instead.
        beside = len(mine.keys() - word.named.keys()) if word.witness == Witness.AIRCRAFT else 0
        reasons = {
            sn: TOO_MANY if place >= MOST else self._why_not(dock, sn, key)
            for place, (sn, key) in enumerate(word.named.items(), beside)
        }
        refused = {sn: reason for sn, reason in reasons.items() if reason}
        named = word.named.keys() - refused.keys()
        # A dock that names another one has that in place of what it had; an aircraft may visit.
        is_replaced = word.instead or (word.witness != Witness.AIRCRAFT and bool(named - mine.keys()))
        for sn in sorted(named):
            self._name(mine.get(sn) or self._open(dock, self.devices[sn], word), word)
        for sn in mine.keys() - named:
            if is_replaced and sn not in word.refused:
                self._end(mine[sn], word.witness)
            elif word.complete or (word.linked is False and not word.named):
                self._link(mine[sn], False)
        return [f"{sn}: {reason}" for sn, reason in refused.items()]

    def _name(self, row: Pairing, word: Word) -> None:
        model_key = word.named[row.aircraft.sn]
        self.describe(row.aircraft, model_key)
        if not row.dock.model_key:
            self.describe(row.dock, model_keys.dock_of(model_key))
        if row.witness == Witness.AIRCRAFT != word.witness:
            row.witness = word.witness.value
            self._touch(row)
        if word.witness == Witness.AIRCRAFT and not row.is_heard:
            row.is_heard = True
            self._touch(row)
        self._link(row, word.linked)

    def _why_not(self, dock: Device, sn: str, model_key: str) -> str:
        if not is_sn(sn):
            return "malformed serial number"
        device = self.devices.get(sn)
        if device is None:
            return "not recorded: too many unclaimed devices"
        if device is dock:
            return "the dock itself is no aircraft"
        keys = (model_key, device.model_key)
        if device.claim == Device.Claim.CODE or any(
            model_keys.domain(k) not in (None, model_keys.AIRCRAFT) for k in keys
        ):
            return "not an aircraft, so it cannot belong to a dock"
        return ""

    def _open(self, dock: Device, aircraft: Device, word: Word) -> Pairing:
        row = Pairing(dock=dock, aircraft=aircraft, since=self.now, witness=word.witness.value, changed_at=self.now)
        self._add(row)
        self._touch(row)
        return row

    def _link(self, row: Pairing, linked: bool | None) -> None:
        """Note whether the dock is linked with the aircraft; the latest link to begin is the one that counts."""
        if linked is False and _fits(row):
            self._unlinked[row.aircraft.sn] = row.aircraft
        if linked is None or (row.linked_since is not None) == linked:
            return
        row.linked_since = self.now if linked else None
        self._touch(row)

    def relink(self, dock_sn: str, aircraft_sn: str) -> None:
        """The aircraft says itself that this is the link it uses now, whatever other docks hear of it."""
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
        if _fits(row):
            self._unlinked[row.aircraft.sn] = row.aircraft
        self._touch(row)

    def _touch(self, row: Pairing) -> None:
        row.changed_at = self.now
        self._touched[id(row)] = row

    def is_linked(self, dock_sn: str, aircraft_sn: str) -> bool:
        """Whether this dock is linked with an aircraft that its owner may have."""
        row = self._of_dock[dock_sn].get(aircraft_sn)
        return row is not None and row.linked_since is not None and _fits(row)

    def describe(self, device: Device, model_key: str) -> None:
        """Note the model that a device is said to be."""
        if model_key and device.model_key != model_key:
            device.model_key = model_key
            self.changed[device.sn] = device

    # --- what follows ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Give every aircraft concerned its dock, and if nobody owns it the dock's owner."""
        paired = {*self._of_aircraft, *(row.aircraft.sn for row in self._touched.values())}
        for sn in paired & self.devices.keys():
            self._place(self.devices[sn])
        self._adopt([row for rows in self._of_dock.values() for row in rows.values()])
        self.switched_off = {
            sn: device
            for sn, device in self._unlinked.items()
            if not any(self.is_linked(dock_sn, sn) for dock_sn in self._of_aircraft[sn])
        }

    def _place(self, aircraft: Device) -> None:
        dock: Device | None
        known = [row for row in self._of_aircraft[aircraft.sn].values() if _fits(row)]
        current = [row for row in known if row.dock.pk == aircraft.gateway_id]
        if linked := [(row.linked_since, row) for row in known if row.linked_since]:
            dock = max(linked, key=itemgetter(0))[1].dock
        elif current or known:
            dock = (current or sorted(known, key=attrgetter("changed_at")))[-1].dock
        else:
            dock = None
        if aircraft.gateway_id != (dock and dock.pk):
            aircraft.gateway = dock
            self.changed[aircraft.sn] = aircraft

    def _adopt(self, rows: Iterable[Pairing]) -> None:
        candidates = []
        for row in rows:
            remark = self._why_not_adopted(row)
            if remark is None:
                candidates.append(row)
            else:
                self._remark(row, remark)
        owners = {row.dock.organization for row in candidates if row.dock.organization}
        room = self.room
        room |= room_in({owner.pk: owner.device_limit for owner in owners if owner.pk not in room})
        for row in candidates:
            owner = row.dock.organization
            assert owner is not None  # noqa: S101  (_why_not_adopted said so)
            if room.get(owner.pk, 1) < 1:
                self._remark(row, OVER_LIMIT)
                continue
            if owner.pk in room:
                room[owner.pk] -= 1
            self._remark(row, "")
            self.ownership.give(row.aircraft, owner, Device.Claim.NAMED, "adopt", dock=str(row.dock))
            self.changed[row.aircraft.sn] = row.aircraft

    def _why_not_adopted(self, row: Pairing) -> str | None:
        """Why the aircraft does not join the dock's owner, "" if there is nothing to say; None: it may."""
        dock, aircraft = row.dock, row.aircraft
        if dock.organization_id == aircraft.organization_id:
            return ""
        if aircraft.organization_id is not None:
            return FOREIGN
        if dock.organization is None or aircraft.gateway_id != dock.pk:
            return ""
        if not dock.organization.is_active:
            return INACTIVE
        if not aircraft.is_enabled:
            return DISABLED
        if row.witness == Witness.AIRCRAFT:
            return NOT_NAMED
        return UNKNOWN_MODEL if model_keys.domain(aircraft.model_key) != model_keys.AIRCRAFT else None

    def _remark(self, row: Pairing, remark: str) -> None:
        if remark:
            self.remarks.setdefault(row.dock.sn, []).append(f"{row.aircraft.sn}: {remark}")
        if row.remark != remark:
            row.remark = remark
            self._touched[id(row)] = row
            self.new_remarks += [(row.dock, f"{row.aircraft.sn}: {remark}")] if remark else []

    @property
    def docks(self) -> dict[str, Device]:
        """By SN: the docks whose pairings change, and so their pages."""
        return {row.dock.sn: row.dock for row in self._touched.values()}

    def write(self) -> None:
        """Save the pairings, when their devices are saved; at most two statements."""
        rows = list(self._touched.values())
        append(Pairing, [row for row in rows if row.pk is None])
        Pairing.objects.bulk_create(
            (row for row in rows if row.pk is not None),
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["until", "ended_by", "linked_since", "is_heard", "changed_at", "witness", "remark"],
        )


def _fits(row: Pairing) -> bool:
    """Whether the owners allow that the aircraft is shown in this dock: nobody's word moves what another owns."""
    owner = row.aircraft.organization_id
    return owner is None or owner == row.dock.organization_id


def room_in(limits: dict[int, int | None]) -> dict[int, int]:
    """How many more devices each of these organizations may have; those without a limit are left out."""
    limited = {pk: limit for pk, limit in limits.items() if limit is not None}
    if not limited:
        return {}
    counts = Device.objects.filter(organization__in=limited).order_by().values_list("organization")
    owned = dict(counts.annotate(Count("pk")))
    return {pk: limit - owned.get(pk, 0) for pk, limit in limited.items()}
