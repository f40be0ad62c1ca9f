"""Batches that start later: planning one, and starting what is due."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from devices.calls import asking, batches
from devices.calls.batches import Skipped
from devices.calls.method import Data
from devices.calls.refusal import MOVED, Refused
from devices.models import Device, ServiceCallBatch
from mqtt_bridge.database.timeouts import is_away
from organizations import audit, rights
from organizations.audit import Actor
from organizations.models import AuditEvent, Role

logger = logging.getLogger(__name__)

FURTHEST: Final = timedelta(days=31)
LATEST: Final = timedelta(hours=1)  # a command for the night is not sent in the morning
# Stored in English.
MISSED: Final = gettext_noop("It was not started within an hour of its time: no worker ran.")
NO_RIGHT: Final = gettext_noop("The person who planned it may not command this dock any more.")
GONE: Final = gettext_noop("The person who planned it was deleted.")


@transaction.atomic
def schedule(
    *,
    devices: Iterable[Device],
    method: str,
    due_at: datetime,
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    zone: str = "",
) -> ServiceCallBatch:
    """Plan a batch; whom it asks is decided when it starts. Raises Refused for what no dock could be asked.

    Nothing secret can be planned, since it would have to be kept until then. With a `zone` it is the batch of the docks
    of that time zone, and says when it starts there.
    """
    service = asking.check(method, note=note, queue=queue)
    given = asking.read(service, {} if data is None else data)
    if service.secrets:
        raise Refused(Refused.Kind.INVALID, _("A password is not kept for later."))
    now = timezone.now()
    if not now < due_at <= now + FURTHEST:
        raise Refused(Refused.Kind.INVALID, _("Choose a moment within the next 31 days."))
    rows = list(devices)
    batch = ServiceCallBatch.objects.create(
        organization_id=batches.owner(rows),
        method=method,
        data=given,
        requested_by_id=actor.user.pk if actor.user else None,
        requested_with=actor.key,
        note=note,
        due_at=due_at,
        planned=[
            {"device": device.pk, "organization": device.organization_id} | ({"zone": zone} if zone else {})
            for device in rows
        ],
        queue_seconds=batches.queue_seconds(queue, expires_in),
    )
    after = {"method": method, "data": given, "due": due_at.isoformat(), "devices": len(rows)}
    audit.record([audit.event(actor, "plan batch", batch, organization_id=batch.organization_id, after=after)])
    return batch


@transaction.atomic
def schedule_by_zone(
    *,
    devices: Iterable[Device],
    method: str,
    due_in: Mapping[str, datetime],
    actor: Actor,
    data: Data | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
) -> list[ServiceCallBatch]:
    """Plan one batch for the docks of each time zone, at the moment that `due_in` has for it; all or none."""
    docks: dict[str, list[Device]] = {}
    for device in devices:
        docks.setdefault(device.time_zone, []).append(device)
    made = []
    for zone, rows in sorted(docks.items()):
        try:
            batch = schedule(
                devices=rows,
                method=method,
                due_at=due_in[zone],
                actor=actor,
                data=data,
                note=note,
                queue=queue,
                expires_in=expires_in,
                zone=zone,
            )
        except Refused as refused:
            raise Refused(refused.kind, f"{zone}: {refused}") from None
        made.append(batch)
    return made


def start_due(*, now: datetime | None = None) -> int:
    """Start the batches that are due, each once, however many workers do this at once; returns how many."""
    now = now or timezone.now()
    due = ServiceCallBatch.objects.filter(due_at__lte=now, started_at=None, stopped=None).order_by("due_at", "pk")
    started, failed = 0, list[UUID]()
    while True:
        with transaction.atomic():
            # Locked by this worker alone until its calls are there; another one takes the next.
            batch = due.exclude(pk__in=failed).select_for_update(of=("self",), skip_locked=True).first()
            if batch is None:
                return started
            try:
                with transaction.atomic():
                    _start(batch, now)
                started += 1
            except Exception as error:
                if is_away(error):
                    raise
                # It must not keep the others waiting; it is tried again with the next beat.
                failed.append(batch.pk)
                logger.exception("Batch %s was not started", batch.pk)


def _start(batch: ServiceCallBatch, now: datetime) -> None:
    """Ask the planned docks; who planned it must still be allowed to, and each dock still be where it was."""
    batch.started_at = now
    batch.save(update_fields=["started_at"])
    plan: list[dict[str, Any]] = batch.planned or []
    found = Device.objects.filter(pk__in=[one["device"] for one in plan]).select_related("organization", "state")
    docks = {device.pk: device for device in found.order_by("sn")}
    owners = {one["device"]: one["organization"] for one in plan}
    actor = Actor(AuditEvent.Through.SCHEDULE, user=batch.requested_by, key=batch.requested_with)
    principal = batch.requested_by or batch.requested_with
    held = rights.of(principal) if principal is not None else None
    requests: list[tuple[Device, Data]] = []
    skipped: list[Skipped] = []
    for device in docks.values():
        if now - (batch.due_at or now) > LATEST:
            skipped.append(Skipped(device, MISSED))
        elif held is None:
            skipped.append(Skipped(device, GONE))
        elif device.organization_id != owners[device.pk]:
            device.callsign = ""  # its new owner's
            skipped.append(Skipped(device, MOVED))
        elif not held.may(Role.OPERATOR, device.organization_id):
            skipped.append(Skipped(device, NO_RIGHT))
        else:
            requests.append((device, batch.data))
    try:
        with transaction.atomic():
            batches.ask(batch, requests, actor=actor, skipped=skipped)
    except Refused as refused:  # no dock could be asked: the service is gone, or takes other data since an upgrade
        left_out = [*skipped, *(Skipped(device, str(refused)) for device, _ in requests)]
        batches.record(batch, 0, left_out, actor=actor)
