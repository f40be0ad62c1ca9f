"""The newest telemetry of each device into its state."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from devices import registry, topology
from devices.live import broadcast
from devices.models import Device, DeviceState, Pairing
from devices.pairing import Testimony
from devices.topology import Link
from mqtt_bridge.protocol import model_keys
from mqtt_bridge.protocol.telemetry import OwnAircraft, Telemetry, extract
from mqtt_bridge.telemetry import Frame
from mqtt_bridge.timeouts import SHORT_WAIT, is_locked, wait_for_locks

PROPERTIES_CAP = 64 * 1024  # bytes of JSON kept of one device
FIELDS = (
    "online", "last_seen", "connected_since", "firmware_version", "latitude", "longitude", "mode_code",
    "properties", "clock_skew_ms", "refused", "refused_at", "refused_why",
)  # fmt: skip


_unlearned: dict[str, "_Witness"] = {}  # by serial number: a device that they are about was locked


def store(frames: Sequence[Frame], *, now: datetime | None = None) -> list[Frame]:
    """Merge one frame per device into `DeviceState`; unknown devices are made, unclaimed, within the cap.

    Returns the frames of devices whose rows are locked: they belong before what those devices say next.
    Then take what docks and aircraft say of each other, in a transaction of its own: that locks devices before states.
    """
    by_sn = {frame.sn: frame for frame in frames}
    now = now or timezone.now()
    witnesses, held = _store(by_sn, now)
    for witness in witnesses:
        before = _unlearned.pop(witness.frame.sn, witness).before
        _unlearned[witness.frame.sn] = witness._replace(before=before)
    if _unlearned:
        witnesses = list(_unlearned.values())
        _unlearned.clear()
        _learn(witnesses, now=now)
    return held


class _Witness(NamedTuple):
    """A frame that says which aircraft belongs to which dock; `before` is what the dock named in the frame before."""

    frame: Frame
    values: Telemetry
    before: str


@transaction.atomic
def _store(by_sn: dict[str, Frame], now: datetime) -> tuple[list[_Witness], list[Frame]]:
    """Three statements for any number of devices, one of which writes; one more if some are new or locked.

    The rows are locked, so that a release which clears a state is seen here: frames from before it are the former
    owner's and are dropped. What others have locked is left out, so that no device waits for another's row.
    """
    witnesses = []
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
        if (state := known.get(device.pk)) is None:
            held.append(by_sn[device.sn])
            continue
        was_online = state.online
        frame = by_sn[device.sn]
        before = state.properties.get("sub_device")
        values = _merge(state, frame, now)
        if values is not None and (
            values.sub_device or values.best_link_gateway or frame.gateway not in ("", frame.sn)
        ):
            named = before.get("device_sn") if isinstance(before, dict) else ""
            witnesses.append(_Witness(frame, values, str(named)))
        states.append(state)
        if state.online and not was_online:
            back.append(device)
    DeviceState.objects.bulk_create(states, update_conflicts=True, unique_fields=["device"], update_fields=FIELDS)
    broadcast.tell_device(back)
    return witnesses, held


def _merge(state: DeviceState, frame: Frame, now: datetime) -> Telemetry | None:
    """Take the frame; returns its values, None if it has none or they are a former owner's."""
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


def _skew(timestamp: int | None, received_at: datetime, before: int | None) -> int | None:
    """How far the device's clock is ahead of ours, in milliseconds."""
    return before if timestamp is None else timestamp - int(received_at.timestamp() * 1000)


# --- who belongs to whom ---------------------------------------------------------------------------


class _Known(NamedTuple):
    """What an open pairing says already."""

    is_linked: bool
    is_heard: bool  # the aircraft said so itself
    is_current: bool  # the aircraft is shown in this dock
    is_settled: bool  # the dock named it, both models are known, and it has an owner if the dock has


