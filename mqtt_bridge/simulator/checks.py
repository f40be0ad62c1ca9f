"""What a strict dock finds wrong in the server's messages."""

# Written from docs/protocol.md without the server's own protocol package, so that one mistake is not made twice.

import json
import re
from collections.abc import Callable
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


def parse(payload: bytes) -> tuple[Json | None, list[str]]:
    """Read a payload as strict JSON; returns the object (None if it is none) and the complaints."""
    doubled: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> Json:
        found = dict(items)
        if len(found) < len(items):
            doubled.append("A key occurs twice in one object.")
        return found

    def constant(name: str) -> Any:
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
    result = data.get("result")
    if not _is_int(result) and not (question.method == "config" and "result" not in data):
        return [*found, "result is not an integer."]
    if "output" in data and not isinstance(data["output"], dict):
        return [*found, "output is not an object."]
    if not result and question.method in CONTENT:
        found += CONTENT[question.method](question.data, data)
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
    found = envelope_complaints(sn, message)
    found += [f"{key} is not a text." for key in ("tid", "bid", "method") if not _is_text(message.get(key))]
    if not isinstance(message.get("data"), dict):
        return [*found, "data is not an object."]
    return found + instruction_complaints(message.get("method"), message["data"])


def instruction_complaints(method: Any, data: Json) -> list[str]:
    """What is wrong with the `data` of a command; [] also for a method that we do not know.

    Never says what a value is: it may be a password.
    """
    return INSTRUCTIONS[method](data) if isinstance(method, str) and method in INSTRUCTIONS else []


def property_complaints(sn: str, message: Json) -> list[str]:
    """What is wrong with a `property/set`, which has no method and sets one property."""
    found = envelope_complaints(sn, message)
    found += [f"{key} is not a text." for key in ("tid", "bid") if not _is_text(message.get(key))]
    if "method" in message:
        found.append("property/set has a method.")
    data = message.get("data")
    if not isinstance(data, dict) or len(data) != 1:
        found.append("data does not hold exactly one property.")
    return found


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _entries(data: Json, name: str) -> list[Json] | None:
    listed = data.get("output", {}).get(name)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        return None
    return listed


def _asked_sns(asked: Any, name: str) -> list[str]:
    return [entry.get("sn", "") for entry in asked[name]]


def _config(_asked: Any, data: Json) -> list[str]:
    texts = ("app_id", "app_key", "app_license", "ntp_server_host")
    found = [f"{key} is not a text." for key in texts if not _is_text(data.get(key))]
    if not _is_int(data.get("ntp_server_port", 123)):
        found.append("ntp_server_port is not an integer.")
    return found


def _bind_status(asked: Any, data: Json) -> list[str]:
    entries = _entries(data, "bind_status")
    if entries is None:
        return ["output.bind_status is not a list of objects."]
    found = []
    if [entry.get("sn") for entry in entries] != _asked_sns(asked, "devices"):
        found.append("bind_status does not hold one entry for each device asked, in order.")
    for entry in entries:
        if not isinstance(entry.get("is_device_bind_organization"), bool):
            found.append("is_device_bind_organization is not a boolean.")
        texts = ("organization_id", "organization_name", "device_callsign")
        found += [f"{key} is not a text." for key in texts if not isinstance(entry.get(key), str)]
    return found


def _organization_get(_asked: Any, data: Json) -> list[str]:
    if _is_text(data.get("output", {}).get("organization_name")):
        return []
    return ["output.organization_name is not a text."]


def _organization_bind(asked: Any, data: Json) -> list[str]:
    entries = _entries(data, "err_infos")
    if entries is None:
        return ["output.err_infos is not a list of objects."]
    found = []
    if [entry.get("sn") for entry in entries] != _asked_sns(asked, "bind_devices"):
        found.append("err_infos does not hold one entry for each device, in order.")
    if not all(_is_int(entry.get("err_code")) for entry in entries):
        found.append("err_code is not an integer.")
    return found


CONTENT: dict[str, Callable[[Any, Json], list[str]]] = {
    "config": _config,
    "airport_bind_status": _bind_status,
    "airport_organization_get": _organization_get,
    "airport_organization_bind": _organization_bind,
}


def _unknown(data: Json, *known: str) -> list[str]:
    strange = sorted(set(data) - set(known))
    return [f"Unknown keys in data: {', '.join(strange)}."] if strange else []


def _license_list(data: Json) -> list[str]:
    found = _unknown(data, "device_model_domain")
    domain = data.get("device_model_domain")
    if not _is_int(domain) or domain not in (0, 3):
        found.append("device_model_domain is neither 0 nor 3.")
    return found


def _license_switch(data: Json) -> list[str]:
    found = _unknown(data, "license_id", "enable")
    if not _is_int(data.get("license_id")):
        found.append("license_id is not an integer.")
    if not isinstance(data.get("enable"), bool):
        found.append("enable is not a boolean.")
    return found


def _license_update(data: Json) -> list[str]:
    found = _unknown(data, "file")
    if "file" not in data:
        return found
    file = data["file"]
    if file is None:
        return [*found, "file is null instead of left out."]
    if not isinstance(file, dict):
        return [*found, "file is not an object."]
    found += _unknown(file, "url", "fingerprint")
    url, fingerprint = file.get("url"), file.get("fingerprint")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        found.append("url is not an HTTP address.")
    if not isinstance(fingerprint, str) or not MD5.fullmatch(fingerprint):
        found.append("fingerprint is not an MD5 in lower-case hex.")
    return found


def _login(data: Json) -> list[str]:
    found = _unknown(data, "username", "password", "verification_code")
    found += [f"{key} is not a text." for key in ("username", "password") if not _is_text(data.get(key))]
    if not isinstance(data.get("verification_code"), str):  # "" the first time (docs/protocol.md, decision 23)
        found.append("verification_code is not a text.")
    return found


INSTRUCTIONS: dict[str, Callable[[Json], list[str]]] = {
    "unlock_license_list": _license_list,
    "unlock_license_switch": _license_switch,
    "unlock_license_update": _license_update,
    "login_dji_account": _login,
    "logout_dji_account": _unknown,
}
