"""What a strict dock finds wrong in the server's messages."""

# Written from docs/protocol.md without the server's own protocol package, so that one mistake is not made twice.

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]

# Milliseconds with 13 digits: from September 2001 to the year 2286.
FIRST_TIMESTAMP, LAST_TIMESTAMP = 10**12, 10**13 - 1
MD5 = re.compile("[0-9a-f]{32}")
ENVELOPE = {"tid", "bid", "timestamp", "gateway", "method", "data"}


class Question(NamedTuple):
    """What a dock asked, as far as the answer must fit it.

    `bid` is "" where the dock left it out (docs/protocol.md, decision 21).
    """

    sn: str
    method: str
    tid: str
    bid: str
    data: Any


class Rule(NamedTuple):
    """What one value must be, and the complaint if it is not."""

    is_kept: Callable[[object], bool]
    complaint: str


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


INTEGER = Rule(_is_int, "is not an integer.")
BOOLEAN = Rule(lambda value: isinstance(value, bool), "is not a boolean.")
TEXT = Rule(lambda value: isinstance(value, str) and value != "", "is not a text.")
STRING = Rule(lambda value: isinstance(value, str), "is not a text.")  # may be ""
DOMAIN = Rule(lambda value: _is_int(value) and value in (0, 3), "is neither 0 nor 3.")
URL = Rule(
    lambda value: isinstance(value, str) and value.startswith(("https://", "http://")), "is not an HTTP address."
)
FINGERPRINT = Rule(
    lambda value: isinstance(value, str) and bool(MD5.fullmatch(value)), "is not an MD5 in lower-case hex."
)

# Method of a command -> the rules of its data. Only an object, which has rules of its own, may be left out.
INSTRUCTIONS: dict[str, dict[str, Rule | dict[str, Rule]]] = {
    "unlock_license_list": {"device_model_domain": DOMAIN},
    "unlock_license_switch": {"license_id": INTEGER, "enable": BOOLEAN},
    "unlock_license_update": {"file": {"url": URL, "fingerprint": FINGERPRINT}},
    # The code is "" the first time (docs/protocol.md, decision 23).
    "login_dji_account": {"username": TEXT, "password": TEXT, "verification_code": STRING},
    "logout_dji_account": {},
}

CONFIG = {**dict.fromkeys(("app_id", "app_key", "app_license", "ntp_server_host"), TEXT), "ntp_server_port": INTEGER}
# Method of a request -> list in the answer's output, list in the question, rules of an entry of the answer.
LISTS: dict[str, tuple[str, str, dict[str, Rule]]] = {
    "airport_bind_status": (
        "bind_status",
        "devices",
        {
            "is_device_bind_organization": BOOLEAN,
            **dict.fromkeys(("organization_id", "organization_name", "device_callsign"), STRING),
        },
    ),
    "airport_organization_bind": ("err_infos", "bind_devices", {"err_code": INTEGER}),
}


