"""One command to many docks: who would get it, who would not and why; starting it, stopping it."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from devices.calls import asking, ending, wording
from devices.calls.method import Data
from devices.calls.refusal import Refused, open_subjects, why_not
from devices.models import Device, ServiceCall, ServiceCallBatch
from devices.presence import Watch, watch
from organizations import audit
from organizations.audit import Actor


class Skipped(NamedTuple):
    """A device that gets no command, and why not, in a sentence; with `about` what the command was about."""

    device: Device
    reason: str
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
    idempotency_key: str = "",
    skipped: Iterable[Skipped] = (),
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
    )
    outcomes = asking.issue_each(
        requests=wanted,
        method=method,
        actor=actor,
        note=note,
        queue=queue,
        batch=batch,
        idempotency_key=idempotency_key,
    )
    left_out += [
        Skipped(device, str(made), wording.title(method, given) if given != data else "")
        for device, given, made in outcomes
        if isinstance(made, Refused)
    ]
    batch.skipped = [
        {"sn": device.sn, "callsign": device.callsign, "reason": reason} | ({"about": about} if about else {})
        for device, reason, about in sorted(left_out, key=lambda left: (left.reason, left.device.sn, left.about))
    ]
    batch.save(update_fields=["skipped"])
    calls = sum(isinstance(outcome.made, ServiceCall) for outcome in outcomes)
    after = {"method": method, "data": batch.data, "calls": calls, "skipped": len(left_out)}
    audit.record([audit.event(actor, "start batch", batch, organization_id=batch.organization_id, after=after)])
    return batch


@transaction.atomic
def stop(batch: ServiceCallBatch, *, actor: Actor) -> int:
    """Call off what is not sent yet; returns how many calls. What is sent runs on."""
    canceled = ending.cancel_many(ServiceCall.objects.filter(batch=batch), actor=actor)
    ServiceCallBatch.objects.filter(pk=batch.pk, stopped=None).update(stopped=timezone.now())
    after = {"canceled": canceled}
    audit.record([audit.event(actor, "stop batch", batch, organization_id=batch.organization_id, after=after)])
    return canceled


def counts(batches: Iterable[ServiceCallBatch]) -> dict[UUID, dict[str, int]]:
    """How many calls of each batch are in which status, without those in none; one query, none for no batch."""
    rows = ServiceCall.objects.filter(batch__in=list(batches)).order_by().values_list("batch", "status")
    found: dict[UUID, dict[str, int]] = {}
    for batch, status, count in rows.annotate(Count("pk")):
        found.setdefault(batch, {})[status] = count
    return found


def why_mixed(devices: Iterable[Device]) -> str:
    """Why these devices make no batch of anybody but platform staff; "" if they do."""
    if len({device.organization_id for device in devices}) < 2:
        return ""
    return "Choose docks of one organization: a batch belongs to one."


def owner(devices: Iterable[Device]) -> int | None:
    """The key of the organization that owns all of these devices; None if several do, or nobody owns one of them."""
    owners = {device.organization_id for device in devices}
    return owners.pop() if len(owners) == 1 else None
