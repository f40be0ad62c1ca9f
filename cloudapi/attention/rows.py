"""The rows among which problems are counted, as a visitor of the start page may see them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from devices.diagnosis.exchanges import refusing
from devices.models import Acknowledgement, BrokerAccount, Device, DeviceQuerySet
from devices.moving import transfer
from devices.presence import Watch
from devices.questions import DISABLED
from licenses.models import UnlockLicense
from mqtt_bridge.models import IS_UNUSUAL, Certificate, Exchange
from organizations import codes
from organizations.models import AuditEvent, BindingCode, BindingFailure, Organization
from organizations.tenancy import Principal, restrict


class Visit(NamedTuple):
    """Who looks at the start page, and when."""

    user: Principal
    is_staff: bool  # of the platform
    now: datetime
    watch: Watch


def docks(visit: Visit) -> DeviceQuerySet:
    """Docks as people count them: bound, and not disabled on purpose."""
    return bound(visit).docks()


def between_accounts(visit: Visit) -> DeviceQuerySet:
    """The few docks that came by enrolment once, or have an account that ends soon: of all, each has its accounts."""
    ending = BrokerAccount.objects.filter(expires_at__lte=visit.now + BrokerAccount.SOON, revoked_at=None)
    return docks(visit).filter(Q(enrolled_at__isnull=False) | Q(pk__in=ending.exclude(device=None).values("device")))


def bound(visit: Visit) -> DeviceQuerySet:
    """Devices with an owner, and not disabled on purpose."""
    return Device.objects.filter(is_enabled=True).exclude(organization=None).visible_to(visit.user)


def is_acknowledged(kind: str, visit: Visit) -> Exists:
    """Devices for which somebody acknowledged this kind of problem."""
    return Exists(Acknowledgement.objects.filter(kind=kind, device=OuterRef("pk"), until__gt=visit.now))


def organizations(visit: Visit) -> QuerySet[Organization]:
    """Those that the visitor may see."""
    return Organization.objects.visible_to(visit.user)


def exchanges(visit: Visit) -> QuerySet[Exchange]:
    """The journal of the last 24 hours."""
    visible: QuerySet[Exchange] = restrict(Exchange.objects.all(), visit.user)
    return visible.filter(received_at__gt=visit.now - timedelta(hours=24))


def unusual(visit: Visit) -> QuerySet[Exchange]:
    """Those among which all that went wrong is, by an index of their own."""
    return exchanges(visit).filter(IS_UNUSUAL)


def refused(visit: Visit, method: str, successes: Sequence[str]) -> QuerySet[Exchange, object]:
    """Gateways whose request was refused and that have had no success since; not those disabled on purpose."""
    success = exchanges(visit).filter(
        gateway_sn=OuterRef("gateway_sn"),
        method__in=successes,
        received_at__gt=OuterRef("received_at"),
        outcome=Exchange.Outcome.ANSWERED,
        reason="",
    )
    meant = unusual(visit).exclude(reason__in=(Exchange.HAS_ACCOUNT, DISABLED))
    without = meant.filter(refusing(), ~Exists(success), method=method)
    return without.order_by().values("gateway_sn").distinct()


def spoken_for(visit: Visit) -> QuerySet[Exchange, object]:
    """Docks with their own accounts that were refused at enrolment."""
    return unusual(visit).filter(reason=Exchange.HAS_ACCOUNT).order_by().values("gateway_sn").distinct()


def wrong_codes(visit: Visit) -> QuerySet[BindingFailure]:
    """Of the last hour, from all gateways."""
    return BindingFailure.objects.filter(last_at__gt=visit.now - timedelta(hours=1))


def binding_codes(visit: Visit, state: str) -> QuerySet[BindingCode]:
    """Codes of active organizations in one of the states of `organizations/codes.py`."""
    visible = BindingCode.objects.visible_to(visit.user).filter(organization__is_active=True)
    return codes.in_state(visible, state, visit.now)


def transfers(visit: Visit) -> QuerySet[AuditEvent, object]:
    """Devices that came to the visitor's organizations or left them; staff, who moved them, need no notice."""
    week = AuditEvent.objects.filter(action=transfer.ACTION, at__gt=visit.now - timedelta(days=7))
    seen = week.none() if visit.is_staff else week.visible_to(visit.user)
    return seen.order_by().values("object_id").distinct()


def strangers(_visit: Visit) -> DeviceQuerySet:
    """Devices that nobody added and no code bound."""
    return Device.objects.uninvited()


def certificates(_visit: Visit) -> QuerySet[Certificate]:
    """Those that this server looks at."""
    return Certificate.objects.all()


def ending_licenses(visit: Visit) -> QuerySet[UnlockLicense]:
    """Licenses that are on and end within 30 days or have ended, each counted once, as the list shows them."""
    visible = UnlockLicense.objects.visible_to(visit.user).listed()
    return visible.filter(enabled=True, end_time__lte=visit.now + timedelta(days=30))
