"""How far the onboarding of a gateway got: each step, and where it stopped and why.

The steps are those of DJI's "dock access to cloud" page: connect, `config`, the binding, the topology. They are
read from the journal, so that an administrator can tell the technician beside the dock what is wrong.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import get_language, gettext, pgettext
from django.utils.translation import gettext_lazy as _

from devices.binding import BOUND_ELSEWHERE
from devices.diagnosis import exchanges
from devices.diagnosis.needs import is_foreign_attempt
from devices.models import Device
from devices.questions import DISABLED, NOT_CONFIGURED
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol.result_codes import describe
from organizations.credentials import FLOODED, GUESSED, LOCKED_OUT, WRONG
from organizations.language import stored
from organizations.models import BindingFailureQuerySet

_TITLES = {
    "config": _("DJI license"),
    "airport_bind_status": _("Bound already?"),
    "airport_organization_get": _("Organization and code"),
    "airport_organization_bind": _("Binding"),
    "update_topo": _("Aircraft reported"),
}
PATIENCE = timedelta(seconds=60)  # a dock takes its next step within seconds; people take longer


class Status(models.TextChoices):
    """The outcome of a step."""

    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")
    SKIPPED = "skipped", _("not needed")
    MISSING = "missing", _("not seen")


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
    connected = pgettext("step", "Connected")
    if contacts:
        words = gettext("It reached our broker; this is the time of its latest message.")
        steps = [Step(connected, "", Status.DONE, words, max(contacts))]
    else:
        steps = [Step(connected, "", Status.MISSING, gettext("This gateway has never sent a message."))]
    for method in ONBOARDING:
        title = str(_TITLES[method])
        if row := tried.get(method):
            status, words = _outcome(row, is_bound=device is not None and device.is_bound)
            steps.append(Step(title, method, status, words, row.received_at, row))
        else:
            status, words = _untried(method, device, is_hidden=method in hidden, now=now)
            steps.append(Step(title, method, status, words))
    return Onboarding(steps, *_verdict(device, steps, now))


# --- one step ----------------------------------------------------------------------------------


def _untried(method: str, device: Device | None, *, is_hidden: bool, now: datetime) -> tuple[Status, str]:
    if device is None:
        return Status.MISSING, gettext("Not shown: the gateway is not yours.")
    if device.is_bound and method in ("airport_organization_get", "airport_organization_bind"):
        return Status.SKIPPED, gettext("Bound already.")
    if is_hidden:
        return Status.MISSING, gettext("Before it was yours; not shown.")
    if device.created < now - timedelta(days=settings.JOURNAL_DAYS):
        return Status.MISSING, gettext("Not in the last {days} days.").format(days=settings.JOURNAL_DAYS)
    return Status.MISSING, gettext("Not yet.")


def _outcome(exchange: Exchange, *, is_bound: bool) -> tuple[Status, str]:
    """What our answer to this message means for the step."""
    method, reason = exchange.method, exchange.reason
    shown = stored.shown(reason)
    if is_bound and is_foreign_attempt(exchange):
        return Status.REFUSED, str(_FOREIGN)
    if exchange.outcome == Exchange.Outcome.QUARANTINED:
        return Status.FAILED, gettext("We could not read the message: {reason}.").format(reason=shown)
    if exchange.outcome == Exchange.Outcome.ERROR:
        text = gettext("We failed to handle the message: {reason}. See the log of the bridge.")
        return Status.FAILED, text.format(reason=shown)
    reply = _fields(exchanges.shown(exchange.reply))
    output = _fields(reply.get("output"))
    results = [(str(entry.get("sn") or "?"), entry.get("err_code")) for entry in _entries(output, "err_infos")]
    bound = ", ".join(sn for sn, code in results if not code)
    answers = [f"{sn} {_in_words(code)}" for sn, code in results if isinstance(code, int) and code]
    code = reply.get("result")
    if not answers and isinstance(code, int) and code:
        answers = [_in_words(code)]
    # Of these two methods a reason alone is a remark.
    if answers or (reason and method not in ("airport_bind_status", "update_topo")):
        # The reason, which only we know, what to do about it, and what the dock knows.
        sentences = [gettext("Refused: {reason}.").format(reason=shown) if reason else gettext("Refused.")]
        sentences += [str(advice) for cause, advice in _ADVICE.items() if cause in reason][:1]
        sentences += [gettext("Our answer: {codes}.").format(codes="; ".join(answers))] if answers else []
        sentences += [gettext("Bound: {devices}.").format(devices=bound)] if bound else []
        return Status.FAILED, _joined(sentences)
    if method == "airport_organization_bind":
        return Status.DONE, gettext("Bound: {devices}.").format(devices=bound) if bound else gettext("Bound.")
    return Status.DONE, _success(method, output, shown)


def _joined(sentences: Iterable[str]) -> str:
    """One text; Chinese sentences stand without a blank between them."""
    return ("" if (get_language() or "en").startswith("zh") else " ").join(sentences)


def _in_words(code: int) -> str:
    return f"{code}, {describe(code, get_language() or 'en')}"


def _success(method: str, output: Mapping[str, object], reason: str) -> str:
    if method == "config":
        return gettext("The license and the time server were sent; the dock checks the license itself.")
    if method == "airport_organization_get":
        if not (name := output.get("organization_name")):  # a journal may keep an answer without it
            return gettext("ID and code are right; Pilot 2 asks for confirmation.")
        text = gettext("ID and code are right; Pilot 2 shows “{organization}” for confirmation.")
        return text.format(organization=name)
    if method == "update_topo":
        return gettext("Recorded, but {reason}.").format(reason=reason) if reason else gettext("Recorded.")
    bound = {bool(entry.get("is_device_bind_organization")) for entry in _entries(output, "bind_status")}
    if bound == {True}:
        return gettext("Our answer: all bound. The dock needs no code.")
    if True in bound:
        return gettext("Our answer: some are bound, others are not. Pilot 2 asks for organization ID and code.")
    return gettext("Our answer: not bound. Pilot 2 asks for organization ID and code.")


def _fields(data: object) -> Mapping[str, object]:
    """The fields of a JSON object; none of anything else."""
    return data if isinstance(data, dict) else {}


def _entries(output: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The objects in this list of the output."""
    entries = output.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


