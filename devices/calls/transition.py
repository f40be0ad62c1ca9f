"""The one way in which a call changes: `devices/calls/states.py` decides, while the row is locked.

Every change raises the version of the call by one, leaves an event behind, and is broadcast after the commit.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string
from msgspec import Struct
from prometheus_client import Counter

from devices.calls.method import Data
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused
from devices.calls.states import Heard, Source, Word, hear
from devices.live import broadcast
from devices.models import ServiceCall, ServiceCallEvent, ServiceCallSecret
from mqtt_bridge import router
from mqtt_bridge.database.timeouts import is_away
from organizations.audit import Actor
from organizations.models import AuditEvent

logger = logging.getLogger(__name__)

ended = Counter("service_calls_ended", "Ends of calls; a late answer is one more.", ["method", "status"])

ASK: Final = "devices.calls.asking.issue_many"  # by name, since it changes calls, too: a logout ends a login
SECRET_LIFE: Final = timedelta(seconds=120)
CLOSE_LIMIT: Final = 1000  # calls closed in one transaction
_CHANGING: Final = (
    "status", "late", "percent", "result_code", "result_text", "output", "version", "sent", "replied", "closed",
    "deadline", "updated",
)  # fmt: skip


class FollowUp(NamedTuple):
    """What to ask the same dock next, after the end of a call."""

    method: str
    data: Data


def apply(
    calls: QuerySet[ServiceCall],
    word: Callable[[ServiceCall], Word],
    *,
    now: datetime | None = None,
    limit: int | None = None,
    skip_locked: bool = False,
) -> list[ServiceCall]:
    """Let every call hear its word; returns those that it changed. Must run in a transaction.

    A call that another transaction is changing is waited for, and left out if it is no longer one of `calls` then.
    """
    now = now or timezone.now()
    rows = calls.select_related("device", "organization", "requested_by", "requested_with").order_by("pk")
    locked = rows.select_for_update(no_key=True, of=("self",), skip_locked=skip_locked)[:limit]
    changed: list[ServiceCall] = []
    events: list[ServiceCallEvent] = []
    for call in locked:
        said = word(call)
        if hear(call, said, now=now) is Heard.CHANGE:
            changed.append(call)
            events.append(event_of(call, said.source, now))
    save(changed, events)
    broadcast.tell_calls(changed)
    conclude([(call, None) for call in changed if not call.is_open])
    return changed


def save(calls: Iterable[ServiceCall], events: Sequence[ServiceCallEvent]) -> None:
    """Save calls that are locked, and their events, in two statements."""
    ServiceCall.objects.write_fields(calls, _CHANGING)
    ServiceCallEvent.objects.bulk_create(events)


def conclude(closed: Sequence[tuple[ServiceCall, Struct | None]]) -> None:
    """Apply what the end of each call means beyond itself; the data are the dock's last, None if it did not end it."""
    wanted: list[tuple[ServiceCall, FollowUp]] = []
    for call, data in closed:
        ended.labels(call.method if call.method in METHODS else "other", call.status).inc()
        outcome = router.outcome(call.method)
        if outcome is None:
            continue
        try:
            with transaction.atomic() if data is None else contextlib.nullcontext():
                wanted += [(call, following) for following in outcome(call, data) or ()]
        except Exception as error:
            if data is not None or is_away(error):
                raise
            # The dock did not end it: a fault here must not keep all other calls open, again and again.
            logger.exception("The end of service call %s has no effect", call.pk)
    forget_secrets([call for call, _ in closed])
    if wanted:
        # After the commit: asking locks docks, which must not come after the lock on a call.
        transaction.on_commit(lambda: _follow_up(wanted), robust=True)


def _follow_up(wanted: Iterable[tuple[ServiceCall, FollowUp]]) -> None:
    """Ask on behalf of who asked before; docks that are asked the same for the same person together."""
    groups: defaultdict[tuple[object, ...], list[tuple[ServiceCall, FollowUp]]] = defaultdict(list)
    for call, following in wanted:
        actor = (call.requested_by_id, call.requested_with_id)
        groups[actor, call.method, following.method, repr(following.data)].append((call, following))
    for group in groups.values():
        call, following = group[0]
        try:
            issued = import_string(ASK)(
                devices=[one.device for one, _ in group],
                method=following.method,
                data=following.data,
                actor=Actor(AuditEvent.Through.BRIDGE, user=call.requested_by, key=call.requested_with),
                note=f"after {call.method}",
            )
        except Refused as refused:
            logger.warning("Nothing is asked after %s: %s", call.method, refused)
            continue
        for device, reason in issued.refused:  # one is under way already, or the dock has gone
            logger.info("No %s after %s of %s: %s", following.method, call.method, device.sn, reason)


def forget_secrets(calls: Iterable[ServiceCall]) -> None:
    """Delete the passwords and codes of these calls; no query if their methods have none."""
    secretive = [call.pk for call in calls if call.method in METHODS and METHODS[call.method].secrets]
    if secretive:
        ServiceCallSecret.objects.filter(call__in=secretive).delete()


def event_of(call: ServiceCall, source: Source, now: datetime) -> ServiceCallEvent:
    """The entry of a call's history for what it is now; not saved."""
    return ServiceCallEvent(
        call=call,
        version=call.version,
        at=now,
        source=source,
        status=call.status,
        percent=call.percent,
        result_code=call.result_code,
        text=call.result_text,
    )
