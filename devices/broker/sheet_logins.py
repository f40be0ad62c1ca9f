"""The account of the broker on an onboarding sheet (`organizations/admin`), made with the sheet."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from devices.broker import accounts
from devices.broker.importing import NO_SN, NOT_YOURS
from devices.models import BrokerAccount, Device
from mqtt_bridge.protocol.topics import is_sn
from organizations.audit import Actor
from organizations.models import Organization


def why_no_own(sn: str, *, organization: Organization, may_add: bool) -> str:
    """Why this dock gets no account of its own with a sheet of this organization, in words; empty if it does.

    An unknown or unclaimed dock gets one from platform staff alone (`may_add`): it may be somebody else's.
    """
    if not is_sn(sn):
        return str(NO_SN)
    device = Device.objects.select_related("organization").filter(sn=sn).first()
    if device is None:
        return str(accounts.IS_RESERVED if accounts.is_reserved(sn) else "" if may_add else NOT_YOURS)
    if device.organization_id is None or device.is_unproven:
        if not may_add:
            return str(NOT_YOURS)
    elif device.organization_id != organization.pk:
        return gettext("it belongs to another organization") if may_add else str(NOT_YOURS)
    return accounts.why_no_account(device, BrokerAccount.objects.filter(device=device), timezone.now())


@transaction.atomic
def own(sn: str, *, actor: Actor) -> tuple[str, str]:
    """User name and secret of a dock's own account; an unknown dock is added, for whoever binds it."""
    device, _ = Device.objects.get_or_create(sn=sn)
    row, secret = accounts.issue(actor=actor, device=device)
    return row.username, secret


def for_enrolment(
    organization: Organization, *, actor: Actor, label: str, expires_at: datetime | None
) -> tuple[str, str]:
    """User name and secret of an enrolment account for this sheet, which expires with it, or after the usual time."""
    ends = expires_at or timezone.now() + accounts.ENROLMENT_LIFETIME
    row, secret = accounts.issue(actor=actor, organization=organization, label=label, expires_at=ends)
    return row.username, secret
