"""Reading journal rows for people: their JSON, and the codes in it in words."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from mqtt_bridge.protocol.result_codes import known

CODE_KEYS = ("result", "err_code")
MAX_CODES = 50  # as many as a message has devices


class CodeInWords(NamedTuple):
    """One result code of a message: whose (a serial number, or ""), the number, what it means."""

    sn: str
    code: int
    words: str


def parse(text: str) -> Any:
    """The JSON of a journal row; None for what is no JSON, as a payload that was cut off."""
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return None


def shown(text: str) -> Any:
    """The JSON of a journal row; other text as it is."""
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return text


def pretty(text: str) -> str:
    """The JSON of a journal row, indented; other text as it is."""
    try:
        return indented(_read(text))
    except (ValueError, RecursionError):
        return text


def indented(data: Any) -> str:
    """JSON for people."""
    return json.dumps(data, indent=2, ensure_ascii=False)


def codes(text: str) -> list[CodeInWords]:
    """Every result code in a message, in the order of the message."""
    found = []
    for sn, code in _find(parse(text)):
        found.append(CodeInWords(sn, code, in_words(code)))
        if len(found) == MAX_CODES:
            break
    return found


def in_words(code: int) -> str:
    """What a code means, to stand beside its number."""
    return known(code) or "not documented by DJI"


def _read(text: str) -> Any:
    """The JSON in a text; ValueError for what could not be sent on: NaN, what is beyond every number, half characters.

    Docks may say such things, and Python reads them.
    """
    data = json.loads(text)
    json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    return data


def _find(data: Any) -> Iterator[tuple[str, int]]:
    if isinstance(data, dict):
        for key, value in data.items():
            if key in CODE_KEYS and isinstance(value, int) and not isinstance(value, bool):
                yield str(data.get("sn", "")), value
            else:
                yield from _find(value)
    elif isinstance(data, list):
        for item in data:
            yield from _find(item)
