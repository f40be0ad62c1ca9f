"""The ends of calls that no dock brings about: canceled, superseded, abandoned, overdue."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused
from devices.calls.states import CALLED_OFF, Source, Status, Word, silence
from devices.calls.transition import CLOSE_LIMIT, SECRET_LIFE, apply
from devices.models import ServiceCall, ServiceCallQuerySet, ServiceCallSecret
from organizations import audit
from organizations.audit import Actor
from organizations.models import CLOCK_TOLERANCE

GRACE: Final = timedelta(seconds=5)  # for what the broker kept while no bridge listened
_SUPERSEDED: Final = (
    gettext_noop("superseded by a logout."),
    gettext_noop("superseded by a logout. What the dock did is unknown."),
)
_RELEASED: Final = (
    gettext_noop("the dock was released."),
    gettext_noop("the dock was released. What the dock did is unknown."),
)
_TRANSFERRED: Final = (
    gettext_noop("the dock was transferred."),
    gettext_noop("the dock was transferred. What the dock did is unknown."),
)


def cancel(call: ServiceCall, *, actor: Actor) -> None:
    """Call it off before it is sent; raises Refused once it is, or has ended."""
    rows = ServiceCall.objects.filter(pk=call.pk)
    if not cancel_many(rows, actor=actor):
        is_sent = rows.open().exists()
        why = _("It has been sent already: nobody can take it back.") if is_sent else _("It has been closed already.")
        raise Refused(Refused.Kind.CLOSED, why)


@transaction.atomic
def cancel_many(calls: ServiceCallQuerySet, *, actor: Actor) -> int:
    """Call off those that are not sent; returns how many."""
    queued = calls.filter(status=Status.QUEUED).lock_in_order()
    canceled = apply(queued, lambda _call: CALLED_OFF)
    _audit_canceled(canceled, actor=actor)
    return len(canceled)


def _audit_canceled(calls: Iterable[ServiceCall], *, actor: Actor) -> None:
    audit.record(
        audit.event(
            actor,
            "cancel command",
            call.device,
            organization_id=call.organization_id,
            after={"method": call.method, "call": str(call.pk), "reason": call.result_text},
        )
        for call in calls
    )


def supersede(method: Method, calls: Sequence[ServiceCall], *, actor: Actor, now: datetime) -> None:
    """Close the open calls that these take the place of. A dock's later word on such a call changes nothing."""
    docks = {call.device_id: call.subject for call in calls}
    rows = ServiceCall.objects.open().filter(
        device__in=docks, subject__in=set(docks.values()), method__in=method.supersedes
    )
    _audit_canceled(apply(rows.lock_in_order(), _interrupted(_SUPERSEDED), now=now), actor=actor)


def abandon(device_ids: Iterable[int], *, is_transfer: bool = False) -> None:
    """Close what is open for devices that leave their organization; must run in a transaction."""
    calls = ServiceCall.objects.open().filter(device__in=list(device_ids))
    apply(calls.lock_in_order(), _interrupted(_TRANSFERRED if is_transfer else _RELEASED))


def _interrupted(why: tuple[str, str]) -> Callable[[ServiceCall], Word]:
    """The end of calls that the dock may be carrying out: in words for one that was not sent, and for one that was."""
    return lambda call: Word(Source.PERSON, Status.CANCELED, text=why[call.status != Status.QUEUED])


@transaction.atomic
def close_overdue(*, now: datetime | None = None, listening_since: datetime | None = None) -> int:
    """Close what was not sent or not answered in time; returns how many. Called by the bridge's timer and by beat.

    A bridge that listens only since a moment ago waits: what docks answered before is on its way to it.
    """
    now = now or timezone.now()
    if listening_since is not None and now - listening_since < GRACE:
        return 0
    from_future = Q(expires__gt=now + SECRET_LIFE + CLOCK_TOLERANCE)  # our clock was set back
    ServiceCallSecret.objects.filter(Q(expires__lt=now) | from_future).delete()

    def word(call: ServiceCall) -> Word:
        if call.status != Status.QUEUED:
            return Word(Source.CLOCK, Status.TIMED_OUT)
        if call.result_text:  # why it waits
            return Word(Source.CLOCK, Status.EXPIRED, text=gettext_noop("the dock did not connect in time."))
        if call.queue:
            return Word(Source.CLOCK, Status.EXPIRED, text=gettext_noop("the dock did not come online in time."))
        return Word(Source.CLOCK, Status.EXPIRED, text=gettext_noop("no worker sent it in time."))

    overdue = ServiceCall.objects.overdue(now, longest=max(silence(method) for method in METHODS))
    return len(apply(overdue.lock_in_order(skip_locked=True)[:CLOSE_LIMIT], word))
