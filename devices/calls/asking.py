"""Asking docks for services: who may be asked, the rows of new calls, and telling a worker.

Nothing is sent twice: a call that is asked again is a new row.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from devices import accounts
from devices.calls.ending import supersede
from devices.calls.methods import LOGIN, METHODS, Method, is_storable
from devices.calls.refusal import MOVED, Refused
from devices.calls.states import Source
from devices.calls.transition import SECRET_LIFE, event_of
from devices.live import broadcast
from devices.models import Device, ServiceCall, ServiceCallBatch, ServiceCallEvent, ServiceCallSecret
from devices.presence import Presence, Watch, watch
from mqtt_bridge import router
from organizations import audit
from organizations.audit import Actor

logger = logging.getLogger(__name__)

MOST_NOTE: Final = 2000  # characters; it is in every frame about a call
MOST_KEY: Final = 255  # characters of an idempotency key
HANGS: Final = 1.0  # seconds; a Redis that is dead, or back already, says so sooner
PAUSE: Final = 5.0  # seconds for which no worker is told anything after Redis hung


class Issued(NamedTuple):
    """The calls that were made, and the devices that got none."""

    calls: list[ServiceCall]
    refused: list[tuple[Device, Refused]]


def issue(*, device: Device, method: str, data: Mapping[str, Any] | None = None, **options: Any) -> ServiceCall:
    """Ask one dock for a service; raises Refused. The options are those of `issue_many` and `retry_of`."""
    if method == LOGIN:
        options.setdefault("retry_of", accounts.unverified_attempt(device))
    issued = issue_many(devices=[device], method=method, data=data, **options)
    if issued.refused:
        raise issued.refused[0][1]
    return issued.calls[0]


@transaction.atomic
def issue_many(
    *,
    devices: Iterable[Device],
    method: str,
    actor: Actor,
    data: Mapping[str, Any] | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    batch: ServiceCallBatch | None = None,
    retry_of: ServiceCall | None = None,
    idempotency_key: str = "",
) -> Issued:
    """Ask each dock for the same service; a constant number of statements.

    With `queue` an offline dock gets it when it is back, until `expires_in` has passed. Raises Refused for what is
    wrong with the request itself; docks that cannot get it are told with the reason in the result.
    """
    spec = check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    given = read(spec, data)
    subject = spec.subject(given)
    found = _make(
        spec,
        [_Wish(device, subject, given) for device in {device.pk: device for device in devices}.values()],
        actor=actor,
        life=_life(expires_in, queue=queue),
        common={
            "requested_by": actor.user,
            "requested_with": actor.key,
            "note": note,
            "queue": queue,
            "batch": batch,
            "retry_of": retry_of,
            "idempotency_key": idempotency_key,
        },
    )
    issued = Issued([], [])
    for device, _, made in found:
        if isinstance(made, Refused):
            issued.refused.append((device, made))
        else:
            issued.calls.append(made)
    return issued


@transaction.atomic
def issue_each(
    *,
    requests: Iterable[tuple[Device, Mapping[str, Any]]],
    method: str,
    actor: Actor,
    note: str = "",
    queue: bool = False,
    batch: ServiceCallBatch | None = None,
) -> list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]]:
    """Ask docks for one service, each with data of its own, a dock perhaps several times; like `issue_many`.

    Returns, by serial number of the dock, what became of each request.
    """
    spec = check(method, note=note, queue=queue)
    wishes = []
    for device, data in requests:
        given = read(spec, data)
        wishes.append(_Wish(device, spec.subject(given), given))
    common = {
        "requested_by": actor.user,
        "requested_with": actor.key,
        "note": note,
        "queue": queue,
        "batch": batch,
    }
    return _make(spec, wishes, actor=actor, life=_life(None, queue=queue), common=common)


class _Wish(NamedTuple):
    """One dock, as whoever asks knows it, and what it is to be asked."""

    device: Device
    subject: str
    given: Mapping[str, Any]


def _life(expires_in: timedelta | None, *, queue: bool) -> timedelta:
    return expires_in or timedelta(seconds=settings.SERVICE_CALL_EXPIRES["queue" if queue else ""])


def _make(
    spec: Method, wishes: Sequence[_Wish], *, actor: Actor, life: timedelta, common: Mapping[str, Any]
) -> list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]]:
    """A call for every wish that can be granted, else why not, in the order of the docks' serial numbers."""
    now = timezone.now()
    found: list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]] = []
    made: list[tuple[ServiceCall, Mapping[str, Any]]] = []
    for device, wish, reason in _judge(wishes, spec, queue=common["queue"], now=now):
        if reason is not None:
            found.append((device, wish.given, reason))
            continue
        call = ServiceCall(
            device=device,
            organization=device.organization,
            method=spec.name,
            subject=wish.subject,
            data=spec.masked(dict(wish.given)),
            created=now,
            updated=now,
            expires=now + life,
            **common,
        )
        made.append((call, wish.given))
        found.append((device, wish.given, call))
    calls = [call for call, _ in made]
    _check_payloads(spec, calls)
    if spec.supersedes:
        supersede(spec, calls, actor=actor, now=now)
    _insert(spec, made, actor=actor, now=now)
    _enqueue(calls, common["batch"])
    return found


