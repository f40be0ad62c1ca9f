"""What telemetry shows of which aircraft belongs to which dock, and which part of it is new.

Docks report their aircraft in the property `sub_device`, aircraft their dock as the gateway of their frames or in
`best_link_gateway` (DJI's page "device properties"). What it means is decided in `devices/pairing.py`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import OperationalError, connection, transaction
from django.db.models import Q

from devices import topology
from devices.models import Device, DeviceState, Pairing
from devices.pairing import Testimony
from devices.registry import discover
from mqtt_bridge.database import bulk
from mqtt_bridge.database.timeouts import SHORT_WAIT, is_locked, wait_for_locks
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.device_properties import OwnAircraft, Telemetry
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.telemetry import Frame


class Sighting(NamedTuple):
    """A frame that shows which aircraft belongs to which dock."""

    frame: Frame
    values: Telemetry
    before: str  # the aircraft that the dock named before, "" if none

    @property
    def at(self) -> datetime:
        """When it was reported."""
        return self.frame.data_since or self.frame.received_at

    @property
    def named(self) -> str | None:
        """The aircraft that a dock names, "" if it says that it has none, None if it says nothing."""
        return self.values.sub_device.device_sn if self.values.sub_device else None

    @property
    def gateway(self) -> str:
        """The gateway that an aircraft names; "" or its own serial number if it names none."""
        return self.values.best_link_gateway or self.frame.gateway

    def of_dock(self) -> Testimony | None:
        """What a dock reports about its aircraft; None if the frame has nothing of that."""
        aircraft, dock_sn = self.values.sub_device, self.frame.sn
        if aircraft is None or aircraft == OwnAircraft():
            return None
        linked = aircraft.device_online_status
        is_unpaired = aircraft.device_paired is False and not linked
        if is_unpaired or not aircraft.device_sn:
            return Testimony(dock_sn, Pairing.Witness.DOCK, self.at, {}, linked, instead=is_unpaired)
        instead = self.before not in ("", aircraft.device_sn)
        named = {aircraft.device_sn: aircraft.model_key}
        return Testimony(dock_sn, Pairing.Witness.DOCK, self.at, named, linked, instead=instead)


class Link(NamedTuple):
    """Through which gateway an aircraft spoke; `is_best` if it names this one itself, of several that receive it."""

    aircraft_sn: str
    gateway_sn: str
    is_best: bool


def learn(sightings: Sequence[Sighting], *, now: datetime) -> None:
    """Hand on what is new; what concerns a device that others have locked waits for the next sighting of it.

    Docks repeat themselves every two seconds, so that nearly nothing is new. One query if nothing is, none for none.
    What a dock named before is in its row, not in this process: the next sighting may come to another one.
    """
    if not sightings:
        return
    known = _Known(sightings)
    news = [(sighting, *new) for sighting in sightings if any(new := known.news(sighting))]
    named = {one.frame.sn: one.named for one in sightings if one.named not in (None, one.before)}
    try:
        if news:
            _take(
                [testimony for _, testimonies, _ in news for testimony in testimonies],
                [link for _, _, links in news for link in links],
                now=now,
            )
    except OperationalError as error:
        if not is_locked(error):
            raise
        for sighting, testimonies, links in news:
            try:
                with transaction.atomic():
                    wait_for_locks(connection, SHORT_WAIT)
                    _take(testimonies, links, now=now)
            except OperationalError as error:
                if not is_locked(error):
                    raise
                named.pop(sighting.frame.sn, None)
    if not named:
        return
    with transaction.atomic():
        rows = DeviceState.objects.filter(device__sn__in=named).order_by("pk")
        keys = rows.select_for_update(of=("self",), skip_locked=True).values_list("pk", "device__sn")
        bulk.update(DeviceState, [{"device_id": key, "named": named[sn]} for key, sn in keys])


@transaction.atomic
def _take(testimonies: Sequence[Testimony], links: Sequence[Link] = (), *, now: datetime) -> None:
    """Take what the properties of docks and aircraft report about each other.

    What keeps an aircraft from its dock's owner goes to the journal, once.
    """
    gateways = {testimony.gateway_sn for testimony in testimonies} | {link.gateway_sn for link in links}
    named = {sn for testimony in testimonies for sn in testimony.named} | {link.aircraft_sn for link in links}
    discover(sn for testimony in testimonies if testimony.witness != Pairing.Witness.AIRCRAFT for sn in testimony.named)
    change = topology.Change(gateways, named, topology.Connections(now=now))
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


class _Pair(NamedTuple):
    """What an open pairing says already."""

    is_linked: bool
    is_heard: bool  # the aircraft said so itself
    is_current: bool  # the aircraft is shown in this dock
    is_settled: bool  # the dock named it, both models are known, and it has an owner if the dock has


class _Known:
    """The open pairings of the devices in these sightings."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        docks = {sighting.frame.sn for sighting in sightings if sighting.values.sub_device}
        aircraft = {sighting.frame.sn for sighting in sightings} - docks
        rows = Pairing.objects.filter(Q(dock__sn__in=docks) | Q(aircraft__sn__in=aircraft), until=None)
        self.of_dock: dict[str, dict[str, _Pair]] = {}
        columns = rows.values_list(
            "dock__sn", "aircraft__sn", "linked_since", "is_heard", "dock", "aircraft__gateway", "witness",
            "dock__model_key", "aircraft__model_key", "dock__organization", "aircraft__organization",
        )  # fmt: skip
        for dock_sn, sn, linked, heard, dock, current, witness, dock_model, model, dock_owner, owner in columns:
            are_described = bool(model) and bool(dock_model or not model_keys.dock_of(model))
            is_settled = witness != Pairing.Witness.AIRCRAFT and are_described and (owner or not dock_owner)
            pair = _Pair(linked is not None, heard, current == dock, bool(is_settled))
            self.of_dock.setdefault(dock_sn, {})[sn] = pair

    def news(self, sighting: Sighting) -> tuple[list[Testimony], list[Link]]:
        """What this sighting reports and no pairing says yet."""
        testimonies, links = [], []
        of_dock = sighting.of_dock()
        if of_dock is not None and self.is_news(of_dock):
            testimonies.append(of_dock)
        sn, gateway = sighting.frame.sn, sighting.gateway
        if gateway not in ("", sn):
            pair = self.of_dock.get(gateway, {}).get(sn)
            if pair is None or not (pair.is_linked and pair.is_heard):
                testimonies.append(Testimony(gateway, Pairing.Witness.AIRCRAFT, sighting.at, {sn: ""}, linked=True))
            if pair is None or not pair.is_current:
                links.append(Link(sn, gateway, is_best=bool(sighting.values.best_link_gateway)))
        return testimonies, links

    def is_news(self, testimony: Testimony) -> bool:
        """Whether no pairing says yet what a dock reports."""
        mine = self.of_dock.get(testimony.gateway_sn, {})
        if testimony.instead and mine.keys() - testimony.named.keys():
            return True
        if not testimony.named:
            return testimony.linked is False and any(pair.is_linked for pair in mine.values())
        return any(
            sn not in mine or not mine[sn].is_settled or testimony.linked not in (None, mine[sn].is_linked)
            for sn in testimony.named
        )
