"""Closing an organization that leaves, and opening it again."""

from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from devices import binding
from devices.broker import accounts
from devices.models import BrokerAccount, Device, ServiceCall, ServiceCallBatch
from devices.moving import transfer
from organizations import api_keys, audit, codes, invitations
from organizations.audit import Actor
from organizations.models import BindingCode, Invitation, Membership, Organization, OrganizationAPIKey


class Belongings(NamedTuple):
    """What an organization has that a close releases or ends."""

    devices: QuerySet[Device]
    docks: QuerySet[Device]  # of these
    aircraft: QuerySet[Device]  # of these
    open_calls: QuerySet[ServiceCall]
    planned_batches: QuerySet[ServiceCallBatch]
    binding_codes: QuerySet[BindingCode]
    invitations: QuerySet[Invitation]
    accounts: QuerySet[BrokerAccount]
    api_keys: QuerySet[OrganizationAPIKey]
    members: QuerySet[Membership]

    def counts(self) -> dict[str, int]:
        """How many of each there are; one query for each."""
        return {name: rows.count() for name, rows in self._asdict().items()}


def belongings(organization: Organization) -> Belongings:
    """What this organization has now."""
    devices = Device.objects.filter(organization=organization)
    batches = ServiceCallBatch.objects.filter(organization=organization, due_at__isnull=False)
    return Belongings(
        devices,
        devices.docks(),
        devices.aircraft(),
        ServiceCall.objects.filter(organization=organization).open(),
        batches.filter(started_at=None, stopped=None),
        BindingCode.objects.filter(organization=organization, revoked_at=None),
        Invitation.objects.filter(organization=organization, accepted_at=None, revoked_at=None),
        BrokerAccount.objects.filter(organization=organization, revoked_at=None),
        OrganizationAPIKey.objects.filter(organization=organization, revoked=False),
        Membership.objects.filter(organization=organization).select_related("user", "organization"),
    )


@transaction.atomic
def close(
    organization: Organization, *, actor: Actor, to: Organization | None = None, keep_accounts: bool = True
) -> bool:
    """End what opens anything of it, make it inactive and hide it; False if it is closed already.

    Its devices are released, or go `to` another organization, with `keep_accounts` as in `transfer.move`. All or
    nothing, under one request id. Its journal, calls and audit trail stay until their retention ends. Raises
    `transfer.Refused`.
    """
    now, has = timezone.now(), belongings(organization)
    counts = has.counts()
    # From here on nobody binds to it, and a second close waits for this one and finds it closed.
    is_open = Organization.objects.filter(pk=organization.pk, closed_at=None)
    if not is_open.update(closed_at=now, is_active=False):
        return False
    after: dict[str, object] = {**counts, **({"devices_to": str(to)} if to else {})}
    audit.record([audit.event(actor, "close", organization, organization_id=organization.pk, after=after)])
    # Codes before devices, as a bind locks them; invitations before members, as an acceptance locks them.
    codes.revoke(has.binding_codes, actor=actor)
    invitations.revoke(has.invitations, actor=actor)
    api_keys.revoke(has.api_keys, actor=actor)
    has.planned_batches.update(stopped=now)
    if to is None:
        binding.release(has.devices, actor=actor, now=now)
    else:
        transfer.move(has.devices, to, actor=actor, keep_accounts=keep_accounts, now=now)
    accounts.revoke(has.accounts, actor=actor)
    audit.record(
        audit.event(
            actor,
            "delete",
            member,
            organization_id=organization.pk,
            before={"username": member.user.get_username(), "role": member.role},
        )
        for member in has.members
    )
    has.members.delete()
    return True


@transaction.atomic
def reopen(organization: Organization, *, actor: Actor) -> bool:
    """Make a closed organization active and visible again, without what the close ended; False if it is not closed."""
    closed = Organization.objects.filter(pk=organization.pk, closed_at__isnull=False)
    if not closed.update(closed_at=None, is_active=True):
        return False
    audit.record([audit.event(actor, "reopen", organization, organization_id=organization.pk)])
    return True
