"""One command to many docks: who would get it, who would not and why; starting it, stopping it."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext, override
from django.utils.translation import gettext_lazy as _

from devices.calls import asking, ending
from devices.calls.method import Data
from devices.calls.methods import LIST, title
from devices.calls.refusal import Refused, open_subjects, why_not
from devices.models import Device, ServiceCall, ServiceCallBatch, ServiceCallQuerySet
from devices.presence import Watch, watch
from organizations import audit
from organizations.audit import Actor
from organizations.language.stored import english

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Status = ServiceCall.Status
UNSUCCESSFUL: Final = (Status.FAILED, Status.REJECTED, Status.EXPIRED, Status.TIMED_OUT)
# As `ServiceCall.is_without_list`.
WITHOUT_LIST: Final = Q(status=Status.SUCCEEDED, method=LIST) & ~Q(output__has_key="licenses")
MISSED: Final = Q(status__in=UNSUCCESSFUL) | WITHOUT_LIST  # did not do what it was for
NO_LIST: Final = "no_list"
OUTCOME: Final = Case(When(WITHOUT_LIST, then=Value(NO_LIST)), default=F("status"))  # the status, or NO_LIST


class Skipped(NamedTuple):
    """A device that gets no command, and why not, in a sentence; with `about` what the command was about."""

    device: Device
    reason: "StrOrPromise"
    about: str = ""


class Plan(NamedTuple):
    """What a batch would do at this moment."""

    devices: list[Device]
    skipped: list[Skipped]


def plan(
    devices: Iterable[Device],
    method: str,
    data: Data | None = None,
    *,
    queue: bool = False,
    watched: Watch | None = None,
) -> Plan:
    """Sort devices into those that would get the command now and those that would not.

    A forecast: `start` decides again. Without `data`, or with too little to tell what the call is about, open calls
    are left out of account. The devices come with `organization` and `state`; two queries, one with `watched`.
    """
    rows = list(devices)
    try:
        service = asking.check(method, queue=queue)
        given = {} if data is None else asking.read(service, data)
    except Refused as error:
        return Plan([], [Skipped(device, str(error)) for device in rows])
    watched = watched or watch()
    subject = ""
    busy: set[tuple[int, str]] = set()
    with contextlib.suppress(KeyError):  # for example because it is not known yet which license
        subject = service.subject(given)
        busy = open_subjects(service, [device.pk for device in rows], [subject])
    found = Plan([], [])
    for device in rows:
        refused = why_not(device, service, watch=watched, queue=queue, subject=subject, busy=busy)
        if refused is None:
            found.devices.append(device)
        else:
            found.skipped.append(Skipped(device, str(refused)))
    return found


def start(
    *,
    devices: Iterable[Device],
    method: str,
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    idempotency_key: str = "",
    skipped: Iterable[Skipped] = (),
) -> ServiceCallBatch:
    """Ask all these docks for the same service, as `start_each`."""
    service = asking.check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    given = asking.read(service, {} if data is None else data)
    return start_each(
        requests=[(device, given) for device in {device.pk: device for device in devices}.values()],
        method=method,
        actor=actor,
        data=given,
        note=note,
        queue=queue,
        expires_in=expires_in,
        idempotency_key=idempotency_key,
        skipped=skipped,
    )


@transaction.atomic
def start_each(
    *,
    requests: Iterable[tuple[Device, Data]],
    method: str,
    actor: Actor,
    data: Data,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    idempotency_key: str = "",
    skipped: Iterable[Skipped] = (),
    retries: Mapping[tuple[int, str], ServiceCall] = MappingProxyType({}),
) -> ServiceCallBatch:
    """Ask docks for one service, each with its own data, and write down which got no call and why.

    `data` is what all requests have in common. `skipped` are devices that the caller has left out already, each with
    the reason. The batch belongs to the organization that owns every device named in it, else to none. Every call of
    it gets the `idempotency_key`. Raises Refused for what no dock could be asked; a constant number of queries.
    """
    service = asking.check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    wanted, left_out = list(requests), list(skipped)
    batch = ServiceCallBatch.objects.create(
        organization_id=owner([*(device for device, _ in wanted), *(left.device for left in left_out)]),
        method=method,
        data=service.masked(data),
        requested_by_id=actor.user.pk if actor.user else None,
        requested_with=actor.key,
        note=note,
        queue_seconds=queue_seconds(queue, expires_in),
    )
    ask(
        batch,
        wanted,
        actor=actor,
        expires_in=expires_in,
        idempotency_key=idempotency_key,
        skipped=left_out,
        retries=retries,
    )
    return batch


def ask(
    batch: ServiceCallBatch,
    requests: Iterable[tuple[Device, Data]],
    *,
    actor: Actor,
    expires_in: timedelta | None = None,
    idempotency_key: str = "",
    skipped: Iterable[Skipped] = (),
    retries: Mapping[tuple[int, str], ServiceCall] = MappingProxyType({}),
) -> None:
    """Make the calls of a batch, each with its own data, and write down which docks got none; in a transaction."""
    service, left_out = asking.check(batch.method), list(skipped)
    outcomes = asking.issue_each(
        requests=requests,
        method=batch.method,
        actor=actor,
        note=batch.note,
        queue=batch.queue_seconds is not None,
        expires_in=expires_in or timedelta(seconds=batch.queue_seconds or 0) or None,
        batch=batch,
        retries=retries,
        idempotency_key=idempotency_key,
    )
    with override("en"):  # what the batch keeps
        for device, given, made in outcomes:
            if isinstance(made, Refused):
                about = "" if service.masked(given) == batch.data else title(batch.method, given)
                left_out.append(Skipped(device, str(made), about))
    record(batch, sum(isinstance(outcome.made, ServiceCall) for outcome in outcomes), left_out, actor=actor)


def record(batch: ServiceCallBatch, calls: int, skipped: Sequence[Skipped], *, actor: Actor) -> None:
    """Write down that a batch was started with so many calls, and which docks got none."""
    rows = [
        {"sn": device.sn, "callsign": device.callsign, "reason": english(reason)} | ({"about": about} if about else {})
        for device, reason, about in skipped
    ]
    batch.skipped = sorted(rows, key=lambda row: (row["reason"], row["sn"], row.get("about", "")))
    batch.save(update_fields=["skipped"])
    after = {"method": batch.method, "data": batch.data, "calls": calls, "skipped": len(skipped)}
    audit.record([audit.event(actor, "start batch", batch, organization_id=batch.organization_id, after=after)])


def queue_seconds(queue: bool, expires_in: timedelta | None) -> int | None:
    """How long the calls of a batch wait for docks that are offline; None for not at all."""
    if not queue:
        return None
    return int(expires_in.total_seconds()) if expires_in else int(settings.SERVICE_CALL_EXPIRES["queue"])


def with_outcome(calls: ServiceCallQuerySet, outcome: str) -> ServiceCallQuerySet:
    """Those with this `OUTCOME`, as the indexes on the status find them."""
    return calls.filter(WITHOUT_LIST) if outcome == NO_LIST else calls.filter(~WITHOUT_LIST, status=outcome)


def retryable(calls: ServiceCallQuerySet) -> ServiceCallQuerySet:
    """Those that did not do what they were for and were not tried again yet, as far as the owner still has the dock."""
    return calls.filter(MISSED, retries=None, device__organization=F("organization"))


@transaction.atomic
def retry(
    calls: ServiceCallQuerySet,
    *,
    method: str,
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
) -> ServiceCallBatch:
    """Ask again what failed of these calls of one method, as a new batch, each linked to the call it repeats.

    Each gets the data of its call, or all get `data`, which a method with secrets needs. A call that was tried again
    already is left out, also if two people try at the same moment. Raises Refused if nothing is left.
    """
    service = asking.check(method, note=note, queue=queue)
    if data is None and service.secrets:
        raise Refused(Refused.Kind.INVALID, _("The password must be entered again."))
    given = None if data is None else asking.read(service, data)
    rows = list(retryable(calls).filter(method=method).select_related("device").order_by("-created"))
    # The second of two people waits here until the first one's calls are there. Docks are locked before calls.
    list(Device.objects.filter(pk__in={call.device_id for call in rows}).lock_in_order())
    done = set(ServiceCall.objects.filter(retry_of__in=rows).values_list("retry_of", flat=True))
    requests: dict[tuple[int, str], tuple[Device, Data]] = {}
    retries: dict[tuple[int, str], ServiceCall] = {}
    for call in rows:
        wanted = call.data if given is None else given
        key = (call.device_id, service.subject(wanted))
        if call.pk not in done and key not in requests:  # of several about one thing, the newest
            requests[key], retries[key] = (call.device, wanted), call
    if not requests:
        raise Refused(Refused.Kind.CLOSED, _("Nothing is left to try again."))
    wishes = [wanted for _, wanted in requests.values()]
    return start_each(
        requests=requests.values(),
        method=method,
        actor=actor,
        data={name: value for name, value in wishes[0].items() if all(one.get(name) == value for one in wishes)},
        note=note,
        queue=queue,
        expires_in=expires_in,
        retries=retries,
    )


@transaction.atomic
def stop(batch: ServiceCallBatch, *, actor: Actor) -> int:
    """Call off what is not sent yet; returns how many calls. What is sent runs on, what is planned never starts."""
    # First the batch: if it is being started at this moment, its calls are there once this statement ends.
    ServiceCallBatch.objects.filter(pk=batch.pk, stopped=None).update(stopped=timezone.now())
    canceled = ending.cancel_many(ServiceCall.objects.filter(batch=batch), actor=actor)
    after = {"canceled": canceled}
    audit.record([audit.event(actor, "stop batch", batch, organization_id=batch.organization_id, after=after)])
    return canceled


def counts(batches: Iterable[ServiceCallBatch], by: str | Case = "status") -> dict[UUID, dict[str, int]]:
    """How many calls of each batch are in which status, without those in none; one query, none for no batch."""
    rows = ServiceCall.objects.filter(batch__in=list(batches)).order_by().values_list("batch", by)
    found: dict[UUID, dict[str, int]] = {}
    for batch, status, count in rows.annotate(Count("pk")):
        found.setdefault(batch, {})[status] = count
    return found


def why_mixed(devices: Iterable[Device]) -> str:
    """Why these devices make no batch of anybody but platform staff; "" if they do."""
    if len({device.organization_id for device in devices}) < 2:
        return ""
    return gettext("Choose docks of one organization: a batch belongs to one.")


def owner(devices: Iterable[Device]) -> int | None:
    """The key of the organization that owns all of these devices; None if several do, or nobody owns one of them."""
    owners = {device.organization_id for device in devices}
    return owners.pop() if len(owners) == 1 else None
