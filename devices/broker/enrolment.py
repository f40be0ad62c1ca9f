"""Docks that come through the enrolment broker, where anybody may use any serial number (docs/decisions/0008)."""

from collections.abc import Set
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from devices.models import BrokerAccount, Device

NOTED_EVERY = timedelta(minutes=1)


def admit(sns: Set[str]) -> set[str]:
    """Of these serial numbers, those that have no usable account of their own; the others speak for themselves.

    Notes on the admitted devices that they came this way. Two queries; two more at most once a minute for each device.
    """
    now = timezone.now()
    accounts = BrokerAccount.objects.usable(now).filter(kind=BrokerAccount.Kind.DOCK, device__sn__in=sns)
    admitted = set(sns).difference(accounts.values_list("device__sn", flat=True))
    _note(admitted, now)
    return admitted


def _note(sns: Set[str], now: datetime) -> None:
    """Set `enrolled_at`, except where another transaction is changing the device: it will come again."""
    due = Device.objects.filter(Q(enrolled_at=None) | Q(enrolled_at__lt=now - NOTED_EVERY), sn__in=sns)
    if not due.exists():
        return
    with transaction.atomic():
        rows = due.order_by("sn").select_for_update(no_key=True, skip_locked=True, of=("self",))
        keys = list(rows.values_list("pk", flat=True))
        Device.objects.filter(pk__in=keys).update(enrolled_at=now)
