"""Members of organizations: the last manager stays."""

from django.db import transaction

from organizations.models import Membership, Organization, Role


def is_last_manager(membership: Membership) -> bool:
    """Whether the organization would be without a manager if this one went; in a transaction that stays so."""
    if membership.role != Role.MANAGER:
        return False
    if transaction.get_connection().in_atomic_block:
        # Two managers who remove each other wait for one another here, and the second finds that she is the last.
        Organization.objects.select_for_update(no_key=True).get(pk=membership.organization_id)
    managers = Membership.objects.filter(organization=membership.organization_id, role=Role.MANAGER)
    others = managers.exclude(pk=membership.pk).filter(user__is_active=True)
    return not others.exists()