def parse(payload: bytes) -> tuple[Json | None, list[str]]:
    """Read a payload as strict JSON; returns the object (None if it is not one) and the complaints."""
    doubled: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> Json:
        found = dict(items)
        if len(found) < len(items):
            doubled.append("A key occurs twice in one object.")
        return found

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        message = json.loads(payload.decode(), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        return None, [f"Not JSON: {error}."]
    if not isinstance(message, dict):
        return None, ["The message is not a JSON object."]
    return message, doubled


def is_answer(question: Question, reply: Json) -> bool:
    """Whether a strict dock takes the reply as the answer: tid, bid and method are those of the question.

    A missing method is only complained about: DJI's own server leaves it out of status_reply.
    """
    same_method = reply.get("method", question.method) == question.method
    return bool(reply.get("tid") == question.tid and reply.get("bid") == question.bid and same_method)


def reply_complaints(question: Question, reply: Json) -> list[str]:
    """All that is wrong with a reply, envelope and content; [] if nothing."""
    found = envelope_complaints(question.sn, reply)
    for key, wanted in (("tid", question.tid), ("bid", question.bid), ("method", question.method)):
        if key not in reply:
            found.append(f"{key} is missing.")
        elif reply[key] != wanted:
            found.append(f"{key} is {reply[key]!r} instead of {wanted!r}.")
    data = reply.get("data")
    if not isinstance(data, dict):
        return [*found, "data is not an object."]
    result, output = data.get("result"), data.get("output", {})
    if not _is_int(result) and not (question.method == "config" and "result" not in data):
        return [*found, "result is not an integer."]
    if not isinstance(output, dict):
        return [*found, "output is not an object."]
    return found if result else found + _content_complaints(question, data, output)


def _content_complaints(question: Question, data: Json, output: Json) -> list[str]:
    if question.method == "config":
        return _broken({"ntp_server_port": 123, **data}, CONFIG)
    if question.method == "airport_organization_get":
        return [f"output.{complaint}" for complaint in _broken(output, {"organization_name": TEXT})]
    if question.method not in LISTS:
        return []
    name, asked, rules = LISTS[question.method]
    entries = output.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return [f"output.{name} is not a list of objects."]
    found = [complaint for entry in entries for complaint in _broken(entry, rules)]
    if [entry.get("sn") for entry in entries] != [entry.get("sn", "") for entry in question.data[asked]]:
        found.insert(0, f"{name} does not hold one entry for each device asked, in order.")
    return found


def envelope_complaints(sn: str, message: Json) -> list[str]:
    """What is wrong with timestamp, gateway and the set of keys."""
    found = []
    timestamp = message.get("timestamp")
    if not _is_int(timestamp):
        found.append(f"timestamp is {timestamp!r}, not an integer.")
    elif not FIRST_TIMESTAMP <= message["timestamp"] <= LAST_TIMESTAMP:
        found.append(f"timestamp {timestamp} does not have 13 digits.")
    if message.get("gateway", sn) != sn:
        found.append(f"gateway is {message['gateway']!r} instead of {sn!r}.")
    strange = sorted(set(message) - ENVELOPE)
    if strange:
        found.append(f"Unknown keys: {', '.join(strange)}.")
    return found


def command_complaints(sn: str, message: Json) -> list[str]:
    """What is wrong with a command (`services`); [] if nothing."""
    found = envelope_complaints(sn, message) + _broken(message, {"tid": TEXT, "bid": TEXT, "method": TEXT})
    if not isinstance(message.get("data"), dict):
        return [*found, "data is not an object."]
    return found + instruction_complaints(message.get("method"), message["data"])


def instruction_complaints(method: object, data: Json) -> list[str]:
    """What is wrong with the `data` of a command; [] also for an unknown method.

    Never repeats a value: it may be a password.
    """
    return _misfits(data, INSTRUCTIONS[method]) if isinstance(method, str) and method in INSTRUCTIONS else []


def property_complaints(sn: str, message: Json) -> list[str]:
    """What is wrong with a `property/set`, which has no method and sets one property."""
    found = envelope_complaints(sn, message) + _broken(message, {"tid": TEXT, "bid": TEXT})
    if "method" in message:
        found.append("property/set has a method.")
    data = message.get("data")
    if not isinstance(data, dict) or len(data) != 1:
        found.append("data does not hold exactly one property.")
    return found


def _misfits(data: Json, rules: Mapping[str, Rule | dict[str, Rule]]) -> list[str]:
    strange = sorted(set(data) - set(rules))
    found = [f"Unknown keys in data: {', '.join(strange)}."] if strange else []
    for name, rule in rules.items():
        if isinstance(rule, Rule):
            found += _broken(data, {name: rule})
        elif isinstance(data.get(name), dict):
            found += _misfits(data[name], rule)
        elif name in data:
            found.append(f"{name} is {'null instead of left out' if data[name] is None else 'not an object'}.")
    return found


def _broken(data: Json, rules: Mapping[str, Rule]) -> list[str]:
    return [f"{name} {rule.complaint}" for name, rule in rules.items() if not rule.is_kept(data.get(name))]
