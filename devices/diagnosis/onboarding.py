"""How far the onboarding of a gateway got: each step, and where it stopped and why.

The steps are those of DJI's "dock access to cloud" page: connect, `config`, the binding, the topology. They are
read from the journal, so that an administrator can tell the technician beside the dock what is wrong.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils import timezone

from devices.binding import BOUND_ELSEWHERE
from devices.diagnosis import exchanges
from devices.diagnosis.needs import is_foreign_attempt
from devices.models import Device
from devices.questions import DISABLED, NOT_CONFIGURED
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol.result_codes import describe
from organizations.credentials import FLOODED, GUESSED, LOCKED_OUT, WRONG
from organizations.models import BindingFailureQuerySet

_TITLES = {
    "config": "DJI license",
    "airport_bind_status": "Bound already?",
    "airport_organization_get": "Organization and code",
    "airport_organization_bind": "Binding",
    "update_topo": "Aircraft reported",
}
PATIENCE = timedelta(seconds=60)  # a dock takes its next step within seconds; people take longer


class Status(models.TextChoices):
    """The outcome of a step."""

    DONE = "done", "done"
    FAILED = "failed", "failed"
    REFUSED = "refused", "refused"
    SKIPPED = "skipped", "not needed"
    MISSING = "missing", "not seen"


class Step(NamedTuple):
    """One step: its outcome, when it was last tried, and the journal row of that attempt."""

    title: str
    method: str
    status: Status
    words: str
    at: datetime | None = None
    exchange: Exchange | None = None


class Onboarding(NamedTuple):
    """The steps in their order, and where the gateway stands in words, which `status` colours."""

    steps: list[Step]
    status: str  # "ok", "notice", "failed" or "waiting"
    words: str


def onboarding(
    gateway_sn: str, *, device: Device | None, visible: QuerySet[Exchange], now: datetime | None = None
) -> Onboarding:
    """Read the onboarding of this gateway from the `visible` exchanges; at most seven queries.

    `device` is None if the user may not see the gateway itself, only its attempts with their organization.
    """
    now = now or timezone.now()
    # Not what somebody tried through enrolment in the name of a dock with its own account.
    rows = visible.filter(gateway_sn=gateway_sn).exclude(reason=Exchange.HAS_ACCOUNT).defer("payload")
    tried = {method: row for method in ONBOARDING if (row := rows.filter(method=method).first()) is not None}
    untried = [method for method in ONBOARDING if method not in tried]
    sent = Exchange.objects.filter(gateway_sn=gateway_sn, method__in=untried).order_by()
    hidden = set(sent.values_list("method", flat=True).distinct())
    state, last = getattr(device, "state", None), rows.first()
    contacts = [moment for moment in (state and state.seen, last and last.received_at) if moment]
    if contacts:
        words = "It reached our broker; this is the time of its latest message."
        steps = [Step("Connected", "", Status.DONE, words, max(contacts))]
    else:
        steps = [Step("Connected", "", Status.MISSING, "This gateway has never sent a message.")]
    for method in ONBOARDING:
        if row := tried.get(method):
            status, words = _outcome(row, is_bound=device is not None and device.is_bound)
            steps.append(Step(_TITLES[method], method, status, words, row.received_at, row))
        else:
            status, words = _untried(method, device, is_hidden=method in hidden, now=now)
            steps.append(Step(_TITLES[method], method, status, words))
    return Onboarding(steps, *_verdict(device, steps, now))


# --- one step ----------------------------------------------------------------------------------


def _untried(method: str, device: Device | None, *, is_hidden: bool, now: datetime) -> tuple[Status, str]:
    if device is None:
        return Status.MISSING, "Not shown: the gateway is not yours."
    if device.is_bound and method in ("airport_organization_get", "airport_organization_bind"):
        return Status.SKIPPED, "Bound already."
    if is_hidden:
        return Status.MISSING, "Before it was yours; not shown."
    if device.created < now - timedelta(days=settings.JOURNAL_DAYS):
        return Status.MISSING, f"Not in the last {settings.JOURNAL_DAYS} days."
    return Status.MISSING, "Not yet."


def _outcome(exchange: Exchange, *, is_bound: bool) -> tuple[Status, str]:
    """What our answer to this message means for the step."""
    method, reason = exchange.method, exchange.reason
    if is_bound and is_foreign_attempt(exchange):
        return Status.REFUSED, _FOREIGN
    if exchange.outcome == Exchange.Outcome.QUARANTINED:
        return Status.FAILED, f"We could not read the message: {reason}."
    if exchange.outcome == Exchange.Outcome.ERROR:
        return Status.FAILED, f"We failed to handle the message: {reason}. See the log of the bridge."
    reply = _fields(exchanges.shown(exchange.reply))
    output = _fields(reply.get("output"))
    results = [(str(entry.get("sn") or "?"), entry.get("err_code")) for entry in _entries(output, "err_infos")]
    bound = ", ".join(sn for sn, code in results if not code)
    answers = [f"{sn} {code}, {describe(code)}" for sn, code in results if isinstance(code, int) and code]
    code = reply.get("result")
    if not answers and isinstance(code, int) and code:
        answers = [f"{code}, {describe(code)}"]
    # Of these two methods a reason alone is a remark.
    if answers or (reason and method not in ("airport_bind_status", "update_topo")):
        # The reason, which only we know, what to do about it, and what the dock knows.
        words = f"Refused: {reason}." if reason else "Refused."
        words += next((advice for cause, advice in _ADVICE.items() if cause in reason), "")
        words += f" Our answer: {'; '.join(answers)}." if answers else ""
        return Status.FAILED, words + (f" Bound: {bound}." if bound else "")
    if method == "airport_organization_bind":
        return Status.DONE, f"Bound: {bound}."
    return Status.DONE, _success(method, output, reason)


def _success(method: str, output: Mapping[str, object], reason: str) -> str:
    if method == "config":
        return "The license and the time server were sent; the dock checks the license itself."
    if method == "airport_organization_get":
        return f"ID and code are right; Pilot 2 shows “{output.get('organization_name', '')}” for confirmation."
    if method == "update_topo":
        return f"Recorded, but {reason}." if reason else "Recorded."
    bound = {bool(entry.get("is_device_bind_organization")) for entry in _entries(output, "bind_status")}
    if bound == {True}:
        return "Our answer: all bound. The dock needs no code."
    answer = "some are bound, others are not" if True in bound else "not bound"
    return f"Our answer: {answer}. Pilot 2 asks for organization ID and code."


def _fields(data: object) -> Mapping[str, object]:
    """The fields of a JSON object; none of anything else."""
    return data if isinstance(data, dict) else {}


def _entries(output: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The objects in this list of the output."""
    entries = output.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


