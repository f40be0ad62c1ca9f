"""How long rows are kept that nothing else would ever delete.

A Celery task prunes them, not the bridge, whose docks would wait for it. It deletes a few rows of one table in one
transaction, then of the next table, so that a large table does not hold up the others.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, NamedTuple

from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from devices.models import Acknowledgement, Device, Pairing, ServiceCall, ServiceCallBatch
from devices.moving import retiring
from licenses.models import LicenseEvent, LicenseFileDownload, LicenseList
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from organizations import credentials
from organizations.api import idempotency
from organizations.models import AuditEvent, BindingFailure, FileJob, IdempotentAnswer, Invitation, Organization
from organizations.people.models import UserSession

PIECE: Final = 500  # rows of one transaction
SECONDS: Final = 2.0  # of one run: the worker that prunes also sends commands
FILES_KEPT: Final = timedelta(days=7)  # of imports and exports


class Kept(NamedTuple):
    """Rows that are deleted once they are older than `age`."""

    model: type[Model]
    field: str  # when the row came
    age: Callable[[], timedelta]
    only: Callable[[], QuerySet[Model]] | None = None  # the rows that may be deleted at all
    delete: Callable[[list[int]], None] | None = None  # how, where not simply by primary key
    most: int | None = None  # no more than this many stay, the newest, even if the others are younger than `age`

    def delete_piece(self, now: datetime) -> int:
        """Delete the oldest, at most PIECE, in one transaction; returns how many."""
        rows = self.only() if self.only else self.model._default_manager.all()
        limit = now - self.age()
        if self.most is not None:
            newest = rows.order_by(f"-{self.field}").values_list(self.field, flat=True)
            limit = max([limit, *newest[self.most : self.most + 1]])
        old = rows.filter(**{f"{self.field}__lte": limit}).order_by(self.field)
        keys = list(old.values_list("pk", flat=True)[:PIECE])
        if keys and self.delete is not None:
            self.delete(keys)
        elif keys:
            self.model._default_manager.filter(pk__in=keys).delete()
        return len(keys)


def _days(setting: str) -> Callable[[], timedelta]:
    return lambda: timedelta(days=getattr(settings, setting))


def _superseded_lists() -> QuerySet[LicenseList]:
    """Lists that no page shows: not the last of an inventory, nor the last with a word on whether both agree."""
    later = LicenseList.objects.filter(
        device=OuterRef("device"),
        device_model_domain=OuterRef("device_model_domain"),
        applied=True,
        asked_at__gt=OuterRef("asked_at"),
    )
    is_repeated = Q(consistence=None) | Exists(later.exclude(consistence=None))
    return LicenseList.objects.filter(is_repeated, Exists(later))


def _superseded_pairings() -> QuerySet[Pairing]:
    """Ended pairings of aircraft that have been paired since: the last one tells that a device is an aircraft."""
    later = Pairing.objects.filter(aircraft=OuterRef("aircraft"), since__gt=OuterRef("since"))
    return Pairing.objects.filter(Exists(later), until__isnull=False)


def _finished_batches() -> QuerySet[ServiceCallBatch]:
    """Batches without calls that are not still to be started."""
    is_waiting = Q(due_at__isnull=False, started_at=None, stopped=None)
    return ServiceCallBatch.objects.filter(~is_waiting, ~Exists(ServiceCall.objects.filter(batch=OuterRef("pk"))))


def _closed_organizations() -> QuerySet[Organization]:
    """Closed ones of which no device, service call or event of a license is left."""
    rows = Organization.objects.exclude(closed_at=None)
    for kept in (Device, ServiceCall, ServiceCallBatch, LicenseEvent):
        rows = rows.filter(~Exists(kept._default_manager.filter(organization=OuterRef("pk"))))
    return rows


TABLES: Final = (
    Kept(Exchange, "received_at", _days("JOURNAL_DAYS")),
    Kept(PassingEvent, "last_at", _days("JOURNAL_DAYS")),
    Kept(Trace, "until", timedelta),
    Kept(LicenseFileDownload, "at", _days("JOURNAL_DAYS")),
    # Lists, license events and a later try of a call stay, and lose their link to it.
    Kept(ServiceCall, "created", _days("SERVICE_CALL_DAYS"), lambda: ServiceCall.objects.exclude(closed=None)),
    Kept(ServiceCallBatch, "created", _days("SERVICE_CALL_DAYS"), _finished_batches),
    Kept(LicenseList, "asked_at", _days("LICENSE_LIST_DAYS"), _superseded_lists),
    Kept(LicenseEvent, "at", _days("LICENSE_EVENT_DAYS")),
    Kept(AuditEvent, "at", _days("AUDIT_DAYS")),
    Kept(Pairing, "until", _days("AUDIT_DAYS"), _superseded_pairings),
    # Of sign-ins: the first is written by anybody who tries a name.
    Kept(AccessAttempt, "attempt_time", _days("JOURNAL_DAYS")),
    Kept(AccessLog, "attempt_time", _days("AUDIT_DAYS")),
    Kept(LogEntry, "action_time", _days("AUDIT_DAYS")),
    Kept(Invitation, "expires_at", _days("AUDIT_DAYS")),
    # Anybody can make one for every serial number that they think of.
    Kept(BindingFailure, "last_at", lambda: credentials.KEPT, most=100_000),
    Kept(IdempotentAnswer, "created", lambda: idempotency.KEPT),
    Kept(UserSession, "expire_date", timedelta),
    Kept(FileJob, "created", lambda: FILES_KEPT),
    Kept(Acknowledgement, "until", timedelta),
    Kept(Organization, "closed_at", _days("AUDIT_DAYS"), _closed_organizations),
    Kept(Device, "retired_at", _days("JOURNAL_DAYS"), retiring.finished, retiring.delete_finished),
)


def prune(*, now: datetime | None = None, seconds: float = SECONDS) -> Counter[str]:
    """Delete what is too old, for about `seconds` at most; returns the number of deleted rows by model name."""
    now = now or timezone.now()
    end = monotonic() + seconds
    deleted: Counter[str] = Counter()
    unfinished = list(TABLES)
    while unfinished:
        for kept in tuple(unfinished):
            count = kept.delete_piece(now)
            deleted[kept.model.__name__] += count
            if count < PIECE:
                unfinished.remove(kept)
            if monotonic() > end:
                return deleted
    return deleted
