"""Docks that get it wrong: each entry is one deviation seen in DJI's documents or in the field."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mqtt_bridge.simulator.checks import Json

FOREIGN_SN = "FOREIGNDOCK1"
WRONG_CODE = "WRONGCODE2345"


def encode(message: Json) -> bytes:
    """A message as an orderly dock writes it."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def encode_with_trailing_commas(message: Json) -> bytes:
    """Each object and array gets a comma too many, as in the examples of tests/samples/000*."""
    if not message:
        return b"{}"
    text = json.dumps(message, indent=1)
    # Indented JSON has its closing brackets on lines of their own: no text value is touched.
    return re.sub(r"([^\s\[{,])\n(?=\s*[}\]])", r"\1,\n", text).encode()


@dataclass(frozen=True)
class Misbehaviour:
    """One way to deviate: what happens to a message, to its bytes, how often it goes out."""

    about: str
    change: Callable[[Json], Json] = lambda message: message
    encode: Callable[[Json], bytes] = encode
    copies: int = 1
    silent: bool = False


def _without(key: str) -> Callable[[Json], Json]:
    return lambda message: {name: value for name, value in message.items() if name != key}


def _bind_entries(change: Callable[[list[Json]], list[Json]]) -> Callable[[Json], Json]:
    def apply(message: Json) -> Json:
        if message.get("method") != "airport_organization_bind":
            return message
        entries = change(message["data"]["bind_devices"])
        return {**message, "data": {**message["data"], "bind_devices": entries}}

    return apply


def _set_in_entries(key: str, value: str) -> Callable[[Json], Json]:
    return _bind_entries(lambda entries: [{**entry, key: value} for entry in entries])


MISBEHAVIOURS: dict[str, Misbehaviour] = {
    "wrong-code": Misbehaviour(
        "a binding code that nobody issued",
        lambda message: (
            {**message, "data": {**message["data"], "device_binding_code": WRONG_CODE}}
            if message.get("method") == "airport_organization_get"
            else _set_in_entries("device_binding_code", WRONG_CODE)(message)
        ),
    ),
    "duplicate": Misbehaviour("every message goes out twice, with the same tid", copies=2),
    "silence": Misbehaviour("connects, then sends nothing", silent=True),
    "trailing-commas": Misbehaviour("JSON with commas too many", encode=encode_with_trailing_commas),
    "colon-timestamp": Misbehaviour(
        'the key "timestamp:" of tests/samples/003*',
        lambda message: {"timestamp:" if name == "timestamp" else name: value for name, value in message.items()},
    ),
    "string-timestamp": Misbehaviour(
        "the timestamp as a text", lambda message: {**message, "timestamp": str(message["timestamp"])}
    ),
    "no-method": Misbehaviour("no method, as in the examples of tests/samples/002*", _without("method")),
    "odd-model-key": Misbehaviour("an unknown product", _set_in_entries("device_model_key", "3-9999-7")),
    "bad-model-key": Misbehaviour("a text that is no model key", _set_in_entries("device_model_key", "dock")),
    "no-bid": Misbehaviour("no bid", _without("bid")),
    "wrong-gateway": Misbehaviour(
        "the SN of another dock as gateway", lambda message: {**message, "gateway": FOREIGN_SN}
    ),
    "foreign-sn": Misbehaviour(
        "another dock in the bind list",
        _bind_entries(lambda entries: [*entries, {**entries[0], "sn": FOREIGN_SN}]),
    ),
    "missing-sn": Misbehaviour(
        "a bind entry without SN", _bind_entries(lambda entries: [*entries[:-1], _without("sn")(entries[-1])])
    ),
}


class Manners:
    """The misbehaviours of one dock put together; without any, good manners.

    Raises ValueError for a name that is not in MISBEHAVIOURS.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        # What looks at the method goes before what removes it.
        ordered = sorted(names, key=lambda name: name == "no-method")
        for name in ordered:
            if name not in MISBEHAVIOURS:
                raise ValueError(f"Unknown misbehaviour {name!r}: expected one of {', '.join(MISBEHAVIOURS)}.")
        chosen = self._chosen = [MISBEHAVIOURS[name] for name in ordered]
        self.silent = any(one.silent for one in chosen)
        self.copies = max((one.copies for one in chosen), default=1)
        self.encode = next((one.encode for one in chosen if one.encode is not encode), encode)

    def change(self, message: Json) -> Json:
        """The message as this dock sends it."""
        for one in self._chosen:
            message = one.change(message)
        return message
