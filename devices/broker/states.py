"""What became of accounts, as people sort them; and the steps under the names that the admin of secrets expects."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q, QuerySet, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from devices.broker import accounts
from devices.models import BrokerAccount
from organizations.audit import Actor


class State(TextChoices):
    """An account that expires soon or was never used is usable, too."""

    USABLE = "usable", _("usable")
    UNUSED = "unused", _("usable, never used")
    EXPIRING = "expiring", _("usable, expires within 3 days")
    EXPIRED = "expired", _("expired")
    REVOKED = "revoked", _("revoked")
    KEPT_OUT = "kept-out", _("dock disabled, or organization inactive")


def in_state(rows: QuerySet[BrokerAccount], state: str, now: datetime | None = None) -> QuerySet[BrokerAccount]:
    """The accounts in this state."""
    now = now or timezone.now()
    usable = rows.filter(pk__in=BrokerAccount.objects.usable(now).values("pk"))
    if state == State.USABLE:
        return usable
    if state == State.UNUSED:
        return usable.filter(last_connected_at=None)
    if state == State.EXPIRING:
        return usable.filter(expires_at__lte=now + BrokerAccount.SOON)
    if state == State.EXPIRED:
        return rows.filter(expires_at__lte=now, revoked_at=None)
    if state == State.REVOKED:
        return rows.exclude(revoked_at=None)
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    return rows.filter(alive, revoked_at=None).exclude(pk__in=usable.values("pk"))


def revoke(rows: Iterable[BrokerAccount], *, actor: Actor) -> int:
    """End these accounts; returns how many were not revoked before."""
    return len(accounts.revoke(rows, actor=actor))
