"""What a service call may become: one table, and what each word about it means. Nothing here touches a database.

The states and the rules for replies, progress, duplicates and late answers follow DJI's job messages; a call whose
end nobody told is `timed_out`, which means that its outcome is unknown, so that alone may be corrected later.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, NamedTuple, TypedDict

import msgspec
from django.conf import settings

from devices.calls import methods
from devices.models import ServiceCall, ServiceCallEvent
from mqtt_bridge.protocol import result_codes
from mqtt_bridge.protocol.journal import redact

Status = ServiceCall.Status
Source = ServiceCallEvent.Source

# From a state to those it may become. What a dock says of a call that went back to the queue is true all the same.
_ENDS: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.REJECTED, Status.CANCELED})
_RUNNING: Final = frozenset({Status.IN_PROGRESS, Status.PAUSED})
MAY: Final[Mapping[str, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.SENT, Status.EXPIRED, Status.ACCEPTED}) | _RUNNING | _ENDS,
    Status.SENT: frozenset({Status.QUEUED, Status.EXPIRED, Status.ACCEPTED, Status.TIMED_OUT}) | _RUNNING | _ENDS,
    Status.ACCEPTED: frozenset({Status.TIMED_OUT}) | _RUNNING | _ENDS,
    Status.IN_PROGRESS: frozenset({Status.PAUSED, Status.TIMED_OUT}) | _ENDS,
    Status.PAUSED: frozenset({Status.IN_PROGRESS, Status.TIMED_OUT}) | _ENDS,
    Status.TIMED_OUT: _ENDS,  # the truth, late
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}

# DJI's words for the state of a job. A dock that gave up waiting for its own parts has failed: it told us so.
_DJI: Final[Mapping[str, Status]] = {
    "sent": Status.ACCEPTED,
    "in_progress": Status.IN_PROGRESS,
    "paused": Status.PAUSED,
    "ok": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "rejected": Status.REJECTED,
    "canceled": Status.CANCELED,
    "timeout": Status.FAILED,
}
_SAID_BY_DOCK: Final = (Source.REPLY, Source.EVENT)

# What a dock may tell of one call before nothing but its end is heard: each step is a row and a frame to browsers.
MOST_VERSIONS: Final = 500
LONGEST: Final = timedelta(hours=1)  # from sending on, however much the dock has to say
LONGEST_MESSAGE: Final = 500  # characters of a message with an unknown code; the journal has all of it


class Word(NamedTuple):
    """What somebody says about a call."""

    source: Source
    status: Status
    percent: int | None = None
    result_code: int | None = None
    text: str = ""
    output: Mapping[str, Any] = {}


class Heard(Enum):
    """What a word changed: nothing, only how long we wait, or the call."""

    NOTHING = auto()
    PATIENCE = auto()
    CHANGE = auto()


def silence(method: str) -> timedelta:
    """How long a dock may say nothing about a call of this method."""
    seconds: Mapping[str, float] = settings.SERVICE_SILENCE
    return timedelta(seconds=seconds.get(method, seconds[""]))


def hear(call: ServiceCall, word: Word, *, now: datetime) -> Heard:
    """Let a word change a call, which is not saved; duplicates and what the call has outgrown change nothing."""
    if word.source in _SAID_BY_DOCK and call.version >= MOST_VERSIONS and word.status not in _ENDS:
        return Heard.NOTHING
    before = _seen(call)
    late = call.status == Status.TIMED_OUT
    if word.status in MAY[call.status] and not (late and word.source not in _SAID_BY_DOCK):
        _become(call, word, now=now, late=late)
    elif not call.is_open:
        return Heard.NOTHING
    if word.source in _SAID_BY_DOCK:
        call.replied = call.replied or now
        call.percent = _furthest(call.percent, word.percent)
        call.output = {**call.output, **word.output}
    if call.is_open and call.status != Status.QUEUED:
        call.deadline = min(now + silence(call.method), (call.sent or now) + LONGEST)
    if _seen(call) == before:
        return Heard.PATIENCE
    call.version += 1
    call.updated = max(now, call.updated)  # whoever waited for the lock has an older `now`
    return Heard.CHANGE


def _become(call: ServiceCall, word: Word, *, now: datetime, late: bool) -> None:
    call.status = word.status
    call.result_text = word.text
    call.late = late
    if word.result_code is not None:
        call.result_code = word.result_code
    if word.status == Status.SENT:
        call.sent = now
    elif word.status in (Status.QUEUED, Status.EXPIRED):  # it never reached the dock
        call.sent = call.deadline = None
    if not call.is_open:
        call.closed = now


def _seen(call: ServiceCall) -> tuple[Any, ...]:
    """What people see of a call, and so what makes a new version."""
    return call.status, call.percent, call.result_code, call.result_text, call.output, call.late, call.replied is None


def _furthest(known: int | None, told: int | None) -> int | None:
    """Progress in per cent never goes back."""
    if told is None:
        return known
    return max(min(max(told, 0), 100), known or 0)


# --- what a dock says ----------------------------------------------------------------------------


def reply_word(method: methods.Method, data: Any) -> Word:
    """What a reply means: without events to follow its result is the end."""
    accepted = Status.ACCEPTED if method.event else Status.SUCCEEDED
    return _word(Source.REPLY, method, data, default=accepted)


def event_word(method: methods.Method, data: Any) -> Word:
    """What a progress event means."""
    return _word(Source.EVENT, method, data, default=Status.ACCEPTED)


def unreadable_word(source: Source, reason: str) -> Word:
    """A dock answered, and nobody can read what."""
    return Word(source, Status.FAILED, text=f"The dock's answer cannot be read ({reason}); what it did is unknown.")


def with_message(word: Word, message: Any) -> Word:
    """Keep the message, without secrets, with a code that no page explains: there is nothing else to go by."""
    if not word.result_code or result_codes.known(word.result_code):
        return word
    text = json.dumps(redact(message), ensure_ascii=False)
    return word._replace(text=text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…")


def _word(source: Source, method: methods.Method, data: msgspec.Struct, *, default: Status) -> Word:
    """The status decides; a result that is not 0 makes a failure of whatever is not one already."""
    code: int = data.result  # type: ignore[attr-defined]
    told: str = getattr(data, "status", "")
    status = _DJI.get(told, default)
    if code != 0 and status not in (Status.FAILED, Status.REJECTED, Status.CANCELED):
        status = Status.FAILED
    return Word(
        source,
        status,
        percent=getattr(data, "percent", None),
        result_code=code,
        text="The dock gave up waiting." if told == "timeout" and code == 0 else "",
        output=method.output(data),
    )


# --- in words ------------------------------------------------------------------------------------

_SENTENCES: Final[Mapping[str, str]] = {
    Status.QUEUED: "Waiting to be sent.",
    Status.SENT: "Sent; the dock has not answered yet.",
    Status.ACCEPTED: "The dock has accepted it.",
    Status.IN_PROGRESS: "The dock works on it",
    Status.PAUSED: "The dock has paused it",
    Status.SUCCEEDED: "Done.",
    Status.FAILED: "Failed",
    Status.REJECTED: "Refused by the dock",
    Status.CANCELED: "Canceled",
    Status.TIMED_OUT: "No answer in time: whether it was done is unknown.",
    Status.EXPIRED: "Not sent",
}


def describe(call: ServiceCall) -> str:
    """What is the matter with a call now, in one or two plain sentences."""
    sentence = _SENTENCES[call.status]
    if call.status == Status.QUEUED and call.queue:
        return "Waiting until the dock is online."
    if call.status in _RUNNING:
        return f"{sentence}: {call.percent} %." if call.percent is not None else f"{sentence}."
    if call.status == Status.SUCCEEDED:
        return f"{_LATE if call.late else ''}{_success(call)}"
    if call.status in (Status.FAILED, Status.REJECTED, Status.CANCELED, Status.EXPIRED):
        return f"{_LATE if call.late else ''}{sentence}{_reason(call)}"
    return sentence


_LATE: Final = "After we had stopped waiting: "


def _reason(call: ServiceCall) -> str:
    if call.result_code and not result_codes.known(call.result_code):
        message = f"; the dock's message: {call.result_text}" if call.result_text else "."
        return f" with {result_codes.describe(call.result_code)}{message}"
    if call.result_text:
        return f": {call.result_text}"
    if call.result_code:
        return f": {result_codes.describe(call.result_code)} ({call.result_code})."
    if call.output.get("verification_code_url"):
        return ": DJI wants a verification code."
    return "."


def _success(call: ServiceCall) -> str:
    if call.method != methods.LIST:
        return "Done."
    count = call.output.get("licenses")
    if count is None:
        return "Done, but the dock sent no list."
    return f"Done: {count} license{'' if count == 1 else 's'}."


# --- for programs --------------------------------------------------------------------------------

PROBLEM: Final = "urn:dock-cloud:problem:"
_PROBLEMS: Final = (Status.FAILED, Status.REJECTED, Status.EXPIRED, Status.TIMED_OUT)


class Problem(TypedDict):
    """Why a call did not do what it was for, as in problem details (RFC 9457), with DJI's code and its words."""

    type: str
    title: str
    detail: str
    dji_code: int | None
    dji_text: str


def problem(call: ServiceCall) -> Problem | None:
    """What went wrong; None for a call that is open, succeeded or was called off. DJI's text is "" if unknown."""
    if call.status not in _PROBLEMS:
        return None
    code = call.result_code or None  # 0 is DJI's "success", which a dock may send with a state that says otherwise
    return {
        "type": f"{PROBLEM}{call.status}",
        "title": call.status.replace("_", " ").capitalize(),
        "detail": describe(call),
        "dji_code": code,
        "dji_text": (result_codes.known(code) or "") if code else "",
    }