def _judge(
    wishes: Sequence[_Wish], spec: Method, *, queue: bool, now: datetime
) -> list[tuple[Device, _Wish, Refused | None]]:
    """The docks of the wishes, locked, each with the reason why it cannot be asked, or None.

    Whoever asks was allowed to for the owner that the given device names: one with another owner now is refused.
    """
    rows = Device.objects.filter(pk__in={wish.device.pk for wish in wishes})
    devices = {row.pk: row for row in rows.select_related("organization", "state").lock_in_order()}
    places = {key: place for place, key in enumerate(devices)}
    open_calls = ServiceCall.objects.open().filter(device__in=devices, subject__in={wish.subject for wish in wishes})
    busy = set(open_calls.exclude(method__in=spec.supersedes).values_list("device_id", "subject"))
    watched = watch(now)
    judged: list[tuple[Device, _Wish, Refused | None]] = []
    there = [wish for wish in wishes if wish.device.pk in devices]
    for wish in sorted(there, key=lambda wish: places[wish.device.pk]):
        device = devices[wish.device.pk]
        if device.organization_id != wish.device.organization_id:
            judged.append((wish.device, wish, Refused(Refused.Kind.UNCLAIMED, MOVED)))
            continue
        reason = _unfit(device, spec, queue=queue, watched=watched)
        if reason is None and (device.pk, wish.subject) in busy:
            text = f"{spec.label}: this dock is busy with another call of this kind."
            reason = Refused(Refused.Kind.BUSY, text)
        busy.add((device.pk, wish.subject))
        judged.append((device, wish, reason))
    return judged


def check(method: object, *, note: object = "", queue: bool = False, idempotency_key: object = "") -> Method:
    """The service of this name; raises Refused for what no dock could be asked, whatever the data."""
    spec = service(method)
    if not settings.COMMANDS_AVAILABLE:
        raise Refused(
            Refused.Kind.UNAVAILABLE, "No worker sends commands here: REDIS_URL is not set (see docs/configuration.md)."
        )
    _check_text("A note", note, MOST_NOTE)
    _check_text("An idempotency key", idempotency_key, MOST_KEY)
    if queue and spec.secrets:
        raise Refused(Refused.Kind.INVALID, f"{spec.label}: a password does not wait for a dock to come online.")
    return spec


def service(method: object) -> Method:
    """The service of this name; raises Refused if there is none."""
    if not isinstance(method, str):
        raise Refused(Refused.Kind.INVALID, "The name of a service is text.")
    spec = METHODS.get(method)
    if spec is None:
        raise Refused(Refused.Kind.INVALID, f"There is no service {method!r:.70}.")
    return spec


def _check_text(what: str, text: object, most: int) -> None:
    if not isinstance(text, str) or len(text) > most or not is_storable(text):
        raise Refused(
            Refused.Kind.INVALID, f"{what} is text of at most {most} characters, all of them ones that can be stored."
        )


