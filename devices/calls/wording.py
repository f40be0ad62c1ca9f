"""Service calls in words: what was asked, what became of it, for people and for programs."""

from datetime import datetime
from typing import Final, TypedDict

from django.utils import timezone
from django.utils.translation import gettext

from cloudapi.rest.problems import PROBLEM
from devices.calls.method import Data
from devices.calls.methods import METHODS, label
from devices.models import ServiceCall
from mqtt_bridge.protocol import result_codes

Status = ServiceCall.Status

# The kinds that pages colour and mark.
KINDS: Final[dict[str, str]] = {
    Status.QUEUED: "waiting",
    Status.SENT: "running",
    Status.ACCEPTED: "running",
    Status.IN_PROGRESS: "running",
    Status.PAUSED: "waiting",
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.REJECTED: "bad",
    Status.CANCELED: "quiet",
    Status.TIMED_OUT: "unsure",
    Status.EXPIRED: "unsure",
}
CONTRADICTED: Final = (Status.FAILED, Status.REJECTED)  # by a result of 0, DJI's "success"


def words() -> dict[str, str]:
    """The states in words, in the active language."""
    return {str(value): str(label) for value, label in Status.choices}


def title(method: str, data: Data) -> str:
    """What a dock was asked, with the one thing that tells it from the next: "Switch license 240330 on"."""
    service = METHODS.get(method)
    return service.title(data) if service and service.title else label(method)


def describe(call: ServiceCall) -> str:
    """Where a call stands, in one or two plain sentences."""
    late = "After we had stopped waiting: " if call.late else ""
    match call.status:
        case Status.QUEUED:
            until = gettext("Waiting for the dock to come online, until {moment}.")
            return until.format(moment=moment(call.expires)) if call.queue else "Waiting to be sent."
        case Status.SENT:
            return "Sent; the dock has not answered yet."
        case Status.ACCEPTED:
            return "The dock has accepted it."
        case Status.IN_PROGRESS | Status.PAUSED:
            doing = "works on it" if call.status == Status.IN_PROGRESS else "has paused it"
            return f"The dock {doing}." if call.percent is None else f"The dock {doing}: {call.percent} %."
        case Status.SUCCEEDED:
            return late + (METHODS[call.method].done(call.output) if call.method in METHODS else "Done.")
        case Status.FAILED:
            return f"{late}Failed{_reason(call)}"
        case Status.REJECTED:
            return f"{late}Refused by the dock{_reason(call)}"
        case Status.CANCELED:
            return f"{late}Canceled{_reason(call)}"
        case Status.EXPIRED:
            return f"Not sent{_reason(call)}"
    return "No answer in time: whether it was done is unknown."


def moment(when: datetime) -> str:
    """A moment to the minute, with its zone."""
    return f"{timezone.localtime(when):%Y-%m-%d %H:%M %Z}"


def _reason(call: ServiceCall) -> str:
    if call.output.get("verification_code_url") and call.data.get("verification_code"):
        return gettext(": DJI did not accept the verification code and wants another.")
    if call.result_code and not result_codes.known(call.result_code):
        message = f"; the dock's message: {call.result_text}" if call.result_text else "."
        return f" with {result_codes.describe(call.result_code)}{message}"
    if call.result_text:
        return f": {call.result_text}"
    if call.result_code:
        return f": {result_codes.describe(call.result_code)} ({call.result_code})."
    if call.output.get("verification_code_url"):
        return ": DJI wants a verification code."
    if call.result_code == 0 and call.status in CONTRADICTED:
        return gettext(": the dock gives no reason.")
    return "."


def result(call: ServiceCall) -> str:
    """The dock's result code in words, to stand beside its number; "" without one."""
    if call.result_code is None:
        return ""
    if call.result_code == 0 and call.status in CONTRADICTED:
        return gettext("the dock reports a failure without a reason")
    return result_codes.known(call.result_code) or "not documented by DJI"


class Problem(TypedDict):
    """Why a call did not do what it was for, as in problem details (RFC 9457), with DJI's code and its words."""

    type: str
    title: str
    detail: str
    dji_code: int | None
    dji_text: str


def problem(call: ServiceCall) -> Problem | None:
    """What went wrong; None for a call that is open, succeeded or was canceled. DJI's text is "" if unknown."""
    if call.status not in (Status.FAILED, Status.REJECTED, Status.EXPIRED, Status.TIMED_OUT):
        return None
    code = call.result_code or None  # 0 is DJI's "success", which a dock may send with a status that contradicts it
    return {
        "type": f"{PROBLEM}{call.status}",
        "title": call.status.replace("_", " ").capitalize(),
        "detail": describe(call),
        "dji_code": code,
        "dji_text": (result_codes.known(code) or "") if code else "",
    }
