"""One command to many docks: who would get it, who would not and why; starting it, stopping it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from devices.calls import asking, ending, wording
from devices.calls.methods import Method
from devices.calls.refusal import Refused
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
    data: Mapping[str, Any] | None = None,
    *,
    queue: bool = False,
    watched: Watch | None = None,
) -> Plan:
    """Sort devices into those that would get the command now and those that would not.

    A forecast: `start` asks again. Without `data` what is open at the dock is left out of account where only the
    data tell it. The devices come with `organization` and `state`; two queries, one with `watched`.
    """
    watched = watched or watch()
    rows = list(devices)
    busy = _busy(rows, method, data)
    found = Plan([], [])
    for device in rows:
        refused = asking.why_not(device, method, data, queue=queue, watch=watched)
        if refused is None and device.pk in busy:
            found.skipped.append(Skipped(device, "Such a call is open at this dock already."))
        elif refused is not None:
            found.skipped.append(Skipped(device, str(refused)))
        else:
            found.devices.append(device)
    return found


def _busy(devices: Sequence[Device], method: str, data: Mapping[str, Any] | None) -> set[int]:
    """Keys of the devices at which a call of the same subject is open."""
    try:
        spec = asking.service(method)
        subject = spec.subject(asking.read(spec, data))
    except Refused:
        return set()  # for example because it is not known yet which license
    calls = ServiceCall.objects.open().filter(subject=subject, device__in=[device.pk for device in devices])
    return set(calls.values_list("device_id", flat=True))


@transaction.atomic
def start(
    *,
    devices: Iterable[Device],
    method: str,
    data: Mapping[str, Any] | None = None,
    actor: Actor,
    note: str = "",
    queue: bool = False,
    idempotency_key: str = "",
    skipped: Iterable[Skipped] = (),
) -> ServiceCallBatch:
    """Ask all these docks for the same service, and write down who got no call and why.

    `skipped` are devices that whoever starts it has left out already, each with the reason. The batch belongs to the
    organization that owns every device named in it, else to none. Every call of it gets the `idempotency_key`. Raises
    Refused for what no dock could be asked; a constant number of queries.
    """
    spec = asking.check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    given = asking.read(spec, data)
    rows, left_out = list(devices), list(skipped)
    batch = _open([*rows, *(left.device for left in left_out)], spec, given, actor=actor, note=note)
    issued = asking.issue_many(
        devices=rows,
        method=method,
        data=given,
        actor=actor,
        note=note,
        queue=queue,
        batch=batch,
        idempotency_key=idempotency_key,
    )
    left_out += [Skipped(device, str(refused)) for device, refused in issued.refused]
    return _written(batch, len(issued.calls), left_out, actor=actor)


@transaction.atomic
def start_each(
    *,
    requests: Iterable[tuple[Device, Mapping[str, Any]]],
    method: str,
    data: Mapping[str, Any],
    actor: Actor,
    note: str = "",
    queue: bool = False,
    skipped: Iterable[Skipped] = (),
) -> ServiceCallBatch:
    """Like `start`, but each request has its own data; `data` is what they have in common."""
    spec = asking.check(method, note=note, queue=queue)
    wanted, left_out = list(requests), list(skipped)
    devices = [*(device for device, _ in wanted), *(left.device for left in left_out)]
    batch = _open(devices, spec, data, actor=actor, note=note)
    outcomes = asking.issue_each(requests=wanted, method=method, actor=actor, note=note, queue=queue, batch=batch)
    refused = [
        Skipped(device, str(made), wording.title(method, given))
        for device, given, made in outcomes
        if isinstance(made, Refused)
    ]
    return _written(batch, len(outcomes) - len(refused), left_out + refused, actor=actor)


def _open(
    devices: Iterable[Device], spec: Method, data: Mapping[str, Any], *, actor: Actor, note: str
) -> ServiceCallBatch:
    return ServiceCallBatch.objects.create(
        organization_id=owner(devices),
        method=spec.name,
        data=spec.masked(data),
        requested_by_id=actor.user.pk if actor.user else None,
        requested_with=actor.key,
        note=note,
    )


def _written(batch: ServiceCallBatch, calls: int, left_out: Sequence[Skipped], *, actor: Actor) -> ServiceCallBatch:
    """The batch with who got no call and why, in the audit trail too."""
    batch.skipped = [
        {"sn": device.sn, "callsign": device.callsign, "reason": reason} | ({"about": about} if about else {})
        for device, reason, about in sorted(left_out, key=lambda left: (left.reason, left.device.sn, left.about))
    ]
    batch.save(update_fields=["skipped"])
    after = {"method": batch.method, "data": batch.data, "calls": calls, "skipped": len(left_out)}
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
