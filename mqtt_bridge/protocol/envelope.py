"""The envelope around every message: bytes to Envelope and back.

Tolerances follow what real docks and DJI's own examples do: a key spelled "timestamp:", a missing method,
trailing commas, numbers as text. Limits exist because a payload is written by a stranger.
"""

import contextlib
import math
from collections.abc import Mapping
from typing import Final

import msgspec

from mqtt_bridge.protocol import untrusted_json
from mqtt_bridge.protocol.conversion import Shaped
from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.redaction import redact
from mqtt_bridge.protocol.topics import Channel, is_sn
from mqtt_bridge.protocol.topology import says_offline

# Bytes and values; DJI names no limits (decision 31).
MAX_PAYLOAD: Final = 256 * 1024
MAX_SERVICES_REPLY: Final = 4 * 1024 * 1024  # a list of 10,000 licenses is 2.8 MB
MAX_NODES: Final = 20_000
MAX_SERVICES_REPLY_NODES: Final = 400_000  # a license is about 17 nodes
MAX_ID_LENGTH: Final = 128  # tid, bid and method, in characters


class Envelope(msgspec.Struct, frozen=True):
    """One message without its topic (DJI: topic definition).

    `data` is plain JSON of any type, {} for null and where there is none. `not_numbers` counts the values of an osd or
    state message that were skipped because they are not numbers; `not_a_number` is the key of the first, "" in a list.
    """

    # One transaction: a request and its reply. Opaque text, for the ids in DJI's examples are not valid UUIDs. "" on
    # osd and state, which nobody answers, and in a last will; any other message without one is refused.
    tid: str
    # One operation of several transactions: it ties a service call to its later progress events. May be "".
    bid: str
    # "" where the channel has none (osd, state, property/set and its reply), or where it cannot be inferred.
    method: str
    # The sender's clock in milliseconds since 1970, None if absent or unusable. A dock that has not asked its time
    # server yet may be far off: never trust it (decision 29).
    timestamp: int | None
    # The gateway that the sender names: how the dock of an aircraft's osd is known. Elsewhere the topic counts
    # (decision 25). "" if absent or not a serial number; the list reply on DJI: flysafe has it empty.
    gateway: str
    # Whether an event is to be acknowledged; 0 or 1 in DJI's tables.
    need_reply: bool
    # An object in all documented messages but `airsense_warning`, which is a list. Null for `flight_areas_get`.
    data: object
    not_numbers: int = 0
    not_a_number: str = ""

    def __repr__(self) -> str:
        return f"Envelope({self.method!r}, tid={self.tid!r}, bid={self.bid!r}, data={redact(self.data)!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, redact(getattr(self, name))) for name in self.__struct_fields__]


class RefusedMessageError(RemoteProtocolError):
    """A payload that cannot be used.

    `envelope` holds what an answer needs (tid, bid, method; its `data` is empty) and is None where an answer is
    impossible. If only the tid is missing, it is the whole message, which cannot be answered either.
    """

    def __init__(self, reason: str, detail: str, envelope: Envelope | None) -> None:
        super().__init__(reason, detail)
        self.envelope = envelope


class _Head(msgspec.Struct, frozen=True):
    """The fields that an answer needs; msgspec skips the rest without building it."""

    tid: object = None
    bid: object = None
    method: object = None
    timestamp: object = None
    gateway: object = None
    need_reply: object = None


_HEAD: Final = msgspec.json.Decoder(_Head)
_ENCODER: Final = msgspec.json.Encoder()
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some clients begin with one (decision 33)

_WITHOUT_METHOD: Final = frozenset(
    (Channel.OSD, Channel.STATE, Channel.PROPERTY_SET, Channel.PROPERTY_SET_REPLY),
)
_WITHOUT_TID: Final = frozenset((Channel.OSD, Channel.STATE))
# A key of `data` that only one method has. DJI's English pages since V1.8 leave `method` out of their examples.
_METHOD_SIGNS: Final[Mapping[Channel, tuple[tuple[str, str], ...]]] = {
    Channel.REQUESTS: (
        ("devices", "airport_bind_status"),
        ("bind_devices", "airport_organization_bind"),
        ("device_binding_code", "airport_organization_get"),
        ("config_type", "config"),
        ("config_scope", "config"),
    ),
    Channel.STATUS: (("sub_devices", "update_topo"), ("type", "update_topo")),
}


def decode(payload: bytes, *, channel: Channel) -> Envelope:
    """Read one payload; RefusedMessageError and no other exception, whatever the bytes are.

    A byte order mark before the JSON is skipped. A value of osd and state that is not a number does not spoil the rest:
    its field is left out, in a list it is null.
    """
    # Only a reply to `unlock_license_list` is ever large.
    is_reply = channel is Channel.SERVICES_REPLY
    limit, max_nodes = (MAX_SERVICES_REPLY, MAX_SERVICES_REPLY_NODES) if is_reply else (MAX_PAYLOAD, MAX_NODES)
    if len(payload) > limit:
        raise RefusedMessageError("too_large", f"{len(payload)} bytes, at most {limit}", None)
    payload = payload.removeprefix(_BYTE_ORDER_MARK)
    try:
        message, skipped = untrusted_json.parse(payload, max_nodes=max_nodes, skip_not_numbers=channel in _WITHOUT_TID)
    except RemoteProtocolError as error:
        answerable = None
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, RemoteProtocolError):
            head = _to_envelope(msgspec.structs.asdict(_HEAD.decode(payload)), channel)
            if head.tid and "\0" not in head.tid + head.bid + head.method:
                answerable = head
        raise RefusedMessageError(error.reason, error.detail, answerable) from error
    envelope = _to_envelope(message, channel)
    if not skipped:
        return envelope
    return msgspec.structs.replace(envelope, not_numbers=len(skipped), not_a_number=skipped.first_key)


