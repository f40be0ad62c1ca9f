"""Asking docks for services: the rows of new calls, and a task for a worker.

Whether a dock can be asked is decided in `devices/calls/refusal.py`. Nothing is sent twice: a repeated call is a new
row.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cloudapi.rest.pause import Pause
from devices import accounts
from devices.calls.ending import supersede
from devices.calls.method import Data, Method, is_storable
from devices.calls.methods import LOGIN, METHODS
from devices.calls.refusal import MOVED, NO_WORKER, Refused, judge
from devices.calls.sending import AT_ONCE
from devices.calls.states import Source
from devices.calls.transition import SECRET_LIFE, event_of
from devices.live import broadcast
from devices.models import Device, ServiceCall, ServiceCallBatch, ServiceCallEvent, ServiceCallSecret
from mqtt_bridge import router
from mqtt_bridge.database import bulk
from organizations import audit
from organizations.audit import Actor

logger = logging.getLogger(__name__)

MOST_NOTE: Final = 2000  # characters; it is in every frame about a call
MOST_KEY: Final = 255  # characters of an idempotency key
HANGS: Final = 1.0  # seconds; a Redis that is dead, or back already, answers sooner

_redis = Pause()  # a Redis that hangs would hold every thread that asks it


class Issued(NamedTuple):
    """The calls that were made, and the devices that got none."""

    calls: list[ServiceCall]
    refused: list[tuple[Device, Refused]]


class Outcome(NamedTuple):
    """What became of one request: the dock, the data it was to be given, and the call or why there is none."""

    device: Device
    data: Data
    made: ServiceCall | Refused


def issue(
    *,
    device: Device,
    method: str,
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    retry_of: ServiceCall | None = None,
    idempotency_key: str = "",
) -> ServiceCall:
    """Ask one dock for a service, as `issue_each`; raises Refused."""
    if method == LOGIN and retry_of is None:
        retry_of = accounts.unverified_attempt(device)  # a login with a code goes on with the one that needed it
    outcomes = issue_each(
        requests=[(device, {} if data is None else data)],
        method=method,
        actor=actor,
        note=note,
        queue=queue,
        expires_in=expires_in,
        retry_of=retry_of,
        idempotency_key=idempotency_key,
    )
    if not outcomes:
        raise Refused(Refused.Kind.UNCLAIMED, _("This dock was deleted."))
    made = outcomes[0].made
    if isinstance(made, Refused):
        raise made
    return made


def issue_many(
    *,
    devices: Iterable[Device],
    method: str,
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    by_schedule: bool = False,
) -> Issued:
    """Ask each dock for the same service, as `issue_each`."""
    requests = [(device, {} if data is None else data) for device in {device.pk: device for device in devices}.values()]
    issued = Issued([], [])
    for outcome in issue_each(requests=requests, method=method, actor=actor, note=note, by_schedule=by_schedule):
        if isinstance(outcome.made, Refused):
            issued.refused.append((outcome.device, outcome.made))
        else:
            issued.calls.append(outcome.made)
    return issued


@transaction.atomic
def issue_each(
    *,
    requests: Iterable[tuple[Device, Data]],
    method: str,
    actor: Actor,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    by_schedule: bool = False,
    batch: ServiceCallBatch | None = None,
    retry_of: ServiceCall | None = None,
    retries: Mapping[tuple[int, str], ServiceCall] = MappingProxyType({}),
    idempotency_key: str = "",
) -> list[Outcome]:
    """Ask docks for one service, each with its own data, a dock perhaps several times; a constant number of statements.

    With `queue` an offline dock gets it when it is back, until `expires_in` has passed (settings.SERVICE_CALL_EXPIRES
    if not given). Raises Refused for what is wrong with the request itself; a dock that cannot be asked has the reason
    in its outcome. The outcomes come in the order of serial numbers; docks that are deleted have none. `retries` has
    the earlier call that a new one repeats, by the dock's key and the new call's subject.
    """
    service = check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    wanted = [(device, read(service, data)) for device, data in requests]
    now = timezone.now()
    life = expires_in or timedelta(seconds=settings.SERVICE_CALL_EXPIRES["queue" if queue else ""])
    outcomes: list[Outcome] = []
    for device, data, refused in judge(wanted, service, queue=queue, now=now):
        subject = service.subject(data)
        call = ServiceCall(
            device=device,
            organization=device.organization,
            method=service.name,
            subject=subject,
            data=service.masked(data),
            created=now,
            updated=now,
            expires=now + life,
            requested_by=actor.user,  # type: ignore[misc]  # an actor knows no more than that it is a user
            requested_with=actor.key,
            note=note,
            queue=queue,
            by_schedule=by_schedule,
            batch=batch,
            retry_of=retries.get((device.pk, subject), retry_of),
            idempotency_key=idempotency_key,
        )
        outcomes.append(Outcome(device, data, refused or call))
    made = [(outcome.made, outcome.data) for outcome in outcomes if isinstance(outcome.made, ServiceCall)]
    calls = [call for call, _ in made]
    if build := router.payload(service.name):
        # What could not be sent later is refused now; once per organization and data.
        for call in {(call.organization_id, repr(call.data)): call for call in calls}.values():
            build(call)
    if service.supersedes:
        supersede(service, calls, actor=actor, now=now)
    _insert(service, made, actor=actor, now=now)
    if calls:
        transaction.on_commit(partial(_send_tasks, [str(call.pk) for call in calls]), robust=True)
    return outcomes


def check(method: object, *, note: object = "", queue: bool = False, idempotency_key: object = "") -> Method:
    """The service of this name; raises Refused for what no dock could be asked, whatever the data."""
    kind = Refused.Kind
    if not isinstance(method, str):
        raise Refused(kind.INVALID, _("The name of a service is text."))
    if method not in METHODS:
        raise Refused(kind.INVALID, format_lazy(_("There is no service {name}."), name=f"{method!r:.70}"))
    service = METHODS[method]
    if not settings.COMMANDS_AVAILABLE:
        raise Refused(kind.UNAVAILABLE, NO_WORKER)
    for given, most, wrong in (
        (note, MOST_NOTE, _("A note is text of at most {most} characters that can be stored.")),
        (idempotency_key, MOST_KEY, _("An idempotency key is text of at most {most} characters that can be stored.")),
    ):
        if not isinstance(given, str) or len(given) > most or not is_storable(given):
            raise Refused(kind.INVALID, format_lazy(wrong, most=most))
    if queue and service.secrets:
        text = _("{command}: a password is sent only to a dock that is online.")
        raise Refused(kind.INVALID, format_lazy(text, command=service.label))
    return service


def read(service: Method, data: object) -> dict[str, object]:
    """The data of a call, checked; raises Refused for what no dock could be asked."""
    try:
        return service.read(data)
    except ValueError as error:
        text = gettext("{command}: {problem}.").format(command=service.label, problem=error)
        raise Refused(Refused.Kind.INVALID, text) from None


def _insert(service: Method, made: Sequence[tuple[ServiceCall, Data]], *, actor: Actor, now: datetime) -> None:
    """Write the calls, their secrets, their history and the audit trail; show them to browsers after the commit."""
    calls = [call for call, _ in made]
    bulk.insert(ServiceCall, bulk.values_of(calls))
    if service.secrets:
        ServiceCallSecret.objects.bulk_create(
            ServiceCallSecret(
                call=call,
                sealed=json.dumps({name: data[name] for name in service.secrets if name in data}),
                expires=now + SECRET_LIFE,
            )
            for call, data in made
        )
    accounts.begin(calls)
    bulk.insert(ServiceCallEvent, [event_of(call, Source.ISSUED, now) for call in calls])
    audit.record(
        audit.event(
            actor,
            "command",
            call.device,
            organization_id=call.organization_id,
            after={"method": call.method, "data": call.data, "call": str(call.pk)},
        )
        for call in calls
    )
    broadcast.tell_calls(calls)


def _send_tasks(keys: Sequence[str]) -> None:
    """Hand calls to workers, each as many as it claims at once. If that fails, the sweep finds them all the same."""
    if _redis.is_on():
        return
    began = time.monotonic()
    try:
        if len(keys) == 1:
            current_app.send_task("devices.tasks.publish_service_call", keys)
        else:
            for start in range(0, len(keys), AT_ONCE):
                current_app.send_task("devices.tasks.publish_service_calls", [keys[start : start + AT_ONCE]])
    except Exception as error:
        # Whatever a broken Redis raises: the row is the truth and the task only a hint.
        logger.warning("No worker could be told, the sweep will find it: %s: %s", type(error).__name__, error)
        if time.monotonic() - began > HANGS:
            _redis.begin()


def retry(call: ServiceCall, *, actor: Actor, data: Data | None = None, idempotency_key: str = "") -> ServiceCall:
    """Ask again, as a new call linked to the one that ended; raises Refused.

    It waits for its dock as long as the first one did. Secrets must be given again.
    """
    if call.is_open:
        raise Refused(Refused.Kind.BUSY, _("This command has not ended yet."))
    if call.device.organization_id != call.organization_id:
        raise Refused(Refused.Kind.UNCLAIMED, MOVED)
    if data is None and call.method in METHODS and METHODS[call.method].secrets:
        raise Refused(Refused.Kind.INVALID, _("The password must be entered again."))
    return issue(
        device=call.device,
        method=call.method,
        data=call.data if data is None else data,
        actor=actor,
        note=call.note,
        queue=call.queue,
        expires_in=call.expires - call.created if call.queue else None,
        retry_of=call,
        idempotency_key=idempotency_key,
    )
