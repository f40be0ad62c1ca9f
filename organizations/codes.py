"""Binding codes: issue, revoke, find by state."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from organizations import audit
from organizations.audit import Actor
from organizations.models import BindingCode, Organization

State = BindingCode.State


def in_state(codes: QuerySet[BindingCode], state: str, now: datetime | None = None) -> QuerySet[BindingCode]:
    """The codes in this state, as `BindingCode.state_at` has it, but `USABLE` finds those that expire soon, too."""
    now = now or timezone.now()
    live = codes.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    unused = live.filter(Q(max_uses=None) | Q(uses__lt=F("max_uses")))
    usable = unused.filter(organization__is_active=True)
    if state == State.USABLE:
        return usable
    if state == State.EXPIRING:
        return usable.filter(expires_at__lte=now + BindingCode.SOON)
    if state == State.USED_UP:
        return live.filter(uses__gte=F("max_uses"))
    if state == State.EXPIRED:
        return codes.filter(expires_at__lte=now, revoked_at=None)
    if state == State.INACTIVE:
        return unused.filter(organization__is_active=False)
    return codes.exclude(revoked_at=None)


def issue(
    *, actor: Actor, organization: Organization, code: str | None = None, **fields: object
) -> tuple[BindingCode, str]:
    """Make a code, audited; returns its row and the plain code, which is stored nowhere.

    Raises ValidationError for an own code that is too short or already taken in this organization.
    """
    with transaction.atomic():
        row, plain = BindingCode.objects.issue(organization=organization, code=code, created_by=actor.user, **fields)
        audit.record([_issued(actor, row)])
    return row, plain


def issue_many(
    *, actor: Actor, organization: Organization, labels: Sequence[str], **fields: object
) -> list[tuple[BindingCode, str]]:
    """Make a code for each label, audited under one request id; as `issue`. A constant number of queries."""
    with transaction.atomic():
        made = BindingCode.objects.issue_many(organization=organization, labels=labels, created_by=actor.user, **fields)
        audit.record(_issued(actor, row) for row, _ in made)
    return made


def _issued(actor: Actor, row: BindingCode) -> audit.Event:
    expires_at = row.expires_at.isoformat() if row.expires_at else None
    after = {"label": row.label, "expires_at": expires_at, "max_uses": row.max_uses}
    return audit.event(actor, "issue", row, organization_id=row.organization_id, after=after)


def revoke(codes: Iterable[BindingCode], *, actor: Actor) -> int:
    """End these codes, so that they bind nothing any more, audited; returns how many were not revoked before."""
    with transaction.atomic():
        locked = BindingCode.objects.select_for_update().order_by("pk")
        rows = list(locked.filter(pk__in=[code.pk for code in codes], revoked_at=None))
        BindingCode.objects.filter(pk__in=[row.pk for row in rows]).update(revoked_at=timezone.now())
        audit.record(
            audit.event(actor, "revoke", row, organization_id=row.organization_id, before={"uses": row.uses})
            for row in rows
        )
    return len(rows)
