"""How long rows are kept that nothing else would ever delete.

A Celery task prunes them, not the bridge, whose docks would wait for it. It works in short pieces, each
in a transaction of its own, and takes turns, so that one large table keeps no other from its turn.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from devices.models import ServiceCall, ServiceCallBatch
from licenses.models import LicenseEvent, LicenseFileDownload, LicenseList
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from organizations import credentials
from organizations.api import idempotency
from organizations.models import AuditEvent, BindingFailure, IdempotentAnswer, Invitation

PIECE: Final = 500  # rows of one transaction
SECONDS: Final = 2.0  # of one run: the worker that prunes also sends commands


class Kept(NamedTuple):
    """Rows that go once they are older than this; `field` says when they came."""

    model: Any
    field: str
    age: Callable[[], timedelta]
    only: Callable[[], QuerySet[Any]] | None = None  # the rows that may go at all
    most: int | None = None  # of which the newest stay, however young the others are


def _days(setting: str) -> Callable[[], timedelta]:
    return lambda: timedelta(days=getattr(settings, setting))


def _ended_calls() -> QuerySet[Any]:
    """Lists, license events and a later try of a call stay, and lose their link to it."""
    return ServiceCall.objects.exclude(closed=None)


def _empty_batches() -> QuerySet[Any]:
    return ServiceCallBatch.objects.filter(~Exists(ServiceCall.objects.filter(batch=OuterRef("pk"))))


def _superseded_lists() -> QuerySet[Any]:
    """Not the last word about an inventory, nor the last about whether both are the same: pages show these."""
    later = LicenseList.objects.filter(
        device=OuterRef("device"),
        device_model_domain=OuterRef("device_model_domain"),
        applied=True,
        asked_at__gt=OuterRef("asked_at"),
    )
    is_repeated = Q(consistence=None) | Exists(later.exclude(consistence=None))
    return LicenseList.objects.filter(is_repeated, Exists(later))


TABLES: Final = (
    Kept(Exchange, "received_at", _days("JOURNAL_DAYS")),
    Kept(PassingEvent, "last_at", _days("JOURNAL_DAYS")),
    Kept(Trace, "until", timedelta),
    Kept(LicenseFileDownload, "at", _days("JOURNAL_DAYS")),
    Kept(ServiceCall, "created", _days("SERVICE_CALL_DAYS"), _ended_calls),
    Kept(ServiceCallBatch, "created", _days("SERVICE_CALL_DAYS"), _empty_batches),
    Kept(LicenseList, "asked_at", _days("LICENSE_LIST_DAYS"), _superseded_lists),
    Kept(LicenseEvent, "at", _days("LICENSE_EVENT_DAYS")),
    Kept(AuditEvent, "at", _days("AUDIT_DAYS")),
    Kept(Invitation, "expires_at", _days("AUDIT_DAYS")),
    # Anybody makes one under each serial number that they think of.
    Kept(BindingFailure, "last_at", lambda: credentials.KEPT, most=100_000),
    Kept(IdempotentAnswer, "created", lambda: idempotency.KEPT),
)


def prune(*, now: datetime | None = None, seconds: float = SECONDS) -> Counter[str]:
    """Delete what is too old, for at most about so many seconds; returns how many rows of each model went."""
    now = now or timezone.now()
    end = monotonic() + seconds
    deleted: Counter[str] = Counter()
    unfinished = list(TABLES)
    while unfinished:
        for kept in tuple(unfinished):
            count = _prune_piece(kept, now)
            deleted[kept.model.__name__] += count
            if count < PIECE:
                unfinished.remove(kept)
            if monotonic() > end:
                return deleted
    return deleted


def _prune_piece(kept: Kept, now: datetime) -> int:
    rows = kept.only() if kept.only else kept.model.objects.all()
    limit = now - kept.age()
    if kept.most is not None:
        newest = rows.order_by(f"-{kept.field}").values_list(kept.field, flat=True)
        limit = max([limit, *newest[kept.most : kept.most + 1]])
    old = rows.filter(**{f"{kept.field}__lte": limit}).order_by(kept.field)
    keys = list(old.values_list("pk", flat=True)[:PIECE])
    if keys:
        kept.model.objects.filter(pk__in=keys).delete()
    return len(keys)
