"""Members of organizations: the last manager stays."""

from organizations.models import Membership, Role


def is_last_manager(membership: Membership) -> bool:
    """Whether the organization would be without a manager if this one went."""
    if membership.role != Role.MANAGER:
        return False
    managers = Membership.objects.filter(organization=membership.organization_id, role=Role.MANAGER)
    others = managers.exclude(pk=membership.pk).filter(user__is_active=True)
    return not others.exists()
