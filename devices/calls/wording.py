"""Service calls in words: what was asked, what became of it, for people and for programs."""

from typing import Final, TypedDict

from django.utils.translation import get_language, gettext, gettext_noop, pgettext

from cloudapi.rest.problems import PROBLEM
from devices.calls.methods import METHODS
from devices.models import ServiceCall
from mqtt_bridge.protocol import result_codes
from organizations import time_zones
from organizations.language import stored

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
_PLAIN: Final[dict[str, str]] = {
    Status.QUEUED: gettext_noop("Waiting to be sent."),
    Status.SENT: gettext_noop("Sent; the dock has not answered yet."),
    Status.ACCEPTED: gettext_noop("The dock has accepted it."),
    Status.IN_PROGRESS: gettext_noop("The dock works on it."),
    Status.PAUSED: gettext_noop("The dock has paused it."),
    Status.TIMED_OUT: gettext_noop("No answer in time: whether it was done is unknown."),
}
CONTRADICTED: Final = (Status.FAILED, Status.REJECTED)  # by a result of 0, DJI's "success"


def words() -> dict[str, str]:
    """The states in words, in the active language."""
    return {str(value): str(label) for value, label in Status.choices}


def state(call: ServiceCall) -> tuple[str, str]:
    """The kind and the word of its state, in the active language; a success without the list is told apart."""
    if call.is_without_list:
        return "unsure", gettext("answered without a list")
    return KINDS.get(call.status, ""), str(call.get_status_display())


def asked_by(call: ServiceCall) -> str:
    """Who asked for it: the schedule, a person, a program, or else a script, in the active language."""
    return gettext("the schedule") if call.by_schedule else str(call.asked_by or gettext("a script"))


def describe(call: ServiceCall) -> str:
    """Where a call stands, in one or two plain sentences, in the active language."""
    outcome = _outcome(call)
    return gettext("After we had stopped waiting: {outcome}").format(outcome=outcome) if call.late else outcome


def _outcome(call: ServiceCall) -> str:
    match call.status:
        case Status.QUEUED if call.queue and call.result_text:
            until = gettext("Waiting until {moment}: {sentence} It is sent as soon as the dock connects.")
            return until.format(moment=time_zones.written(call.expires), sentence=stored.shown(call.result_text))
        case Status.QUEUED if call.queue:
            until = gettext("Waiting for the dock to come online, until {moment}.")
            return until.format(moment=time_zones.written(call.expires))
        case Status.IN_PROGRESS if call.percent is not None:
            return gettext("The dock works on it: {percent} %.").format(percent=call.percent)
        case Status.PAUSED if call.percent is not None:
            return gettext("The dock has paused it: {percent} %.").format(percent=call.percent)
        case Status.SUCCEEDED:
            return METHODS[call.method].done(call.output) if call.method in METHODS else gettext("Done.")
        case Status.FAILED:
            return pgettext("command", "Failed{reason}").format(reason=_reason(call))
        case Status.REJECTED:
            return pgettext("command", "Refused by the dock{reason}").format(reason=_reason(call))
        case Status.CANCELED:
            return pgettext("command", "Canceled{reason}").format(reason=_reason(call))
        case Status.EXPIRED:
            return pgettext("command", "Not sent{reason}").format(reason=_reason(call))
    return gettext(_PLAIN[call.status])


def _reason(call: ServiceCall) -> str:
    """What stands behind "Failed": a colon and a sentence, or a full stop."""
    language = get_language() or "en"
    if call.output.get("verification_code_url") and call.data.get("verification_code"):
        return gettext(": DJI did not accept the verification code and wants another.")
    if call.result_code and not result_codes.known(call.result_code):
        code = result_codes.describe(call.result_code, language)
        if call.result_text:
            text = gettext(" with {code}; the dock's message: {message}")
            return text.format(code=code, message=stored.shown(call.result_text))
        return gettext(" with {code}.").format(code=code)
    if call.result_text:
        return gettext(": {sentence}").format(sentence=stored.shown(call.result_text))
    if call.result_code:
        words = result_codes.describe(call.result_code, language)
        return gettext(": {words} ({code}).").format(words=words, code=call.result_code)
    if call.output.get("verification_code_url"):
        return gettext(": DJI wants a verification code.")
    if call.result_code == 0 and call.status in CONTRADICTED:
        return gettext(": the dock gives no reason.")
    return pgettext("end of a sentence", ".")


def result(call: ServiceCall) -> str:
    """The dock's result code in words, to stand beside its number; "" without one."""
    if call.result_code is None:
        return ""
    if call.result_code == 0 and call.status in CONTRADICTED:
        return gettext("the dock reports a failure without a reason")
    return result_codes.known(call.result_code, get_language() or "en") or gettext("not documented by DJI")


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