_FOREIGN = (
    "Another organization's code was tried here and refused; nothing changed."
    " If the dock should go to that organization, release it first."
)
_ADVICE = {
    NOT_CONFIGURED: " Set app ID, key and license of the organization, or of the platform.",
    WRONG: " Check both letter by letter; in the ID upper and lower case count.",
    LOCKED_OUT: f" Wait {BindingFailureQuerySet.WINDOW.total_seconds() / 60:.0f} minutes, then try the right code.",
    FLOODED: " Make a code in the admin and leave *Own code* empty: that one is taken at once.",
    GUESSED: " Wait as long, or give the dock its own MQTT account.",
    "code expired": " Issue a new code.",
    "code used up": " Issue a new code.",
    "code revoked": " Issue a new code.",
    "organization inactive": " Activate the organization.",
    BOUND_ELSEWHERE: " Its owner has to release it first.",
    DISABLED: " Enable it, then connect it again.",
    "device limit": " Raise the limit of the organization, or release a device.",
}


# --- where it stands ---------------------------------------------------------------------------


def _verdict(device: Device | None, steps: list[Step], now: datetime) -> tuple[str, str]:
    # A topology is sent at every connection, bound or not: it does not show how far the binding got.
    tried = [step for step in steps[1:-1] if step.at is not None]
    last = max(tried, key=lambda step: (step.at, steps.index(step)), default=None)
    if device is not None and device.organization is not None:
        words = f"Bound to {device.organization.name}"
        if last is not None and last.at is not None and last.at > (device.bound_at or last.at):
            if last.status == Status.REFUSED:
                return "notice", f"{words}. {last.words}"
            if last.status == Status.FAILED:
                return "failed", f"{words}, but step “{last.title}” has failed since: {last.words}"
        return "ok", f"{words}."
    if last is None:
        return "waiting", _NOT_BEGUN if steps[0].status == Status.DONE else _NEVER_CONNECTED
    if last.status == Status.FAILED:
        return "failed", f"Stopped at step “{last.title}”: {last.words}"
    if last.method == "config" and last.at is not None and now - last.at <= PATIENCE:
        return "waiting", "The dock is checking the DJI license."
    return "waiting", _NEXT[last.method]


_NEVER_CONNECTED = (
    "Not connected yet. In Pilot 2 check the MQTT address, user name and password; at the dock check the network."
)
_NOT_BEGUN = "Connected, but it never asked for the DJI license: in Pilot 2 start the cloud service of the dock again."
_NEXT = {
    "config": (
        "Stopped after the DJI license was sent: if the dock disconnected, it did not accept app ID, key or license."
    ),
    "airport_bind_status": "Waiting for organization ID and binding code in Pilot 2.",
    "airport_organization_get": "Waiting for the technician to confirm the organization in Pilot 2.",
    "airport_organization_bind": "Its last binding succeeded, but it has been released since.",
}
