"""The newest telemetry of each device into its state."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.db import transaction
from django.utils import timezone

from devices import live, topology
from devices.models import Device, DeviceState
from mqtt_bridge.protocol.telemetry import extract
from mqtt_bridge.telemetry import Frame

PROPERTIES_CAP = 64 * 1024  # bytes of JSON kept of one device
FIELDS = (
    "online", "last_seen", "connected_since", "firmware_version", "latitude", "longitude", "mode_code",
    "properties", "clock_skew_ms", "refused", "refused_at", "refused_why",
)  # fmt: skip


@transaction.atomic
def store(frames: Sequence[Frame]) -> None:
    """Merge one frame per device into `DeviceState`; unknown devices are made, unclaimed, within the cap.

    Three statements for any number of devices, one of which writes. The rows are locked, so that a release
    which clears a state is seen here: frames from before it are the former owner's and are dropped.
    """
    by_sn = {frame.sn: frame for frame in frames}
    topology.discover(by_sn)
    devices = Device.objects.filter(sn__in=by_sn).order_by("pk")
    locked = DeviceState.objects.filter(device__sn__in=by_sn).select_for_update(of=("self",)).order_by("pk")
    known = {state.pk: state for state in locked}
    now = timezone.now()
    states, back = [], []
    for device in devices.only("sn", "organization"):
        state = known.get(device.pk) or DeviceState(device=device)
        was_online = state.online
        _merge(state, by_sn[device.sn], now)
        states.append(state)
        if state.online and not was_online:
            back.append(device)
    DeviceState.objects.bulk_create(states, update_conflicts=True, unique_fields=["device"], update_fields=FIELDS)
    live.tell_device(back)


def _merge(state: DeviceState, frame: Frame, now: datetime) -> None:
    # What is dated later than now was written before our clock was set back, and says nothing of the order.
    seen_at = min(frame.received_at, now)
    if state.last_seen is None or seen_at >= state.last_seen or state.last_seen > now:
        if not state.online:
            state.online, state.connected_since = True, seen_at
        state.last_seen = seen_at
    if frame.refused:
        state.refused += frame.refused
        state.refused_at, state.refused_why = frame.refused_at, frame.refused_why
    state.clock_skew_ms = _skew(frame.timestamp, frame.received_at, state.clock_skew_ms)
    if not frame.data or (state.cleared_at and frame.data_since and frame.data_since <= state.cleared_at <= now):
        return
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


def _skew(timestamp: int | None, received_at: datetime, before: int | None) -> int | None:
    """How far the device's clock is ahead of ours, in milliseconds."""
    return before if timestamp is None else timestamp - int(received_at.timestamp() * 1000)
