"""Which dock carries which aircraft, and who is online.

A gateway is online while it speaks; an aircraft while it speaks and its gateway does. The message is on DJI's
"device topology" page; decisions 14 to 17 in docs/protocol.md.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from devices import live
from devices.models import Device, DeviceState
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.messages import UpdateTopo
from mqtt_bridge.protocol.topics import Channel, is_sn
from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization


class Report(NamedTuple):
    """What one gateway says about itself and what it carries."""

    gateway_sn: str
    topology: UpdateTopo


def update(reports: Sequence[Report], *, now: datetime) -> list[str]:
    """Make the gateways online and carry just what they say; returns a remark on each, for the journal.

    A topology replaces the one before. An aircraft without an owner joins its dock's organization; one that
    another organization owns stays where it is, and what may be a dock is no aircraft. Must run in a transaction; a
    constant number of statements.
    """
    change = _Change(_lock(reports), now)
    remarks = [change.apply(report) for report in reports]
    change.write()
    return remarks


def _lock(reports: Sequence[Report]) -> dict[str, Device]:
    """The devices concerned and those the gateways carried until now, locked; strangers are made within the cap."""
    gateways = {report.gateway_sn for report in reports}
    carried = {sub.sn for report in reports for sub in report.topology.sub_devices if is_sn(sub.sn)}
    discover(gateways)
    # What a stranger says it carries is not worth a row: it could name anything.
    owned = set(Device.objects.filter(sn__in=gateways).exclude(organization=None).values_list("sn", flat=True))
    discover(sub.sn for report in reports if report.gateway_sn in owned for sub in report.topology.sub_devices)
    concerned = Q(sn__in=gateways | carried) | Q(gateway__sn__in=gateways)
    rows = Device.objects.filter(concerned).select_related("state", "organization").lock_in_order()
    return {device.sn: device for device in rows}


class _Change:
    """The rows of one group of topologies while they are being changed."""

    def __init__(self, devices: dict[str, Device], now: datetime) -> None:
        self.devices = devices
        self.now = now
        self.changed: dict[str, Device] = {}
        self.flipped: dict[str, Device] = {}  # came online, or went
        self.states: dict[str, DeviceState] = {}
        self.actor = Actor(AuditEvent.Through.BRIDGE)
        self.events: list[AuditEvent] = []
        owners = {device.organization for device in devices.values() if device.organization}
        self.room = room_in({owner.pk: owner.device_limit for owner in owners})

    def apply(self, report: Report) -> str:
        gateway = self.devices.get(report.gateway_sn)
        if gateway is None:
            return "not recorded: too many unclaimed devices"
        if gateway.is_aircraft:
            self._disown(gateway)
        self._describe(gateway, report.topology.model_key)
        self._set_online(gateway, not report.topology.is_offline)
        if report.topology.is_offline:  # it says nothing about what it carries, but that can be reached no more
            for aircraft in self.devices.values():
                if aircraft.gateway_id == gateway.pk:
                    self._set_online(aircraft, False)
            return ""
        remarks = []
        carried = set()
        for sub in report.topology.sub_devices:
            device = self.devices.get(sub.sn)
            remark = self._why_not_carried(gateway, device, sub.model_key)
            if device is None or remark:
                remarks.append(f"{sub.sn}: {remark}")
                continue
            carried.add(device.sn)
            self._carry(gateway, device, sub.model_key)
        self._detach_others(gateway, carried)
        return "; ".join(remarks)

    def _why_not_carried(self, gateway: Device, device: Device | None, model_key: str) -> str:
        if device is None:
            return "not recorded: malformed serial number, unclaimed dock, or too many unclaimed devices"
        domains = {model_keys.domain(key) for key in (model_key, device.model_key) if key}
        if device.pk == gateway.pk or domains != {model_keys.AIRCRAFT}:
            return "not an aircraft, so it cannot be carried"
        if device.organization_id is not None and device.organization_id != gateway.organization_id:
            return "belongs to another organization"
        return ""

    def _carry(self, gateway: Device, device: Device, model_key: str) -> None:
        self._describe(device, model_key)
        self._set_online(device, True)
        if device.gateway_id != gateway.pk:
            device.gateway = gateway
            self.changed[device.sn] = device
        if self._may_adopt(gateway, device):
            live.tell_device([device])  # whoever watches it as unclaimed
            device.organization = gateway.organization
            device.bound_at = self.now
            self.events.append(self._adoption(device))
            self.changed[device.sn] = device

    def _may_adopt(self, gateway: Device, device: Device) -> bool:
        owner = gateway.organization
        if owner is None or not owner.is_active or device.organization_id is not None or not device.is_enabled:
            return False
        return self._has_room(owner)

    def _disown(self, gateway: Device) -> None:
        """Take a gateway from an organization whose dock falsely claimed to carry it: aircraft do not speak here."""
        if gateway.organization is not None:
            self.events.append(disowned(self.actor, gateway))
            live.tell_device([gateway])  # whoever loses it
        gateway.organization = gateway.bound_at = gateway.bound_with = gateway.gateway = None
        gateway.model_key = gateway.callsign = ""
        self.changed[gateway.sn] = gateway

    def _has_room(self, organization: Organization) -> bool:
        if organization.pk not in self.room:
            return True
        self.room[organization.pk] -= 1
        return self.room[organization.pk] >= 0

    def _detach_others(self, gateway: Device, carried: set[str]) -> None:
        for device in self.devices.values():
            if device.gateway_id == gateway.pk and device.sn not in carried:
                device.gateway = None
                self.changed[device.sn] = device
                self._set_online(device, False)

    def _describe(self, device: Device, model_key: str) -> None:
        if model_key and device.model_key != model_key:
            device.model_key = model_key
            self.changed[device.sn] = device

    def _set_online(self, device: Device, online: bool) -> None:
        # `last_seen` of what went away, too: telemetry from before this moment must not bring it back.
        if online != (hasattr(device, "state") and device.state.online):
            self.flipped[device.sn] = device
        self.states[device.sn] = with_presence(device, online=online, seen_at=self.now)

    def write(self) -> None:
        """One statement per kind of row, none for a kind that did not change."""
        if self.changed:
            Device.objects.bulk_create(
                self.changed.values(),
                update_conflicts=True,
                unique_fields=["sn"],
                update_fields=["model_key", "gateway", "organization", "bound_at", "bound_with", "callsign"],
            )
        if self.states:
            write_presence(self.states.values())
        if self.events:
            audit.record(self.events)
        live.tell_device((self.changed | self.flipped).values())

    def _adoption(self, device: Device) -> AuditEvent:
        after = {"organization": str(device.organization), "carried by": str(device.gateway)}
        return audit.event(self.actor, "adopt", device, organization_id=device.organization_id, after=after)


def disowned(actor: Actor, device: Device) -> AuditEvent:
    """The audit row for an organization that loses a gateway its dock had falsely claimed to carry."""
    before = {"organization": str(device.organization), "callsign": device.callsign}
    return audit.event(actor, "disown", device, organization_id=device.organization_id, before=before)


def room_in(limits: dict[int, int | None]) -> dict[int, int]:
    """How many more devices each of these organizations may have; those without a limit are left out."""
    limited = {pk: limit for pk, limit in limits.items() if limit is not None}
    if not limited:
        return {}
    counts = Device.objects.filter(organization__in=limited).order_by().values_list("organization")
    owned = dict(counts.annotate(Count("pk")))
    return {pk: limit - owned.get(pk, 0) for pk, limit in limited.items()}


# --- presence ----------------------------------------------------------------------------------


def discover(sns: Iterable[str]) -> None:
    """Make unclaimed devices of serial numbers nobody provisioned.

    UNCLAIMED_DEVICE_CAP limits how many there are, with those that docks brought along without a code.
    """
    wanted = {sn for sn in sns if is_sn(sn)}
    missing = sorted(wanted - set(Device.objects.filter(sn__in=wanted).values_list("sn", flat=True)))
    if not missing:
        return
    room = max(0, settings.UNCLAIMED_DEVICE_CAP - Device.objects.uninvited().count())
    new = [Device(sn=sn) for sn in missing[:room]]
    Device.objects.bulk_create(new, ignore_conflicts=True)


def with_presence(device: Device, *, online: bool, seen_at: datetime) -> DeviceState:
    """The device's state, made if there is none, with its presence changed; not saved."""
    state = device.state if hasattr(device, "state") else DeviceState(device=device)
    if online and not state.online:
        state.connected_since = seen_at
    state.online = online
    state.last_seen = seen_at
    return state