def read(spec: Method, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """The data of a call, checked; raises Refused for what no dock could be asked."""
    try:
        return spec.read({} if data is None else data)
    except ValueError as error:
        raise Refused(Refused.Kind.INVALID, f"{spec.label}: {error}.") from None


def why_not(
    device: Device, method: str, data: Mapping[str, Any] | None = None, *, queue: bool = False, watch: Watch
) -> Refused | None:
    """Why this dock cannot be asked now, as far as its row tells; None if it can. No query.

    Without `data` only the device and the service are looked at.
    """
    try:
        spec = service(method)
        if data is not None:
            read(check(method, queue=queue), data)
    except Refused as refused:
        return refused
    return _unfit(device, spec, queue=queue, watched=watch)


def _unfit(device: Device, spec: Method, *, queue: bool, watched: Watch) -> Refused | None:
    kind = Refused.Kind
    if device.is_aircraft:
        return Refused(kind.INVALID, "An aircraft takes no commands itself: ask its dock.")
    if device.organization is None:
        return Refused(kind.UNCLAIMED, "This dock belongs to no organization.")
    if not device.is_enabled:
        return Refused(kind.DISABLED, "This dock is disabled.")
    presence = watched.presence(getattr(device, "state", None))
    if spec.secrets and presence != Presence.ONLINE:
        return Refused(kind.OFFLINE, "A password is sent only to a dock that is online.")
    if presence in (Presence.OFFLINE, Presence.NEVER) and not queue:
        return Refused(kind.OFFLINE, "This dock is offline.")
    return None


def _check_payloads(spec: Method, calls: Iterable[ServiceCall]) -> None:
    """Raise Refused now for what could not be sent later; once per organization and data."""
    build = router.payload(spec.name)
    if build is not None:
        for call in {(call.organization_id, repr(call.data)): call for call in calls}.values():
            build(call)


def _insert(
    spec: Method, made: Sequence[tuple[ServiceCall, Mapping[str, Any]]], *, actor: Actor, now: datetime
) -> None:
    calls = [call for call, _ in made]
    ServiceCall.objects.bulk_create(calls)
    if spec.secrets:
        ServiceCallSecret.objects.bulk_create(
            ServiceCallSecret(
                call=call,
                sealed=json.dumps({name: given[name] for name in spec.secrets if name in given}),
                expires=now + SECRET_LIFE,
            )
            for call, given in made
        )
    accounts.begin(calls)
    ServiceCallEvent.objects.bulk_create([event_of(call, Source.ISSUED, now) for call in calls])
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


def _enqueue(calls: Sequence[ServiceCall], batch: ServiceCallBatch | None) -> None:
    """Tell a worker after the commit; if that fails the sweep finds the calls all the same."""
    if not calls:
        return
    if batch is not None:
        tasks = [("devices.tasks.publish_service_calls", str(batch.pk))]
    else:
        tasks = [("devices.tasks.publish_service_call", str(call.pk)) for call in calls]
    transaction.on_commit(partial(_send_tasks, tasks), robust=True)


class _Pause:
    """Until when this process leaves a Redis alone that hung: it would hold thread after thread that asks it."""

    until = 0.0  # by time.monotonic()


def _send_tasks(tasks: Iterable[tuple[str, str]]) -> None:
    began = time.monotonic()
    if began < _Pause.until:
        return  # the sweep will find them
    try:
        for name, key in tasks:
            current_app.send_task(name, [key])
    except Exception as error:
        # Whatever a broken Redis raises: the row is the truth and the task only a hint.
        logger.warning("No worker could be told, the sweep will find it: %s: %s", type(error).__name__, error)
        now = time.monotonic()
        if now - began > HANGS:
            _Pause.until = now + PAUSE


def retry(
    call: ServiceCall, *, actor: Actor, data: Mapping[str, Any] | None = None, idempotency_key: str = ""
) -> ServiceCall:
    """Ask again, as a new call linked to the one that ended; what is secret must be given anew. Raises Refused."""
    if call.is_open:
        raise Refused(Refused.Kind.BUSY, "This call has not ended yet.")
    if call.device.organization_id != call.organization_id:
        raise Refused(Refused.Kind.UNCLAIMED, MOVED)
    if data is None and call.method in METHODS and METHODS[call.method].secrets:
        raise Refused(Refused.Kind.INVALID, "The password must be entered again.")
    return issue(
        device=call.device,
        method=call.method,
        data=call.data if data is None else data,
        actor=actor,
        note=call.note,
        queue=call.queue,
        retry_of=call,
        idempotency_key=idempotency_key,
    )
