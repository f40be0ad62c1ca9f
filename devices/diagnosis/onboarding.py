"""How far a gateway came with its onboarding, and at which step it stopped and why.

The steps are those of DJI's "dock access to cloud" page: connect, `config`, the binding, the topology. They are
read from the journal, so that an administrator can tell the technician beside the dock what is wrong.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils import timezone

from devices.binding import BOUND_ELSEWHERE
from devices.configuration import DISABLED, NOT_CONFIGURED
from devices.diagnosis import exchanges as journal
from devices.diagnosis.attention import is_foreign_attempt
from devices.models import Device
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol.result_codes import describe
from organizations.credentials import LOCKED_OUT, WRONG
from organizations.models import BindingFailureQuerySet

_TITLES = {
    "config": "DJI license",
    "airport_bind_status": "Bound already?",
    "airport_organization_get": "Organization and code",
    "airport_organization_bind": "Binding",
    "update_topo": "Aircraft reported",
}
PATIENCE = timedelta(seconds=60)  # a dock goes on by itself within seconds; people take longer


class Status(models.TextChoices):
    """What became of a step."""

    DONE = "done", "done"
    FAILED = "failed", "failed"
    REFUSED = "refused", "refused"
    SKIPPED = "skipped", "not needed"
    MISSING = "missing", "not seen"


class Step(NamedTuple):
    """One step: when it was last tried, what came of it, the journal row that shows it."""

    title: str
    method: str
    status: Status
    words: str
    at: datetime | None = None
    exchange: Exchange | None = None


class Onboarding(NamedTuple):
    """The steps in their order and where the gateway stands, in words; `status` colours those."""

    steps: list[Step]
    status: str  # "ok", "notice", "failed" or "waiting"
    words: str


def onboarding(
    gateway_sn: str, *, device: Device | None, visible: QuerySet[Exchange], now: datetime | None = None
) -> Onboarding:
    """Read the onboarding of this gateway from the exchanges that may be seen; at most seven queries.

    `device` is None where the gateway itself may not be seen, only what it tried with one's organization.
    """
    now = now or timezone.now()
    rows = visible.filter(gateway_sn=gateway_sn).defer("payload")
    tried = {method: row for method in ONBOARDING if (row := rows.filter(method=method).first()) is not None}
    bound = device is not None and device.is_bound
    hidden = _hidden(gateway_sn, [method for method in ONBOARDING if method not in tried])
    steps = [_connected(device, rows.first())]
    for method in ONBOARDING:
        row = tried.get(method)
        steps.append(_step(row, bound=bound) if row else _untried(method, device, hidden=method in hidden, now=now))
    return Onboarding(steps, *_verdict(device, steps, now))


# --- one step ----------------------------------------------------------------------------------


def _connected(device: Device | None, last: Exchange | None) -> Step:
    state = getattr(device, "state", None)
    times = [moment for moment in (state and state.seen, last and last.received_at) if moment]
    if not times:
        words = "Nothing was ever heard of this gateway."
        return Step("Connected", "", Status.MISSING, words)
    return Step("Connected", "", Status.DONE, "It spoke to our broker; this is when it last did.", max(times))


def _hidden(gateway_sn: str, missing: list[str]) -> set[str]:
    """Which of the methods that are missing among the visible messages the gateway did send."""
    if not missing:
        return set()
    rows = Exchange.objects.filter(gateway_sn=gateway_sn, method__in=missing)
    return set(rows.order_by().values_list("method", flat=True).distinct())


def _untried(method: str, device: Device | None, *, hidden: bool, now: datetime) -> Step:
    title = _TITLES[method]
    if device is None:
        return Step(title, method, Status.MISSING, "Not shown: the gateway is not yours.")
    if device.is_bound and method in ("airport_organization_get", "airport_organization_bind"):
        return Step(title, method, Status.SKIPPED, "Bound already.")
    if hidden:
        return Step(title, method, Status.MISSING, "Before it was yours; not shown.")
    if device.created < now - timedelta(days=settings.JOURNAL_DAYS):
        return Step(title, method, Status.MISSING, f"Not in the last {settings.JOURNAL_DAYS} days.")
    return Step(title, method, Status.MISSING, "Not yet.")


def _step(exchange: Exchange, *, bound: bool) -> Step:
    method, title = exchange.method, _TITLES[exchange.method]
    if bound and is_foreign_attempt(exchange):
        return Step(title, method, Status.REFUSED, _FOREIGN, exchange.received_at, exchange)
    failed, words = _outcome(exchange)
    status = Status.FAILED if failed else Status.DONE
    return Step(title, method, status, words, exchange.received_at, exchange)


def _outcome(exchange: Exchange) -> tuple[bool, str]:
    """Whether this step failed, and in words what came of it."""
    if exchange.outcome == Exchange.Outcome.QUARANTINED:
        return True, f"We could not read the message: {exchange.reason}."
    if exchange.outcome == Exchange.Outcome.ERROR:
        return True, f"We failed to handle the message: {exchange.reason}. Look at the log of the bridge."
    reply = journal.parse(exchange.reply)
    reply = reply if isinstance(reply, dict) else {}
    return _READERS[exchange.method](exchange, reply)


def _config(exchange: Exchange, _reply: dict[str, Any]) -> tuple[bool, str]:
    if exchange.reason == DISABLED:
        return True, "Refused: this device is disabled here. Enable it, then connect again."
    if exchange.reason == NOT_CONFIGURED:
        return True, "Refused: neither the organization nor the platform has a DJI license (app ID, key and license)."
    if exchange.reason:
        return True, f"Refused: {exchange.reason}."
    return False, "The license and the time server were sent; the dock checks the license itself."


def _bind_status(exchange: Exchange, reply: dict[str, Any]) -> tuple[bool, str]:
    if _result(reply):
        return True, _refusal(exchange, _result(reply))
    bound = {bool(entry.get("is_device_bind_organization")) for entry in _entries(reply, "bind_status")}
    if bound == {True}:
        return False, "We said: all bound. The dock needs no code."
    if bound == {True, False}:
        return False, "We said: some are bound, others not. Pilot 2 asks for organization ID and code."
    return False, "We said: not bound. Pilot 2 asks for organization ID and code."


def _organization_get(exchange: Exchange, reply: dict[str, Any]) -> tuple[bool, str]:
    if exchange.reason or _result(reply):
        return True, _refusal(exchange, _result(reply))
    output = reply.get("output")
    name = output.get("organization_name") if isinstance(output, dict) else ""
    return False, f"ID and code are right; Pilot 2 shows “{name}” for confirmation."


def _bind(exchange: Exchange, reply: dict[str, Any]) -> tuple[bool, str]:
    entries = [(str(entry.get("sn") or "?"), entry.get("err_code")) for entry in _entries(reply, "err_infos")]
    refused = [(sn, code) for sn, code in entries if code]
    if refused:
        told = "; ".join(f"{sn} {code}, {describe(code)}" for sn, code in refused if isinstance(code, int))
        bound = ", ".join(sn for sn, code in entries if not code)
        return True, f"{_why(exchange)} The dock was told: {told}." + (f" Bound: {bound}." if bound else "")
    if exchange.reason or _result(reply):
        return True, _refusal(exchange, _result(reply))
    return False, f"Bound: {', '.join(sn for sn, _ in entries)}."


def _update_topo(exchange: Exchange, reply: dict[str, Any]) -> tuple[bool, str]:
    if _result(reply):
        return True, _refusal(exchange, _result(reply))
    return False, f"Taken note of, but {exchange.reason}." if exchange.reason else "Taken note of."


_READERS = {
    "config": _config,
    "airport_bind_status": _bind_status,
    "airport_organization_get": _organization_get,
    "airport_organization_bind": _bind,
    "update_topo": _update_topo,
}


def _result(reply: dict[str, Any]) -> int:
    result = reply.get("result", 0)
    return result if isinstance(result, int) else 0


def _entries(reply: dict[str, Any], name: str) -> list[dict[str, Any]]:
    output = reply.get("output")
    entries = output.get(name) if isinstance(output, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _refusal(exchange: Exchange, code: int) -> str:
    """The reason, which only we know, what to do about it, and what the dock was told."""
    told = f" The dock was told: {code}, {describe(code)}." if code else ""
    return _why(exchange) + told


def _why(exchange: Exchange) -> str:
    """Why it was refused, and what to do about it where we know."""
    if not exchange.reason:
        return "Refused."
    advice = next((advice for reason, advice in _ADVICE.items() if reason in exchange.reason), "")
    return f"Refused: {exchange.reason}.{advice}"


_FOREIGN = (
    "Another organization's code was tried here and refused; nothing changed."
    " Should the dock go to that organization, release it first."
)
_ADVICE = {
    WRONG: " Check both letter by letter; in the ID upper and lower case count.",
    LOCKED_OUT: f" Wait {BindingFailureQuerySet.WINDOW.total_seconds() / 60:.0f} minutes, then try the right code.",
    "code expired": " Issue a new code.",
    "code used up": " Issue a new code.",
    "code revoked": " Issue a new code.",
    "organization inactive": " Activate the organization.",
    BOUND_ELSEWHERE: " Its owner has to release it first.",
    "device disabled": " Enable the device.",
    "device limit": " Raise the limit of the organization, or release a device.",
}


# --- where it stands ---------------------------------------------------------------------------


def _verdict(device: Device | None, steps: list[Step], now: datetime) -> tuple[str, str]:
    # The topology is told at every connection, bound or not: it says nothing about how far the binding came.
    tried = [step for step in steps[1:-1] if step.at is not None]
    last = max(tried, key=lambda step: (step.at, steps.index(step)), default=None)
    if device is not None and device.organization is not None:
        since = last is not None and last.at is not None and last.at > (device.bound_at or last.at)
        if last is not None and since and last.status == Status.REFUSED:
            return "notice", f"Bound to {device.organization.name}. {last.words}"
        if last is not None and since and last.status == Status.FAILED:
            return "failed", f"Bound to {device.organization.name}, but step “{last.title}” failed since: {last.words}"
        return "ok", f"Bound to {device.organization.name}."
    if last is None:
        return "waiting", _NOT_BEGUN if steps[0].status == Status.DONE else _NEVER_CONNECTED
    if last.status == Status.FAILED:
        return "failed", f"Stopped at step “{last.title}”: {last.words}"
    waiting_since = now - (last.at or now)
    return "waiting", _NEXT[last.method, waiting_since > PATIENCE]


_NEVER_CONNECTED = (
    "Not connected yet. In Pilot 2 check the MQTT address, user name and password; at the dock check the network."
)
_NOT_BEGUN = "Connected, but it never asked for the DJI license: in Pilot 2 start the cloud service of the dock again."
_NEXT = {
    ("config", False): "The dock is checking the DJI license.",
    ("config", True): (
        "Stopped after the DJI license was sent: if the dock disconnected, it did not accept app ID, key or license."
    ),
    ("airport_bind_status", False): "Waiting for organization ID and binding code in Pilot 2.",
    ("airport_bind_status", True): "Waiting for organization ID and binding code in Pilot 2.",
    ("airport_organization_get", False): "Waiting for the technician to confirm the organization in Pilot 2.",
    ("airport_organization_get", True): "Waiting for the technician to confirm the organization in Pilot 2.",
    ("airport_organization_bind", False): "Its last binding went through, but it is not bound now: it was released.",
    ("airport_organization_bind", True): "Its last binding went through, but it is not bound now: it was released.",
}
