"""What gateways report about themselves and their aircraft, and which devices are online.

A gateway is online while it speaks; an aircraft while both it and its gateway do. The message is on DJI's
"device management" page; decisions 14 to 17 in docs/protocol.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from devices import pairing
from devices.live import broadcast
from devices.models import Claim, Device, DeviceState, Pairing, Standing
from devices.ownership import Changes
from devices.pairing import Pairings, Testimony
from devices.registry import discover
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import UpdateTopo
from organizations.audit import Actor
from organizations.models import AuditEvent

FRESH = 1 / 6  # of settings.DEVICE_OFFLINE_AFTER: for so long `last_seen` need not be written again


class Report(NamedTuple):
    """What one gateway reports about itself and its aircraft."""

    gateway_sn: str
    topology: UpdateTopo


class Outcome(NamedTuple):
    """What came of a report: a remark for the journal, and how many pairings began, each of which is a row for good."""

    remark: str
    begun: int


class _Gateway(NamedTuple):
    """A gateway as it is read when perhaps nothing is to be written."""

    pk: int
    sn: str
    organization_id: int | None
    claim: str
    model_key: str
    online: bool | None  # None: it was never seen
    connected_since: datetime | None
    last_seen: datetime | None

    def is_known(self, reported: UpdateTopo, own: "Mapping[str, _Own]") -> bool:
        """Whether its rows say already what it reports about itself and its aircraft."""
        named = {sub.sn: sub.model_key for sub in reported.sub_devices}
        return (
            not reported.is_offline  # it is written each time: telemetry from before must not bring the gateway back
            and self.claim != Claim.NAMED
            and model_keys.domain(self.model_key) not in (None, model_keys.AIRCRAFT)
            and reported.model_key in ("", self.model_key)
            and named.keys() <= own.keys()
            and all(aircraft.is_known(self, named.get(sn)) for sn, aircraft in own.items())
        )


class _Aircraft(NamedTuple):
    pk: int
    sn: str
    organization_id: int | None
    claim: str
    model_key: str
    online: bool | None
    connected_since: datetime | None
    last_seen: datetime | None
    gateway_id: int | None
    dock_id: int
    linked_since: datetime | None
    witness: str
    remark: str


class _Own(_Aircraft, Standing):
    """The same of an aircraft that belongs to a gateway."""

    def is_known(self, dock: _Gateway, model_key: str | None) -> bool:
        """Whether it is settled in this dock, and of this model and linked; None: not listed, so it is off."""
        if self.gateway_id != dock.pk or self.organization_id != dock.organization_id or self.remark:
            return False
        if model_key is None:
            return self.linked_since is None and self.online is False
        is_settled = self.is_aircraft and self.witness != Pairing.Witness.AIRCRAFT and self.linked_since is not None
        return is_settled and model_key in ("", self.model_key)


_Row = _Gateway | _Own
_COLUMNS = (
    "pk", "sn", "organization", "claim", "model_key", "state__online", "state__connected_since", "state__last_seen",
)  # fmt: skip
_GATEWAYS = Prepared(_Gateway, lambda: Device.objects.filter(AnyOf("sn", "sns")).order_by().values_list(*_COLUMNS))
_OWN = Prepared(
    _Own,
    lambda: (
        Pairing.objects.filter(AnyOf("dock", "keys"), until=None)
        .order_by()
        .values_list(
            *(f"aircraft__{name}" for name in [*_COLUMNS, "gateway"]),
            "dock", "linked_since", "witness", "remark",
        )
    ),
)  # fmt: skip


def update(reports: Sequence[Report], *, now: datetime) -> list[Outcome]:
    """Make the gateways online, and the aircraft they list; a constant number of statements.

    Which dock the aircraft belong to: `devices/pairing.py`. Nothing is locked for a gateway that repeats what its rows
    say: its report counts as if it had come before whatever changes them at this moment. At most presence is written
    then, as telemetry writes it: that a device was there holds whoever owns it next. An aircraft that is unlinked at
    this very moment may count as online until it was silent for long enough.
    """
    gateways = {row.sn: row for row in _GATEWAYS(sns={report.gateway_sn for report in reports})}
    own: defaultdict[int, dict[str, _Own]] = defaultdict(dict)
    for aircraft in _OWN(keys=[gateway.pk for gateway in gateways.values()]):
        own[aircraft.dock_id][aircraft.sn] = aircraft
    new = {sn for sn, said in reports if sn not in gateways or not gateways[sn].is_known(said, own[gateways[sn].pk])}
    connections = Connections(now=now)
    for sn in gateways.keys() - new:
        linked = [row for row in own[gateways[sn].pk].values() if row.linked_since]
        connections.confirm(gateways[sn], linked)
    news = [report for report in reports if report.gateway_sn in new]
    known = gateways.keys() | {sn for aircraft in own.values() for sn in aircraft}
    outcomes = iter(_write(news, known, connections) if news or connections.noted else ())
    return [next(outcomes) if report.gateway_sn in new else Outcome("", 0) for report in reports]


@transaction.atomic
def _write(reports: Sequence[Report], known: Set[str], connections: "Connections") -> list[Outcome]:
    """Take all that the gateways report of which anything is new, and save it with the other connections.

    `known` are serial numbers of devices that were there just now.
    """
    gateways = {report.gateway_sn for report in reports}
    named = {sub.sn for report in reports for sub in report.topology.sub_devices[: pairing.MOST]}
    discover(gateways - known, named - known)
    change = Change(gateways, named, connections)
    remarks, begun = [], [0]
    for report in reports:
        remarks.append(change.apply(report))
        begun.append(change.pairings.begun)
    change.pairings.settle()
    for report in reports:
        change.set_online(report.gateway_sn, [sub.sn for sub in report.topology.sub_devices])
    change.write()
    own = change.pairings.remarks
    return [
        Outcome("; ".join(remark + own.get(report.gateway_sn, [])), after - before)
        for remark, report, (before, after) in zip(remarks, reports, pairwise(begun), strict=True)
    ]


class Change:
    """The rows of one group of reports while they are being changed."""

    def __init__(self, gateways: set[str], named: set[str], connections: "Connections") -> None:
        self.devices = pairing.lock(gateways, named)
        self.connections = connections
        self.connections.load(self.devices.values())
        self.now = connections.now
        self.ownership = Changes(Actor(AuditEvent.Through.BRIDGE), now=self.now)
        self.pairings = Pairings(self.devices, self.ownership)
        self.pairings.load()

    def apply(self, report: Report) -> list[str]:
        """Take a report; returns remarks for the journal."""
        gateway, reported = self.devices.get(report.gateway_sn), report.topology
        if gateway is None:
            return [pairing.UNRECORDED]
        if gateway.is_unproven:  # a dock falsely named it as its aircraft: aircraft report no topology
            if gateway.organization_id is not None:
                self.ownership.take(gateway, "disown")
            self.pairings.end_all({gateway.sn}, Pairing.Witness.TOPOLOGY)
            gateway.gateway, gateway.model_key, gateway.callsign = None, "", ""
            self.pairings.changed[gateway.sn] = gateway
        remarks = []
        if model_keys.domain(reported.model_key) == model_keys.AIRCRAFT:
            remarks.append(gettext_noop("it calls itself an aircraft, which is not believed"))
        else:
            self.pairings.describe(gateway, reported.model_key)
        self.connections.note(gateway, online=not reported.is_offline)
        if reported.is_offline:  # it reports nothing about its aircraft, but they can no longer be reached
            for aircraft in self.devices.values():
                if aircraft.gateway_id == gateway.pk:
                    self.connections.note(aircraft, online=False)
            return remarks
        named = {sub.sn: sub.model_key for sub in reported.sub_devices}
        witness = Pairing.Witness.TOPOLOGY
        testimony = Testimony(gateway.sn, witness, self.now, named, linked=True, complete=True)
        return remarks + self.pairings.apply(testimony)

    def set_online(self, gateway_sn: str, listed: Iterable[str]) -> None:
        """Make online what a gateway lists and its owner may have."""
        for sn in listed:
            if self.pairings.is_linked(gateway_sn, sn):
                self.connections.note(self.devices[sn], online=True, through=gateway_sn)

    def write(self) -> None:
        """At most two statements per kind of row, none for a kind that did not change."""
        for device in self.pairings.switched_off.values():
            if not self.connections.is_offline(device):  # or it was never seen
                self.connections.note(device, online=False)
        changed = self.pairings.write({})
        self.connections.write()
        broadcast.tell_device((changed | self.connections.flipped).values())


# --- presence ----------------------------------------------------------------------------------


class _Connection(NamedTuple):
    device_id: int
    online: bool | None = False
    connected_since: datetime | None = None
    last_seen: datetime | None = None


_CONNECTIONS = Prepared(
    _Connection, lambda: DeviceState.objects.filter(AnyOf("device", "keys")).values_list(*_Connection._fields)
)


class Connections:
    """Which of some devices are online, while that changes; the devices are locked, but for those `confirm`ed."""

    def __init__(self, devices: Iterable[Device] = (), *, now: datetime) -> None:
        self.now = now
        self.noted: dict[int, _Connection] = {}  # to be written
        self.flipped: dict[str, broadcast.Subject] = {}  # came online, or went
        self._rows: dict[int, _Connection | _Row] = {}
        self._fresh_since = now - FRESH * timedelta(seconds=settings.DEVICE_OFFLINE_AFTER)
        self.load(devices)

    def load(self, devices: Iterable[Device]) -> None:
        """Read the rows of these devices; one query."""
        keys = [device.pk for device in devices if not device._state.adding]
        self._rows |= {row.device_id: row for row in (_CONNECTIONS(keys=keys) if keys else ())}

    def confirm(self, gateway: _Gateway, linked: Iterable[_Own]) -> None:
        """Note that these are there, which were read with their presence."""
        devices: list[_Row] = [gateway, *linked]
        for device in devices:
            self._rows[device.pk] = device
            self.note(device, online=True, through=gateway.sn)

    def note(self, device: Device | _Row, *, online: bool, through: str = "") -> None:
        """Note that a device is there now, through this gateway, or gone.

        Nothing is written of one that was online just now: for several times FRESH `sweep` leaves it alone, but for an
        aircraft of which it found the gateway offline.
        """
        row = self.noted.get(device.pk) or self._rows.get(device.pk) or _Connection(device.pk)
        is_fresh = row.last_seen is not None and row.last_seen > self._fresh_since
        if online and row.online and is_fresh and through not in self.flipped:
            return
        if online != bool(row.online):
            self.flipped[device.sn] = device
        since = self.now if online and not row.online else row.connected_since
        # `last_seen` of what went away, too: telemetry from before this moment must not bring it back.
        self.noted[device.pk] = _Connection(device.pk, online, since, self.now)

    def is_offline(self, device: Device) -> bool:
        """Whether it was seen before and is offline now."""
        row = self.noted.get(device.pk) or self._rows.get(device.pk)
        return row is not None and not row.online

    def write(self) -> None:
        """Save what was noted in one statement, in the order in which telemetry locks these rows, too."""
        rows = [row._asdict() for _, row in sorted(self.noted.items())]
        bulk.upsert(DeviceState, rows, unique=["device_id"], changes=["online", "last_seen", "connected_since"])


def sweep(*, listening_since: datetime, now: datetime | None = None) -> int:
    """Declare offline what was silent too long, and aircraft whose gateway is offline; returns how many.

    Only silence the bridge listened to counts: after a restart every device gets its time to speak first. One that was
    last seen in the future, because our clock was set back, was last seen now.
    """
    now = now or timezone.now()
    online = DeviceState.objects.filter(online=True)
    _update_unlocked(online.filter(last_seen__gt=now), last_seen=now)
    limit = now - timedelta(seconds=settings.DEVICE_OFFLINE_AFTER)
    if listening_since > limit:
        return 0
    silent = _update_unlocked(online.filter(Q(last_seen__lt=limit) | Q(last_seen=None)), online=False)
    broadcast.tell_device(silent)  # now: the next sweep would not find them again if the rest of this one failed
    carried = _update_unlocked(online.filter(device__gateway__state__online=False), online=False)
    broadcast.tell_device(carried)
    return len(silent) + len(carried)


@transaction.atomic
def _update_unlocked(states: QuerySet[DeviceState], **values: bool | datetime) -> list[Device]:
    """Change these states but those that another transaction is writing: that device has just spoken."""
    rows = states.order_by("pk").select_for_update(skip_locked=True, of=("self",)).select_related("device")
    changed = [state.device for state in rows.only("online", "device__sn", "device__organization")]
    if changed:
        DeviceState.objects.filter(pk__in=[device.pk for device in changed]).update(**values)
    return changed
