"""The newest telemetry of each device, merged into its `DeviceState`.

Several processes may write the same device, and the frames of one may come to any of them: a broker that shares a
subscription hands out message by message. So each row says when the newest message of each kind arrived (`told`, by
the clocks of those who received them), and an older one of that kind changes nothing, whenever it is written. Kinds
rather than one time for the row: a message has only part of the properties, and that an older message comes second must
not cost those that the newer one does not have. Kinds: `mqtt_bridge.telemetry.Frame`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from devices import registry, witnesses
from devices.live import broadcast
from devices.models import Device, DeviceState
from devices.witnesses import Sighting
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.protocol.device_properties import Telemetry, extract
from mqtt_bridge.telemetry import Frame, milliseconds

PROPERTIES_CAP = 64 * 1024  # bytes of JSON kept of one device
# Another process's clock may be ahead of ours by so much. A later moment was written before our clock was set back, and
# says nothing about the order.
LEAD = timedelta(seconds=5)
MEMORY = timedelta(minutes=1)  # that a row knows of a kind of message: a frame is written within seconds, or lost


class _Device(NamedTuple):
    pk: int
    sn: str
    organization_id: int | None


class _State(NamedTuple):
    """All of a row but its properties, which the database merges: they are too large to be fetched every second."""

    device_id: int
    online: bool = False
    last_seen: datetime | None = None
    connected_since: datetime | None = None
    firmware_version: str = ""
    latitude: float | None = None
    longitude: float | None = None
    mode_code: int | None = None
    clock_skew_ms: int | None = None
    refused: int = 0
    refused_at: datetime | None = None
    refused_why: str = ""
    told: dict[str, int] = {}
    cleared_at: datetime | None = None
    named: str = ""

    def merge(self, frame: Frame, now: datetime) -> tuple[dict[str, Any], Telemetry | None]:
        """The row as it is to be written, and the frame's values, None if none of them are news."""
        row = self._asdict() | {"properties": {}}
        cleared_at = row.pop("cleared_at")
        del row["named"]
        row |= self.heard(frame, now)
        if cleared_at and frame.data_since and frame.data_since <= cleared_at <= now:
            return row, None
        since, until = milliseconds(now - MEMORY), milliseconds(now + LEAD)
        told = {kind: at for kind, at in self.told.items() if since < at <= until}
        row["properties"] = frame.newer_than(told)
        row["told"] = told | {kind: max(message.at, told.get(kind, 0)) for kind, message in frame.kinds.items()}
        if not row["properties"]:
            return row, None
        values = extract(row["properties"])
        if values.latitude is not None:
            row |= {"latitude": values.latitude, "longitude": values.longitude}
        if values.mode_code is not None:
            row["mode_code"] = values.mode_code
        if values.firmware_version:
            row["firmware_version"] = values.firmware_version
        return row, values

    def heard(self, frame: Frame, now: datetime) -> dict[str, Any]:
        """What changes because the device said something, whatever that was.

        A dock that reports its aircraft as not connected shows nothing of when that was there.
        """
        changes: dict[str, Any] = {}
        seen_at = min(frame.received_at, now)
        is_newest = self.last_seen is None or seen_at >= self.last_seen or self.last_seen > now + LEAD
        if is_newest and not frame.is_of_absent_aircraft:
            changes["last_seen"] = seen_at
            if not self.online:
                changes |= {"online": True, "connected_since": seen_at}
            if frame.timestamp is not None:
                changes["clock_skew_ms"] = frame.timestamp - milliseconds(frame.received_at)
        if frame.refused_at is not None:
            changes["refused"] = self.refused + frame.refused
            if self.refused_at is None or frame.refused_at >= self.refused_at or self.refused_at > now + LEAD:
                changes |= {"refused_at": frame.refused_at, "refused_why": frame.refused_why}
        return changes


_DEVICES = Prepared(
    _Device, lambda: Device.objects.filter(AnyOf("sn", "sns")).order_by("pk").values_list(*_Device._fields)
)
_LOCKED_STATES = Prepared(
    _State,
    lambda: (
        DeviceState.objects.filter(AnyOf("device", "keys"))
        .order_by("pk")
        .select_for_update(skip_locked=True)
        .values_list(*_State._fields)
    ),
)


def store(frames: Sequence[Frame], *, now: datetime | None = None) -> list[Frame]:
    """Merge one frame per device into `DeviceState`; unknown devices are made, unclaimed, within the cap.

    Returns the frames of devices whose rows are locked: they come before what those devices report next. Then take
    what docks and aircraft report about each other, in a transaction of its own: that locks devices before states.
    """
    now = now or timezone.now()
    sightings, held = _store({frame.sn: frame for frame in frames}, now)
    witnesses.learn(sightings, now=now)
    return held


@transaction.atomic
def _store(by_sn: dict[str, Frame], now: datetime) -> tuple[list[Sighting], list[Frame]]:
    """Three statements for any number of devices, one of which writes; some more if devices are new or locked.

    The rows are locked, so that a release which clears a state is seen here: frames from before it are the former
    owner's and are dropped. What others have locked is left out, so that no device waits for another's row.
    """
    devices = _DEVICES(sns=by_sn)
    if len(devices) < len(by_sn):
        registry.discover(by_sn.keys() - {device.sn for device in devices})
        devices = _DEVICES(sns=by_sn)
    states = {state.device_id: state for state in _LOCKED_STATES(keys=[device.pk for device in devices])}
    if missing := [device.pk for device in devices if device.pk not in states]:
        stateless = Device.objects.filter(pk__in=missing, state=None).order_by("pk")
        unlocked = stateless.select_for_update(no_key=True, of=("self",), skip_locked=True).values_list("pk", flat=True)
        states |= {key: _State(key) for key in unlocked}
        DeviceState.objects.bulk_create(
            [DeviceState(device_id=key) for key in states.keys() & missing], ignore_conflicts=True
        )
    rows, sightings, back, held = [], [], [], []
    for device in devices:
        frame, state = by_sn[device.sn], states.get(device.pk)
        if state is None:
            held.append(frame)
            continue
        row, values = state.merge(frame, now)
        rows.append(row)
        if (
            values is not None
            and not frame.is_of_absent_aircraft
            and (values.sub_device or values.best_link_gateway or frame.gateway not in ("", frame.sn))
        ):
            sightings.append(Sighting(frame, values, state.named))
        if row["online"] and not state.online:
            back.append(Device(pk=device.pk, sn=device.sn, organization_id=device.organization_id))
    bulk.update(DeviceState, rows, merges={"properties": PROPERTIES_CAP})
    broadcast.tell_device(back)
    return sightings, held
