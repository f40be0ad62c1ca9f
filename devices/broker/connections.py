"""How docks connect to the broker: with an account of their own, with an enrolment account, or not at all."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, TextChoices
from django.utils.translation import gettext_lazy as _

from devices.models import BrokerAccount, Device
from organizations.tenancy import Rows


class Way(TextChoices):
    """How a dock connects, as far as its accounts tell; every dock has exactly one."""

    OWN = "own", _("its own account")
    UNUSED = "unused", _("its own account, not used yet")
    ENROLMENT = "enrolment", _("an enrolment account")
    NONE = "none", _("no account")


class Remark(TextChoices):
    """What else people look for."""

    EXPIRING = "expiring", _("uses a secret that ends within 3 days")
    REVOKED = "revoked", _("all its accounts were revoked")


def gateways(devices: Rows) -> Rows:
    """Those in use that connect to the broker: docks, and whatever has an account of its own or came by enrolment."""
    has_account = Exists(BrokerAccount.objects.filter(device=OuterRef("pk")))
    return devices.filter(Q(pk__in=Device.objects.docks().values("pk")) | has_account, retired_at=None)


def matching(way: str, now: datetime) -> Q:
    """Docks that connect in this way, or of which this remark is true."""
    alive = BrokerAccount.objects.filter(device=OuterRef("pk")).alive(now)
    used = alive.exclude(last_connected_at=None)
    has_any, is_used = Q(Exists(alive)), Q(Exists(used))
    ends = Q(Exists(used.filter(expires_at__lte=now + BrokerAccount.SOON)))
    lasts = Q(Exists(used.filter(Q(expires_at=None) | Q(expires_at__gt=now + BrokerAccount.SOON))))
    return {
        Way.OWN: is_used,
        Way.UNUSED: has_any & ~is_used,
        Way.ENROLMENT: ~has_any & Q(enrolled_at__isnull=False),
        Way.NONE: ~has_any & Q(enrolled_at=None),
        Remark.EXPIRING: ends & ~lasts,
        Remark.REVOKED: ~has_any & Q(Exists(BrokerAccount.objects.filter(device=OuterRef("pk")))),
    }[way]  # type: ignore[index]  # both are text


def way_of(device: Device, alive: Sequence[BrokerAccount]) -> Way:
    """How this dock connects; `alive` are its accounts that are neither revoked nor expired."""
    if alive:
        return Way.OWN if any(account.last_connected_at for account in alive) else Way.UNUSED
    return Way.ENROLMENT if device.enrolled_at else Way.NONE


def in_use(alive: Sequence[BrokerAccount]) -> BrokerAccount | None:
    """The account that the dock used last; the newest if it used none."""
    used = [(account.last_connected_at, account.pk, account) for account in alive if account.last_connected_at]
    return max(used)[2] if used else max(alive, key=lambda account: account.pk, default=None)


def is_ending(account: BrokerAccount, now: datetime, within: timedelta = BrokerAccount.SOON) -> bool:
    """Whether this account ends so soon."""
    return account.expires_at is not None and account.expires_at <= now + within
