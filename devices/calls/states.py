"""What a service call may become: one table, and what each report about it means. Nothing here touches a database.

The states and the rules for replies, progress, duplicates and late answers follow DJI's job messages. A call whose
end was never reported is `timed_out`: its outcome is unknown, so a late answer may correct that, and nothing else.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec
from django.conf import settings
from django.utils.translation import gettext_noop

from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.models import ServiceCall, ServiceCallEvent
from mqtt_bridge.protocol import result_codes
from mqtt_bridge.protocol.redaction import redact

Status = ServiceCall.Status
Source = ServiceCallEvent.Source

# From a state to those it may become. What waits may have a new reason to. A dock may report on a call that went back
# to the queue: it had arrived.
_ENDS: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.REJECTED, Status.CANCELED})
_RUNNING: Final = frozenset({Status.IN_PROGRESS, Status.PAUSED})
MAY: Final[Mapping[str, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.QUEUED, Status.SENT, Status.EXPIRED, Status.ACCEPTED}) | _RUNNING | _ENDS,
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

# DJI's words for the state of a job. A dock that gave up waiting for its own parts reports a failure.
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

# So many changes of one call count, then only its end: each is a row and a frame to browsers.
MOST_VERSIONS: Final = 500
LONGEST: Final = timedelta(hours=1)  # from sending on, whatever the dock reports
UNREADABLE: Final = gettext_noop("The dock's answer cannot be read ({reason}); what it did is unknown.")
LONGEST_MESSAGE: Final = 500  # characters of a message with an unknown code; the journal has all of it


class Word(NamedTuple):
    """A report about a call: from a dock, a worker, a person or the clock."""

    source: Source
    status: Status
    percent: int | None = None
    result_code: int | None = None
    text: str = ""
    output: Mapping[str, object] = {}


CALLED_OFF: Final = Word(Source.PERSON, Status.CANCELED, text=gettext_noop("before it was sent."))


class Heard(Enum):
    """What a report changed: nothing, only how long we wait, or the call."""

    NOTHING = auto()
    PATIENCE = auto()
    CHANGE = auto()


def silence(method: str) -> timedelta:
    """How long a dock may say nothing about a call of this method: by settings, else its row, else the default."""
    seconds: Mapping[str, float] = settings.SERVICE_SILENCE
    usual = METHODS[method].silence if method in METHODS else None
    return timedelta(seconds=seconds.get(method, usual or seconds[""]))


def hear(call: ServiceCall, word: Word, *, now: datetime) -> Heard:
    """Let a report change a call, which is not saved; duplicates and what the call has outgrown change nothing."""
    by_dock = word.source in (Source.REPLY, Source.EVENT)
    if by_dock and call.version >= MOST_VERSIONS and word.status not in _ENDS:
        return Heard.NOTHING
    before = _seen(call)
    late = call.status == Status.TIMED_OUT
    if word.status in MAY[call.status] and (by_dock or not late):
        _become(call, word, now=now, late=late)
    elif not call.is_open:
        return Heard.NOTHING
    if by_dock:
        call.replied = call.replied or now
        call.output = {**call.output, **word.output}
        if word.percent is not None:  # progress never goes back
            call.percent = max(min(max(word.percent, 0), 100), call.percent or 0)
    if call.is_open and call.status != Status.QUEUED:
        call.deadline = min(now + silence(call.method), (call.sent or now) + LONGEST)
    if _seen(call) == before:
        return Heard.PATIENCE
    call.version += 1
    call.updated = max(now, call.updated)  # who waited for the lock has an older `now`
    return Heard.CHANGE


def _become(call: ServiceCall, word: Word, *, now: datetime, late: bool) -> None:
    call.status, call.result_text, call.late = word.status, word.text, late
    if word.result_code is not None:
        call.result_code = word.result_code
    if word.status == Status.SENT:
        call.sent = now
    elif word.status in (Status.QUEUED, Status.EXPIRED):  # it never reached the dock
        call.sent = call.deadline = None
    if not call.is_open:
        call.closed = now


def _seen(call: ServiceCall) -> tuple[object, ...]:
    """What people see of a call, and so what makes a new version."""
    return call.status, call.percent, call.result_code, call.result_text, call.output, call.late, call.replied is None


def unreadable(source: Source, reason: str) -> Word:
    """The report that a dock's answer cannot be read."""
    return Word(source, Status.FAILED, text=UNREADABLE.format(reason=reason))


def answer(source: Source, method: Method, data: msgspec.Struct, message: object) -> Word:
    """What a dock's reply or event means: the status decides, and a result that is not 0 makes a failure of it.

    Without a status a reply is the end, unless its method has events. `message` is `data` as the dock sent it.
    """
    code: int = data.result  # type: ignore[attr-defined]
    given: str = getattr(data, "status", "")
    is_end = source == Source.REPLY and method.event is None
    status = _DJI.get(given, Status.SUCCEEDED if is_end else Status.ACCEPTED)
    if code != 0 and status not in (Status.FAILED, Status.REJECTED, Status.CANCELED):
        status = Status.FAILED
    text = gettext_noop("The dock gave up waiting.") if given == "timeout" and code == 0 else ""
    if code and not result_codes.known(code):
        # No page explains this code: the message, without secrets, is all there is to go by.
        text = json.dumps(redact(message), ensure_ascii=False)
        text = text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"
    return Word(source, status, getattr(data, "percent", None), code, text, method.output(data))