def write_presence(states: Iterable[DeviceState]) -> None:
    """Save the presence of these states in one statement, in the order in which telemetry locks them, too."""
    DeviceState.objects.bulk_create(
        sorted(states, key=lambda state: state.device.pk),
        update_conflicts=True,
        unique_fields=["device"],
        update_fields=["online", "last_seen", "connected_since"],
    )


def sweep(*, listening_since: datetime, now: datetime | None = None) -> int:
    """Declare offline what was silent too long, and aircraft whose gateway is; returns how many.

    Only silence the bridge listened to counts: after a restart every device gets its time to speak first.
    """
    now = now or timezone.now()
    limit = now - timedelta(seconds=settings.DEVICE_OFFLINE_AFTER)
    if listening_since > limit:
        return 0
    online = DeviceState.objects.filter(online=True)
    silent = _put_offline(online.filter(Q(last_seen__lt=limit) | Q(last_seen=None)))
    return silent + _put_offline(online.filter(device__gateway__state__online=False))


@transaction.atomic
def _put_offline(states: QuerySet[DeviceState]) -> int:
    # What somebody else is writing at this moment has just spoken, and is left for the next sweep.
    rows = states.order_by("pk").select_for_update(skip_locked=True, of=("self",)).select_related("device")
    gone = [state.device for state in rows.only("online", "device__sn", "device__organization")]
    live.tell_device(gone)
    return DeviceState.objects.filter(pk__in=[device.pk for device in gone]).update(online=False)


def owners(spoken: Mapping[str, Collection[str]]) -> dict[str, int | None]:
    """For whom each of these serial numbers spoke, given the channels it used: primary keys of organizations.

    An aircraft sends events of its own, and nothing else. What is recorded as one and was ever heard to ask or report
    what only a gateway does is somebody's gateway (docs/decisions/0003). One query, two if aircraft are among them.
    """
    devices = list(Device.objects.filter(sn__in=spoken).only("sn", "model_key", "organization"))
    aircraft = {device.sn for device in devices if device.is_aircraft}
    gateways = {sn for sn in aircraft if any(channel != Channel.EVENTS for channel in spoken[sn])}
    if quiet := aircraft - gateways:
        heard = Exchange.objects.filter(gateway_sn__in=quiet, method__in=ONBOARDING).order_by()
        gateways.update(heard.values_list("gateway_sn", flat=True).distinct())
    return {device.sn: None if device.sn in gateways else device.organization_id for device in devices}
