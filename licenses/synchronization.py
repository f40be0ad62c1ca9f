"""Reading the license lists of docks by schedule, a few at a time."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext_noop

from devices.calls import asking, methods
from devices.models import Device, ServiceCall
from licenses.models import Inventory, LicenseList
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization

RETRY_AFTER = timedelta(hours=1)  # a dock that did not answer is not asked again before
# What changes each inventory. A bridge that is killed between the dock's answer and the question that follows it never
# asks that, so the next list is due at once, for a week.
CHANGES = {Inventory.AIRCRAFT: (methods.SWITCH, methods.UPDATE), Inventory.DOCK: (methods.UPDATE,)}
CHANGED_WITHIN = timedelta(days=7)


def synchronize(*, now: datetime | None = None) -> int:
    """Ask docks that are online for the lists that are due; returns how many. Called once a minute.

    LICENSE_SYNC_PER_MINUTE at most, first those never read, then the oldest: a fleet that comes online at once is read
    in turn, and stays spread over time.
    """
    if not settings.COMMANDS_AVAILABLE:
        return 0
    now = now or timezone.now()
    asked = 0
    for domain in Inventory:
        issued = asking.issue_many(
            devices=due(domain, now)[: settings.LICENSE_SYNC_PER_MINUTE - asked],
            method=methods.LIST,
            data={"device_model_domain": int(domain)},
            actor=Actor(AuditEvent.Through.SCHEDULE),
            note=gettext_noop("by schedule"),
            by_schedule=True,
        )
        asked += len(issued.calls)
    return asked


def due(domain: Inventory, now: datetime) -> QuerySet[Device]:
    """Docks whose list of this inventory is too old for their organization, or older than a change; oldest first."""
    subject = methods.METHODS[methods.LIST].subject({"device_model_domain": int(domain)})
    lists = LicenseList.objects.filter(device=OuterRef("pk"), device_model_domain=domain, applied=True)
    attempts = ServiceCall.objects.filter(
        device=OuterRef("pk"), organization=OuterRef("organization"), subject=subject, created__gt=now - RETRY_AFTER
    )
    # It may be on its way for a moment.
    changes = ServiceCall.objects.filter(
        device=OuterRef("pk"),
        organization=OuterRef("organization"),
        method__in=CHANGES[domain],
        status=ServiceCall.Status.SUCCEEDED,
        created__gt=now - CHANGED_WITHIN,
        closed__lte=now - timedelta(minutes=1),
    )
    unread = changes.filter(closed__gt=OuterRef("read_at"))
    # Organizations without hours want no schedule.
    hours = Organization.objects.exclude(license_sync_hours=None).values_list("license_sync_hours", flat=True)
    is_due = Q(is_unread=True)
    for each in set(hours):
        is_old = Q(read_at=None) | Q(read_at__lte=now - timedelta(hours=each or 0))
        is_due |= Q(organization__license_sync_hours=each) & is_old
    docks = Device.objects.docks().filter(is_enabled=True, organization__is_active=True, state__online=True)
    found = docks.annotate(read_at=Subquery(lists.order_by("-asked_at").values("asked_at")[:1]))
    found = found.annotate(is_unread=Exists(unread), tried=Exists(attempts)).filter(is_due, tried=False)
    return found.order_by(F("read_at").asc(nulls_first=True), "pk")