def encode(
    *,
    tid: str,
    bid: str,
    method: str | None,
    timestamp: int,
    gateway: str | None,
    data: msgspec.Struct | Mapping[str, object],
    need_reply: bool | None = None,
) -> bytes:
    """Write one payload as compact JSON; `timestamp` in milliseconds since 1970.

    `method`, `gateway` and `need_reply` are left out if empty or None. LocalProtocolError for what our own
    decoder would refuse in an answer.
    """
    if not tid:
        raise LocalProtocolError("a message needs a tid")
    if max(len(tid), len(bid), len(method or "")) > MAX_ID_LENGTH:
        raise LocalProtocolError(f"tid, bid and method have at most {MAX_ID_LENGTH} characters")
    message: dict[str, object] = {"tid": tid, "bid": bid}
    if method:
        message["method"] = method
    message["timestamp"] = timestamp  # never the key with the colon that some pages show
    if gateway:
        message["gateway"] = gateway
    if need_reply is not None:
        message["need_reply"] = int(need_reply)
    message["data"] = data.wire() if isinstance(data, Shaped) else data
    try:
        payload = _ENCODER.encode(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"not JSON: {type(error).__name__}") from error
    if untrusted_json.has_nul(payload):
        raise LocalProtocolError("NUL character")
    # msgspec writes NaN as null: only a payload with a null can hide one.
    if b"null" in payload and _has_not_a_number(message):
        raise LocalProtocolError("not a number")
    return payload


def unix_milliseconds(value: object) -> int | None:
    """Normalise a timestamp in s, ms, microseconds or ns, as number or text, to milliseconds.

    DJI documents 13 digits, as a number; the V1.1 pages and some events_reply examples have them as text.
    """
    if type(value) is str:
        value = int(value) if len(value) <= 20 and value.isascii() and value.isdigit() else None
    elif type(value) is float:
        value = int(value) if math.isfinite(value) else None
    if type(value) is not int or not 0 < value < 10**20:
        return None
    if value >= 10**17:  # nanoseconds
        return value // 10**6
    if value >= 10**14:  # microseconds
        return value // 10**3
    # Seconds from 1973 on. A smaller number is taken for milliseconds: a clock that was never set counts from its
    # start.
    return value * 1000 if 10**8 <= value < 10**11 else value


def _to_envelope(message: dict[str, object], channel: Channel) -> Envelope:
    get = message.get
    tid = _id(get("tid"))
    bid = _id(get("bid"))
    data = get("data")
    if data is None:
        # A message without DJI's envelope has its fields at the top (decision 17); without a tid it gets no answer.
        data = {} if tid or "data" in message or channel in _WITHOUT_TID else message
    method = get("method")
    if channel in _WITHOUT_METHOD:
        method = ""
    elif type(method) is not str or not method:
        fields = data if isinstance(data, dict) else {}
        method = next((method for key, method in _METHOD_SIGNS.get(channel, ()) if key in fields), "")
        if channel is Channel.STATUS and says_offline(fields):
            method = "update_topo"  # a last will (decision 17)
    timestamp = unix_milliseconds(get("timestamp"))
    if timestamp is None:
        # Spelled so in the examples of DJI: organization from V1.2 to V1.8, and still in those of Dock 3.
        timestamp = unix_milliseconds(get("timestamp:"))
    gateway = get("gateway")
    if type(gateway) is not str or not is_sn(gateway):
        gateway = ""
    # 1, true, "1" and "true" (decision 20)
    wanted = get("need_reply")
    need_reply = type(wanted) in (bool, int, str) and str(wanted).lower() in ("1", "true")
    envelope = Envelope(tid, bid, method, timestamp, gateway, need_reply, data)
    if tid and len(tid) <= MAX_ID_LENGTH and len(bid) <= MAX_ID_LENGTH and len(method) <= MAX_ID_LENGTH:
        return envelope
    return _tolerate_ids(envelope, channel)


def _tolerate_ids(envelope: Envelope, channel: Channel) -> Envelope:
    """Do without unusable ids in telemetry, which nobody answers; elsewhere refuse them."""
    too_long = [name for name in ("tid", "bid", "method") if len(getattr(envelope, name)) > MAX_ID_LENGTH]
    without = msgspec.structs.replace(envelope, **dict.fromkeys(too_long, ""))
    if channel in _WITHOUT_TID:
        return without
    if not envelope.tid:
        if channel is Channel.STATUS and says_offline(envelope.data):
            return without  # a last will was written long before it is sent: it often has no tid (decision 17)
        # The dock could not match an answer: none is sent, but all that was read is kept (decision 21).
        raise RefusedMessageError("tid_missing", "absent, empty, or neither text nor a whole number", without)
    answerable = msgspec.structs.replace(without, data={}) if without.tid else None
    raise RefusedMessageError(f"{too_long[0]}_too_long", f"at most {MAX_ID_LENGTH} characters", answerable)


def _id(value: object) -> str:
    """Take text, and whole numbers as text; anything else could not be copied into an answer."""
    if type(value) is str:
        return value
    return str(value) if type(value) is int else ""


def _has_not_a_number(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, msgspec.Struct):
        return _has_not_a_number(msgspec.structs.astuple(value))
    if isinstance(value, Mapping):
        return any(map(_has_not_a_number, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_not_a_number, value))