def _learn(witnesses: Sequence[_Witness], *, now: datetime) -> None:
    """Hand on what is news; docks repeat themselves every two seconds, so that nearly nothing is. One query if so."""
    known = _known(witnesses)
    news = [(witness, *said) for witness in witnesses if any(said := _news(witness, known))]
    if not news:
        return
    all_words = [word for _, words, _ in news for word in words]
    try:
        topology.learn(all_words, [link for _, _, links in news for link in links], now=now)
    except OperationalError as error:
        if not is_locked(error):
            raise
        for witness, words, links in news:
            _learn_unless_locked(witness, words, links, now=now)


def _learn_unless_locked(
    witness: _Witness, words: Sequence[Testimony], links: Sequence[Link], *, now: datetime
) -> None:
    """Hand on what one device says; it is said again with the next frames if somebody has locked what it is about."""
    try:
        with transaction.atomic():
            wait_for_locks(connection, SHORT_WAIT)
            topology.learn(words, links, now=now)
    except OperationalError as error:
        if not is_locked(error):
            raise
        _unlearned[witness.frame.sn] = witness


def _news(witness: _Witness, known: dict[str, dict[str, _Known]]) -> tuple[list[Testimony], list[Link]]:
    """What this frame says that no pairing says yet."""
    words, links = [], []
    word = _word(witness)
    if word is not None and _is_news(word, known):
        words.append(word)
    frame, best = witness.frame, witness.values.best_link_gateway
    through = best or frame.gateway
    if through not in ("", frame.sn):
        link = known.get(through, {}).get(frame.sn)
        if link is None or not (link.is_linked and link.is_heard):
            at = frame.data_since or frame.received_at
            words.append(Testimony(through, Pairing.Witness.AIRCRAFT, at, {frame.sn: ""}, linked=True))
        if link is None or not link.is_current:
            links.append(Link(frame.sn, through, is_best=bool(best)))
    return words, links


def _known(witnesses: Sequence[_Witness]) -> dict[str, dict[str, _Known]]:
    docks = {witness.frame.sn for witness in witnesses if witness.values.sub_device}
    aircraft = {witness.frame.sn for witness in witnesses} - docks
    rows = Pairing.objects.filter(Q(dock__sn__in=docks) | Q(aircraft__sn__in=aircraft), until=None)
    known: dict[str, dict[str, _Known]] = {}
    for dock_sn, sn, linked, heard, dock, current, witness, dock_model, model, dock_owner, owner in rows.values_list(
        "dock__sn", "aircraft__sn", "linked_since", "is_heard", "dock", "aircraft__gateway", "witness",
        "dock__model_key", "aircraft__model_key", "dock__organization", "aircraft__organization",
    ):  # fmt: skip
        are_described = bool(model) and bool(dock_model or not model_keys.dock_of(model))
        is_settled = witness != Pairing.Witness.AIRCRAFT and are_described and (owner or not dock_owner)
        known.setdefault(dock_sn, {})[sn] = _Known(linked is not None, heard, current == dock, bool(is_settled))
    return known


def _word(witness: _Witness) -> Testimony | None:
    """What a dock's property `sub_device` says of its aircraft; None if the frame has none that says anything."""
    frame, told = witness.frame, witness.values.sub_device
    if told is None or told == OwnAircraft():
        return None
    at = frame.data_since or frame.received_at
    is_unpaired = told.device_paired is False and not told.device_online_status
    if is_unpaired or not told.device_sn:
        return Testimony(frame.sn, Pairing.Witness.DOCK, at, {}, told.device_online_status, instead=is_unpaired)
    named = {told.device_sn: told.model_key}
    instead = witness.before not in ("", told.device_sn)
    return Testimony(frame.sn, Pairing.Witness.DOCK, at, named, told.device_online_status, instead=instead)


def _is_news(word: Testimony, known: dict[str, dict[str, _Known]]) -> bool:
    mine = known.get(word.gateway_sn, {})
    if word.instead and mine.keys() - word.named.keys():
        return True
    if not word.named:
        return word.linked is False and any(pair.is_linked for pair in mine.values())
    return any(
        sn not in mine or not mine[sn].is_settled or word.linked not in (None, mine[sn].is_linked) for sn in word.named
    )
