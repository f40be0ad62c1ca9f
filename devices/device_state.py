"""The newest telemetry of each device, merged into its `DeviceState`."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.db import transaction
from django.utils import timezone

from devices import registry, witnesses
from devices.live import broadcast
from devices.models import Device, DeviceState
from devices.witnesses import Sighting
from mqtt_bridge.protocol.device_properties import Telemetry, extract
from mqtt_bridge.telemetry import Frame

PROPERTIES_CAP = 64 * 1024  # bytes of JSON kept of one device
FIELDS = (
    "online", "last_seen", "connected_since", "firmware_version", "latitude", "longitude", "mode_code",
    "properties", "clock_skew_ms", "refused", "refused_at", "refused_why",
)  # fmt: skip


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
    """Three statements for any number of devices, one of which writes; one more if some are new or locked.

    The rows are locked, so that a release which clears a state is seen here: frames from before it are the former
    owner's and are dropped. What others have locked is left out, so that no device waits for another's row.
    """
    sightings = []
    registry.discover(by_sn)
    rows = DeviceState.objects.filter(device__sn__in=by_sn).order_by("pk")
    known = {state.pk: state for state in rows.select_for_update(of=("self",), skip_locked=True)}
    devices = Device.objects.filter(sn__in=by_sn).order_by("pk").only("sn", "organization")
    if missing := [device.pk for device in devices if device.pk not in known]:
        new = Device.objects.filter(pk__in=missing, state=None).only("pk")
        unlocked = new.select_for_update(no_key=True, of=("self",), skip_locked=True)
        known |= {device.pk: DeviceState(device=device) for device in unlocked}
    states, back, held = [], [], []
    for device in devices:
        frame = by_sn[device.sn]
        if (state := known.get(device.pk)) is None:
            held.append(frame)
            continue
        was_online, before = state.online, state.properties.get("sub_device")
        values = _merge(state, frame, now)
        if values is not None and (
            values.sub_device or values.best_link_gateway or frame.gateway not in ("", frame.sn)
        ):
            named = before.get("device_sn") if isinstance(before, dict) else ""
            sightings.append(Sighting(frame, values, str(named)))
        states.append(state)
        if state.online and not was_online:
            back.append(device)
    DeviceState.objects.bulk_create(states, update_conflicts=True, unique_fields=["device"], update_fields=FIELDS)
    broadcast.tell_device(back)
    return sightings, held


def _merge(state: DeviceState, frame: Frame, now: datetime) -> Telemetry | None:
    """Take the frame; returns its values, None if it has none or they are a former owner's."""
    # A moment later than now was written before our clock was set back, and says nothing about the order.
    seen_at = min(frame.received_at, now)
    if state.last_seen is None or seen_at >= state.last_seen or state.last_seen > now:
        if not state.online:
            state.online, state.connected_since = True, seen_at
        state.last_seen = seen_at
    if frame.refused:
        state.refused += frame.refused
        state.refused_at, state.refused_why = frame.refused_at, frame.refused_why
    if frame.timestamp is not None:
        state.clock_skew_ms = frame.timestamp - int(frame.received_at.timestamp() * 1000)
    if not frame.data or (state.cleared_at and frame.data_since and frame.data_since <= state.cleared_at <= now):
        return None
    values = extract(frame.data)
    if values.latitude is not None:
        state.latitude, state.longitude = values.latitude, values.longitude
    if values.mode_code is not None:
        state.mode_code = values.mode_code
    if values.firmware_version:
        state.firmware_version = values.firmware_version
    merged = {**state.properties, **frame.data}
    if len(msgspec.json.encode(merged)) <= PROPERTIES_CAP:
        state.properties = merged
    return values
