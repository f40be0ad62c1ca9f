"""The envelope around every message: bytes to Envelope and back.

Tolerances follow what real docks and DJI's own examples do: a key spelled "timestamp:", a missing method,
trailing commas, numbers as text. Limits exist because a payload is written by a stranger.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from mqtt_bridge.protocol.conversion import Shaped
from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.journal import redact
from mqtt_bridge.protocol.topics import Channel, is_sn
from mqtt_bridge.protocol.topology import says_offline

MAX_PAYLOAD: Final = 256 * 1024
MAX_SERVICES_REPLY: Final = 4 * 1024 * 1024  # a list of 10,000 licenses is 2.8 MB
MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000
MAX_SERVICES_REPLY_NODES: Final = 400_000  # a license is about 17 nodes
MAX_ID_LENGTH: Final = 128  # tid, bid and method, in characters


class Envelope(msgspec.Struct, frozen=True):
    """One message without its topic.

    `tid` is "" on osd and state, which nobody answers, and in a last will; anything else without one is refused, and
    is then the envelope of the error. `method` is "" where the channel has none (osd,
    state, property/set and its reply) and where it is missing and cannot be inferred. `timestamp` is the
    sender's clock in milliseconds since 1970, None if absent or unusable; it is not to be trusted.
    `gateway` is what the sender claims, "" if absent or no serial number. `data` is plain JSON, {} for null.
    `not_numbers` counts the values of an osd or state message that were left out because they are no numbers;
    `not_a_number` is the key of the first one, "" in a list.
    """

    tid: str
    bid: str
    method: str
    timestamp: int | None
    gateway: str
    need_reply: bool
    data: Any
    not_numbers: int = 0
    not_a_number: str = ""

    def __repr__(self) -> str:
        return f"Envelope({self.method!r}, tid={self.tid!r}, bid={self.bid!r}, data={redact(self.data)!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, redact(getattr(self, name))) for name in self.__struct_fields__]


class _Head(msgspec.Struct, frozen=True):
    """The fields that an answer needs; msgspec skips the rest without building it."""

    tid: Any = None
    bid: Any = None
    method: Any = None
    timestamp: Any = None
    gateway: Any = None
    need_reply: Any = None


_JSON = msgspec.json.Decoder()
_HEAD = msgspec.json.Decoder(_Head)
_ENCODER = msgspec.json.Encoder()

# A string that is not closed runs to the end: with the closing quote required, a payload of \" pairs would
# cost quadratic time.
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
# Kept: strings, and commas that follow no value, so that "[,]" and "[1,,]" stay the errors that they are.
_TRAILING_COMMAS = re.compile(
    rb"(" + _STRING + rb"|[\[{,][ \t\r\n]*+,)|,([ \t\r\n]*+[}\]])",
    re.DOTALL,
)
# An even number of backslashes before it: "\\u0000" is six ordinary characters.
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")
_ESCAPED_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*+\\u[dD][89a-fA-F]")
_NOT_A_NUMBER = re.compile(rb"NaN|Infinity")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SPACE: Final = rb"[ \t\r\n]*+"
# What C and C++ libraries print for what is no number, in any case, and every number, for it may be too large.
_NUMBER: Final = (
    rb"(?:[+-]?+(?:nan(?:\([0-9a-z_]*+\))?+|inf(?:inity)?+|[0-9]++\.#[a-z]++[0-9]*+)"
    rb"|-?+[0-9]++(?:\.[0-9]++)?+(?:e[+-]?+[0-9]++)?+)(?=" + _SPACE + rb"[,}\]])"
)
# A value with its key, or a value in a list; strings are matched so that nothing inside them is.
_NUMBERS = re.compile(
    rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE + rb"(" + _NUMBER + rb")" + _SPACE + rb",?"
    rb"|" + _STRING + rb"|(?<![0-9a-z_.+-])(" + _NUMBER + rb")",
    re.DOTALL | re.IGNORECASE,
)

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_AS_PARENTHESES: Final = bytes.maketrans(b"[]{}", b"()()")

_WITHOUT_METHOD: Final = frozenset(
    (Channel.OSD, Channel.STATE, Channel.PROPERTY_SET, Channel.PROPERTY_SET_REPLY),
)
_WITHOUT_TID: Final = frozenset((Channel.OSD, Channel.STATE))
_TRUE: Final = frozenset(("1", "true"))


def decode(payload: bytes, *, channel: Channel) -> Envelope:
    """Read one payload; RemoteProtocolError and no other exception, whatever the bytes are.

    A byte order mark before the JSON is skipped. A value of osd and state that is no number does not spoil the rest:
    its field is left out, in a list it is null.
    """
    _refuse_size(payload, channel)
    payload = payload.removeprefix(_BYTE_ORDER_MARK)
    left_out: list[bytes] = []
    try:
        _refuse_structure(payload, channel)
        message = _parse(payload, left_out if channel in _WITHOUT_TID else None)
        _refuse_nul(payload)
    except RemoteProtocolError as error:
        error.envelope = _salvage(payload, channel)
        raise
    envelope = _read(message, channel)
    if left_out:
        return msgspec.structs.replace(envelope, not_numbers=len(left_out), not_a_number=_key(left_out[0]))
    return envelope


def encode(
    *,
    tid: str,
    bid: str,
    method: str | None,
    timestamp: int,
    gateway: str | None,
    data: msgspec.Struct | Mapping[str, Any],
    need_reply: bool | None = None,
) -> bytes:
    """Write one payload as compact JSON; `timestamp` in milliseconds since 1970.

    `method`, `gateway` and `need_reply` are left out if empty or None. LocalProtocolError for what our own
    decoder would refuse in an answer.
    """
    _refuse_ids(tid, bid, method or "")
    message: dict[str, Any] = {"tid": tid, "bid": bid}
    if method:
        message["method"] = method
    message["timestamp"] = timestamp
    if gateway:
        message["gateway"] = gateway
    if need_reply is not None:
        message["need_reply"] = int(need_reply)
    message["data"] = data.wire() if isinstance(data, Shaped) else data
    try:
        payload = _ENCODER.encode(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"not JSON: {type(error).__name__}") from error
    if _ESCAPED_NUL.search(payload):
        raise LocalProtocolError("NUL character")
    # msgspec writes NaN as null: only a payload with a null can hide one.
    if b"null" in payload and _has_not_a_number(message):
        raise LocalProtocolError("not a number")
    return payload


def unix_milliseconds(value: object) -> int | None:
    """Normalise a timestamp in s, ms, microseconds or ns, as number or text, to milliseconds.

    A small number is taken for milliseconds: it is what a clock shows that nobody set since it was switched on.
    """
    number = _whole_number(value)
    if number is None or not 0 < number < 10**20:
        return None
    if number >= 10**17:
        return number // 10**6
    if number >= 10**14:
        return number // 10**3
    return number * 1000 if 10**8 <= number < 10**11 else number


def _whole_number(value: object) -> int | None:
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return int(value)
    if type(value) is str and len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return None


def _refuse_size(payload: bytes, channel: Channel) -> None:
    limit = MAX_SERVICES_REPLY if channel is Channel.SERVICES_REPLY else MAX_PAYLOAD
    if len(payload) > limit:
        raise RemoteProtocolError("too_large", f"{len(payload)} bytes, at most {limit}")


def _refuse_structure(payload: bytes, channel: Channel) -> None:
    """Refuse what nests too deeply or holds too many values, before anything is built from it.

    Counting bytes gives an upper bound at the speed of C; only a payload above it is looked at closely.
    """
    max_nodes = MAX_SERVICES_REPLY_NODES if channel is Channel.SERVICES_REPLY else MAX_NODES
    if payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH and len(payload) <= max_nodes:
        return
    outside = _outside_strings(payload)
    brackets = outside.translate(_AS_PARENTHESES, delete=_NOT_BRACKETS)
    nodes = outside.count(b",") + brackets.count(b"(") + 1
    if nodes > max_nodes:
        raise RemoteProtocolError("too_many_nodes", f"about {nodes} values, at most {max_nodes}")
    levels = 0
    while b"()" in brackets and levels <= MAX_DEPTH:  # what does not balance is left to the parser
        brackets = brackets.replace(b"()", b"")
        levels += 1
    if levels > MAX_DEPTH:
        raise RemoteProtocolError("too_deep", f"more than {MAX_DEPTH} levels")


def _outside_strings(payload: bytes) -> bytes:
    """Drop the strings; without a backslash every quotation mark opens or closes one."""
    if b"\\" in payload:
        return _STRINGS.sub(b"", payload)
    return b"".join(payload.split(b'"')[::2])


def _refuse_nul(payload: bytes) -> None:
    if b"\\u0000" in payload and _ESCAPED_NUL.search(payload):
        raise RemoteProtocolError("nul_character", "PostgreSQL stores none")


def _parse(payload: bytes, left_out: list[bytes] | None) -> dict[str, Any]:
    """Parse strictly, then once more without trailing commas and, given a list to note their keys, not-a-numbers."""
    try:
        message = _JSON.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as strict:
        numbers = payload if left_out is None else _leave_out_not_numbers(payload, left_out)
        try:
            message = _JSON.decode(_TRAILING_COMMAS.sub(rb"\1\2", numbers))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _explain(payload, strict) from None
    if type(message) is not dict:
        raise RemoteProtocolError("not_an_object", f"the envelope is of type {type(message).__name__}")
    return cast("dict[str, Any]", message)


def _leave_out_not_numbers(payload: bytes, left_out: list[bytes]) -> bytes:
    """Drop the fields, and null the list elements, that are no numbers; their keys (b"" in a list) go to `left_out`."""

    def replace(match: re.Match[bytes]) -> bytes:
        key, value, element = match.groups()
        number = value or element
        if number is None or _is_finite(number):
            return match[0]
        left_out.append(key or b"")
        return b"null" if element else b""

    return _NUMBERS.sub(replace, payload)


def _is_finite(number: bytes) -> bool:
    try:
        return math.isfinite(float(number))
    except ValueError:  # -nan(ind), 1.#QNAN
        return False


def _key(literal: bytes) -> str:
    """The text of a key, cut for people; "" for what is no text, for nobody has parsed it yet."""
    try:
        return str(_JSON.decode(literal))[:64] if literal else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _explain(payload: bytes, error: Exception) -> RemoteProtocolError:
    """Find the most helpful reason why this is not JSON."""
    outside = _outside_strings(payload)
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("empty", lambda: not payload.strip()),
        ("nul_character", lambda: b"\0" in payload),
        ("byte_order_mark", lambda: payload.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))),
        ("not_utf8", lambda: not _is_utf8(payload)),
        ("not_a_number", lambda: _NOT_A_NUMBER.search(outside) is not None),
        ("too_deep", lambda: isinstance(error, RecursionError)),
        ("number_out_of_range", lambda: isinstance(error, msgspec.ValidationError)),
        ("lone_surrogate", lambda: _ESCAPED_SURROGATE.search(payload) is not None),
    )
    reason = next((reason for reason, holds in checks if holds()), "not_json")
    return RemoteProtocolError(reason, f"{len(payload)} bytes")


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _salvage(payload: bytes, channel: Channel) -> Envelope | None:
    """Read the head of a refused message, so that it can be answered; None if that is not possible."""
    try:
        head = _HEAD.decode(payload)
        envelope = _read(msgspec.structs.asdict(head), channel)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RemoteProtocolError):
        return None
    clean = "\0" not in envelope.tid + envelope.bid + envelope.method
    return envelope if clean and envelope.tid else None


def _read(message: dict[str, Any], channel: Channel) -> Envelope:
    get = message.get
    tid = _id(get("tid"))
    bid = _id(get("bid"))
    data = get("data")
    if data is None:
        # What is no envelope of DJI's has all it says at the top; without a tid nobody will be answered.
        data = {} if tid or "data" in message or channel in _WITHOUT_TID else message
    method = "" if channel in _WITHOUT_METHOD else _method(get("method"), data, channel)
    timestamp = unix_milliseconds(get("timestamp"))
    if timestamp is None:
        timestamp = unix_milliseconds(get("timestamp:"))
    gateway = get("gateway")
    if type(gateway) is not str or not is_sn(gateway):
        gateway = ""
    need_reply = _is_true(get("need_reply"))
    if len(tid) > MAX_ID_LENGTH or len(bid) > MAX_ID_LENGTH or len(method) > MAX_ID_LENGTH or not tid:
        return _tolerate_ids(Envelope(tid, bid, method, timestamp, gateway, need_reply, data), channel)
    return Envelope(tid, bid, method, timestamp, gateway, need_reply, data)


def _tolerate_ids(envelope: Envelope, channel: Channel) -> Envelope:
    """Do without unusable ids in telemetry, which nobody answers; elsewhere refuse them."""
    too_long = [name for name in ("tid", "bid", "method") if len(getattr(envelope, name)) > MAX_ID_LENGTH]
    without = msgspec.structs.replace(envelope, **dict.fromkeys(too_long, ""))
    if channel in _WITHOUT_TID:
        return without
    if not envelope.tid:
        if channel is Channel.STATUS and says_offline(envelope.data):
            return without  # a last will was written long before it is sent: it often has no tid
        raise RemoteProtocolError("tid_missing", "absent, empty, or neither text nor a whole number", without)
    answerable = msgspec.structs.replace(without, data={}) if without.tid else None
    raise RemoteProtocolError(f"{too_long[0]}_too_long", f"at most {MAX_ID_LENGTH} characters", answerable)


def _id(value: object) -> str:
    """Take text, and whole numbers as text; anything else could not be copied into an answer."""
    if type(value) is str:
        return value
    return str(value) if type(value) is int else ""


def _is_true(value: object) -> bool:
    if type(value) is str:
        return value.lower() in _TRUE
    return type(value) in (bool, int) and value == 1


def _method(value: object, data: object, channel: Channel) -> str:
    """Take the method as sent, else infer it: DJI's English pages leave it out of their examples."""
    if type(value) is str and value:
        return value
    if not isinstance(data, dict):
        return ""
    if channel is Channel.REQUESTS:
        return next((method for key, method in _REQUEST_SIGNS if key in data), "")
    if channel is Channel.STATUS and ("sub_devices" in data or "type" in data or says_offline(data)):
        return "update_topo"
    return ""


_REQUEST_SIGNS: Final = (
    ("devices", "airport_bind_status"),
    ("bind_devices", "airport_organization_bind"),
    ("device_binding_code", "airport_organization_get"),
    ("config_type", "config"),
    ("config_scope", "config"),
)


def _refuse_ids(tid: str, bid: str, method: str) -> None:
    if not tid:
        raise LocalProtocolError("a message needs a tid")
    if max(len(tid), len(bid), len(method)) > MAX_ID_LENGTH:
        raise LocalProtocolError(f"tid, bid and method have at most {MAX_ID_LENGTH} characters")


def _has_not_a_number(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, msgspec.Struct):
        return _has_not_a_number(msgspec.structs.astuple(value))
    if isinstance(value, Mapping):
        return any(map(_has_not_a_number, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_not_a_number, value))
