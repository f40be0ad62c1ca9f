"""What gateways report about themselves and their aircraft, and which devices are online.

A gateway is online while it speaks; an aircraft while both it and its gateway do. The message is on DJI's
"device management" page; decisions 14 to 17 in docs/protocol.md.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from devices import pairing
from devices.live import broadcast
from devices.models import NEW_STATE, Device, DeviceState, Pairing
from devices.ownership import Changes
from devices.pairing import Pairings, Testimony
from devices.registry import discover
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import UpdateTopo
from mqtt_bridge.protocol.topics import Channel
from organizations.audit import Actor
from organizations.models import AuditEvent


class Report(NamedTuple):
    """What one gateway reports about itself and its aircraft."""

    gateway_sn: str
    topology: UpdateTopo


class Outcome(NamedTuple):
    """What came of a report: a remark for the journal, and how many pairings began, each of which is a row for good."""

    remark: str
    begun: int


class Link(NamedTuple):
    """Through which gateway an aircraft spoke; `is_best` if it names this one itself, of several that receive it."""

    aircraft_sn: str
    gateway_sn: str
    is_best: bool


def update(reports: Sequence[Report], *, now: datetime) -> list[Outcome]:
    """Make the gateways online, and the aircraft they list.

    Which dock the aircraft belong to: `devices/pairing.py`. Must run in a transaction; a constant number of statements.
    """
    gateways = {report.gateway_sn for report in reports}
    named = {sub.sn for report in reports for sub in report.topology.sub_devices[: pairing.MOST]}
    discover(gateways, named)
    change = _Change(gateways, named, now)
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


@transaction.atomic
def learn(testimonies: Sequence[Testimony], links: Sequence[Link] = (), *, now: datetime) -> None:
    """Take what the properties of docks and aircraft report about each other.

    What keeps an aircraft from its dock's owner goes to the journal, once.
    """
    gateways = {testimony.gateway_sn for testimony in testimonies} | {link.gateway_sn for link in links}
    named = {sn for testimony in testimonies for sn in testimony.named} | {link.aircraft_sn for link in links}
    discover(sn for testimony in testimonies if testimony.witness != Pairing.Witness.AIRCRAFT for sn in testimony.named)
    change = _Change(gateways, named, now)
    for testimony in testimonies:
        change.pairings.apply(testimony)
    spoke = [link.aircraft_sn for link in links if not link.is_best]
    lost = set(Device.objects.filter(sn__in=spoke, gateway__state__online=False).values_list("sn", flat=True))
    for link in links:
        # Several docks may receive an aircraft: it is shown in its best link, or in any of them when its dock is gone.
        if link.is_best or link.aircraft_sn in lost:
            change.pairings.relink(link.gateway_sn, link.aircraft_sn)
    change.pairings.settle()
    for testimony in testimonies:
        if testimony.linked and testimony.witness == Pairing.Witness.DOCK:
            change.set_online(testimony.gateway_sn, testimony.named)
    change.write()
    Exchange.objects.bulk_create(
        Exchange(
            gateway_sn=dock.sn,
            organization_id=dock.organization_id,
            channel=Channel.OSD,
            received_at=now,
            outcome=Exchange.Outcome.IGNORED,
            reason=remark,
        )
        for dock, remark in change.pairings.new_remarks
    )


class _Change:
    """The rows of one group of reports while they are being changed."""

    def __init__(self, gateways: set[str], named: set[str], now: datetime) -> None:
        self.devices = pairing.lock(gateways, named)
        self.now = now
        self.connections = Connections(self.devices.values(), now=now)
        self.ownership = Changes(Actor(AuditEvent.Through.BRIDGE), now=now)
        self.pairings = Pairings(self.devices, self.ownership)
        self.pairings.load()

    def apply(self, report: Report) -> list[str]:
        """Take a report; returns remarks for the journal."""
        gateway, reported = self.devices.get(report.gateway_sn), report.topology
        if gateway is None:
            return ["not recorded: too many unclaimed devices"]
        if gateway.is_unproven:  # a dock falsely named it as its aircraft: aircraft report no topology
            if gateway.organization_id is not None:
                self.ownership.take(gateway, "disown")
            self.pairings.end_all({gateway.sn}, Pairing.Witness.TOPOLOGY)
            gateway.gateway, gateway.model_key, gateway.callsign = None, "", ""
            self.pairings.changed[gateway.sn] = gateway
        remarks = []
        if model_keys.domain(reported.model_key) == model_keys.AIRCRAFT:
            remarks.append("it calls itself an aircraft, which is not believed")
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
                self.connections.note(self.devices[sn], online=True)

    def write(self) -> None:
        """At most two statements per kind of row, none for a kind that did not change."""
        for device in self.pairings.switched_off.values():
            if self.connections.states.get(device.pk, {"online": True})["online"]:  # or it was never seen
                self.connections.note(device, online=False)
        changed = self.pairings.write({})
        self.connections.write()
        broadcast.tell_device((changed | self.connections.flipped).values())


# --- presence ----------------------------------------------------------------------------------


class _Connection(NamedTuple):
    device_id: int
    online: bool
    connected_since: datetime | None


_CONNECTIONS = Prepared(
    _Connection,
    lambda: DeviceState.objects.filter(AnyOf("device", "keys")).values_list("device", "online", "connected_since"),
)


class Connections:
    """Which of some devices are online, while that changes; the devices are locked."""

    def __init__(self, devices: Iterable[Device], *, now: datetime) -> None:
        keys = [device.pk for device in devices if not device._state.adding]
        rows = _CONNECTIONS(keys=keys) if keys else []
        self.states: dict[int, dict[str, Any]] = {row.device_id: {**NEW_STATE, **row._asdict()} for row in rows}
        self.flipped: dict[str, Device] = {}  # came online, or went
        self._now = now

    def note(self, device: Device, *, online: bool) -> None:
        """Note that a device is there now, or gone."""
        state = self.states.setdefault(device.pk, {**NEW_STATE, "device_id": device.pk, "connected_since": None})
        if online != state["online"]:
            self.flipped[device.sn] = device
        if online and not state["online"]:
            state["connected_since"] = self._now
        # `last_seen` of what went away, too: telemetry from before this moment must not bring it back.
        state["online"], state["last_seen"] = online, self._now

    def write(self) -> None:
        """Save what was noted in one statement, in the order in which telemetry locks these rows, too."""
        noted = [state for _, state in sorted(self.states.items()) if "last_seen" in state]
        changes = ["online", "last_seen", "connected_since"]
        bulk.upsert(DeviceState, noted, unique=["device_id"], changes=changes)


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