_FOREIGN = _(
    "Another organization's code was tried here and refused; nothing changed."
    " If the dock should go to that organization, release it first."
)
_NEW_CODE = _("Issue a new code.")
_ADVICE = {
    NOT_CONFIGURED: _("Set app ID, key and license of the organization, or of the platform."),
    WRONG: _("Check both letter by letter; in the ID upper and lower case count."),
    LOCKED_OUT: format_lazy(
        _("Wait {minutes} minutes, then try the right code."),
        minutes=f"{BindingFailureQuerySet.WINDOW.total_seconds() / 60:.0f}",
    ),
    FLOODED: _("Make a code in the admin and leave *Own code* empty: that one is taken at once."),
    GUESSED: _("Wait as long, or give the dock its own MQTT account."),
    "code expired": _NEW_CODE,
    "code used up": _NEW_CODE,
    "code revoked": _NEW_CODE,
    "organization inactive": _("Activate the organization."),
    BOUND_ELSEWHERE: _("Its owner has to release it first."),
    DISABLED: _("Enable it, then connect it again."),
    "device limit": _("Raise the limit of the organization, or release a device."),
}


# --- where it stands ---------------------------------------------------------------------------


def _verdict(device: Device | None, steps: list[Step], now: datetime) -> tuple[str, str]:
    # A topology is sent at every connection, bound or not: it does not show how far the binding got.
    tried = [step for step in steps[1:-1] if step.at is not None]
    last = max(tried, key=lambda step: (step.at, steps.index(step)), default=None)
    if device is not None and device.organization is not None:
        owner = device.organization.name
        if last is not None and last.at is not None and last.at > (device.bound_at or last.at):
            if last.status == Status.REFUSED:
                return "notice", _joined([gettext("Bound to {organization}.").format(organization=owner), last.words])
            if last.status == Status.FAILED:
                text = gettext("Bound to {organization}, but step “{step}” has failed since: {reason}")
                return "failed", text.format(organization=owner, step=last.title, reason=last.words)
        return "ok", gettext("Bound to {organization}.").format(organization=owner)
    if last is None:
        return "waiting", str(_NOT_BEGUN if steps[0].status == Status.DONE else _NEVER_CONNECTED)
    if last.status == Status.FAILED:
        text = gettext("Stopped at step “{step}”: {reason}")
        return "failed", text.format(step=last.title, reason=last.words)
    if last.method == "config" and last.at is not None and now - last.at <= PATIENCE:
        return "waiting", gettext("The dock is checking the DJI license.")
    return "waiting", str(_NEXT[last.method])


_NEVER_CONNECTED = _(
    "Not connected yet. In Pilot 2 check the MQTT address, user name and password; at the dock check the network."
)
_NOT_BEGUN = _(
    "Connected, but it never asked for the DJI license: in Pilot 2 start the cloud service of the dock again."
)
_NEXT = {
    "config": _(
        "Stopped after the DJI license was sent: if the dock disconnected, it did not accept app ID, key or license."
    ),
    "airport_bind_status": _("Waiting for organization ID and binding code in Pilot 2."),
    "airport_organization_get": _("Waiting for the technician to confirm the organization in Pilot 2."),
    "airport_organization_bind": _("Its last binding succeeded, but it has been released since."),
}
