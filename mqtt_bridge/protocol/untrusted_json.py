"""From bytes that a stranger wrote to one JSON object: limits first, then a strict parse, then a lenient one."""

import contextlib
import math
import re
from collections.abc import Callable
from typing import Final

import msgspec

from mqtt_bridge.protocol.errors import RemoteProtocolError

MAX_DEPTH: Final = 32  # levels of nesting; the deepest documented message, a polygon license, has 7

_JSON: Final[msgspec.json.Decoder[object]] = msgspec.json.Decoder()
# RecursionError: brackets that do not balance get past the limit of levels; msgspec stops at about 1,000.
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# A string that is not closed runs to the end: with the closing quote required, a payload of \" pairs would
# cost quadratic time. For the same reason every repetition here is possessive (`++`, `*+`): it never backtracks.
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
# DJI's examples of the login and logout events have trailing commas. Kept: strings, and commas that follow no
# value, so that "[,]" and "[1,,]" stay the errors that they are.
_TRAILING_COMMAS = re.compile(
    rb"(" + _STRING + rb"|[\[{,][ \t\r\n]*+,)|,([ \t\r\n]*+[}\]])",
    re.DOTALL,
)
# An even number of backslashes before it: "\\u0000" is six ordinary characters.
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")
_ESCAPED_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*+\\u[dD][89a-fA-F]")
_NOT_A_NUMBER = re.compile(rb"NaN|Infinity")
_SPACE: Final = rb"[ \t\r\n]*+"
# What C and C++ libraries print for what is not a number, in any case, and every number, for it may be too large.
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

# Why bytes are not JSON: the most helpful reason, the first that holds.
_REASONS: Final[tuple[tuple[str, Callable[[bytes, Exception], bool]], ...]] = (
    ("empty", lambda payload, _: not payload.strip()),
    ("nul_character", lambda payload, _: b"\0" in payload),
    ("byte_order_mark", lambda payload, _: payload.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))),
    ("not_utf8", lambda payload, _: payload.decode(errors="ignore").encode() != payload),
    ("not_a_number", lambda payload, _: _NOT_A_NUMBER.search(_outside_strings(payload)) is not None),
    ("too_deep", lambda _, error: isinstance(error, RecursionError)),
    ("number_out_of_range", lambda _, error: isinstance(error, msgspec.ValidationError)),
    ("lone_surrogate", lambda payload, _: _ESCAPED_SURROGATE.search(payload) is not None),
    ("not_json", lambda *_: True),
)


class Skipped(list[bytes]):
    """The keys, as JSON, of the values that were skipped because they are not finite numbers; b"" in a list."""

    @property
    def first_key(self) -> str:
        """At most 64 characters; "" in a list, and for what is not JSON: the parser has not seen it yet."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return str(_JSON.decode(self[0]))[:64]
        return ""

    def replace(self, match: re.Match[bytes]) -> bytes:
        """Return what stands in place of a value: itself, if it is a string or a finite number."""
        key, value, element = match.groups()
        number = value or element
        if number is None:
            return match[0]
        try:
            is_finite = math.isfinite(float(number))
        except ValueError:  # -nan(ind) and 1.#QNAN
            is_finite = False
        if is_finite:
            return match[0]
        self.append(key or b"")
        # null keeps the others of a list in place; a field with null would overwrite its last value in the merged state
        return b"null" if element else b""


def parse(payload: bytes, *, max_nodes: int, skip_not_numbers: bool) -> tuple[dict[str, object], Skipped]:
    """Return the object, and what was skipped.

    Trailing commas are forgiven. With `skip_not_numbers` so are values like NaN and 1e400: their field is left out, a
    list element is null. Raises RemoteProtocolError and no other exception, whatever the bytes are.
    """
    _refuse_structure(payload, max_nodes)
    skipped = Skipped()
    try:
        message = _JSON.decode(payload)
    except _NOT_JSON as strict:
        lenient = _NUMBERS.sub(skipped.replace, payload) if skip_not_numbers else payload
        try:
            message = _JSON.decode(_TRAILING_COMMAS.sub(rb"\1\2", lenient))
        except _NOT_JSON:
            reason = next(reason for reason, holds in _REASONS if holds(payload, strict))
            raise RemoteProtocolError(reason, f"{len(payload)} bytes") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError("not_an_object", f"the envelope is of type {type(message).__name__}")
    if has_nul(payload):
        raise RemoteProtocolError("nul_character", "PostgreSQL stores none")
    return message, skipped


def has_nul(payload: bytes) -> bool:
    """Say whether JSON has an escaped NUL character in it; one that is not escaped is not JSON."""
    return b"\\u0000" in payload and _ESCAPED_NUL.search(payload) is not None


def _refuse_structure(payload: bytes, max_nodes: int) -> None:
    """Refuse what nests too deeply or holds too many values, before anything is built from it.

    Counting bytes gives an upper bound at the speed of C; only a payload above it is looked at closely.
    """
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
