"""What the caller may do, by role in each organization: the one rule that the admin and REST share."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.http import HttpRequest

from organizations.models import Membership, Organization, Role
from organizations.tenancy import Principal, Rows, is_platform_staff, memberships_of, of_organizations, restrict


@dataclass(frozen=True)
class Rights:
    """The roles of a user or an API key, as they were when they were looked up."""

    principal: Principal
    roles: Mapping[int, Role]  # by primary key of the organization

    def may(self, role: Role | None, organization_id: int | None = None, *, anywhere: bool = False) -> bool:
        """Whether the caller has at least that role in that organization, or with `anywhere` in any.

        Platform staff may do everything; a role of None is theirs alone.
        """
        if is_platform_staff(self.principal):
            return True
        if role is None or not self.principal.is_active:
            return False
        if anywhere:
            return any(held.includes(role) for held in self.roles.values())
        held = self.roles.get(organization_id) if organization_id is not None else None
        return held is not None and held.includes(role)

    def readable(self, queryset: Rows, role: Role | None) -> Rows:
        """The rows of the organizations in which the caller has at least that role; all of them for platform staff."""
        if role == Role.VIEWER or is_platform_staff(self.principal):
            return restrict(queryset, self.principal)
        return of_organizations(queryset, [pk for pk in self.roles if self.may(role, pk)])


def of(principal: Principal) -> Rights:
    """The rights of a user, which the database knows, or of an API key, which carries them."""
    return Rights(principal, {pk: Role(role) for pk, role in memberships_of(principal).items()})


def in_request(request: HttpRequest) -> Rights:
    """The rights of the caller of the admin or of REST, looked up once for each request."""
    if not hasattr(request, "_rights"):
        request._rights = of(request.user)  # type: ignore[attr-defined]  # kept here for the whole request
    found: Rights = request._rights  # type: ignore[attr-defined]
    return found


def is_last_manager(membership: Membership) -> bool:
    """Whether the organization would have no manager without this one; in a transaction that stays so."""
    if membership.role != Role.MANAGER:
        return False
    if transaction.get_connection().in_atomic_block:
        # Two managers who remove each other wait for one another here; the second is found to be the last.
        Organization.objects.select_for_update(no_key=True).get(pk=membership.organization_id)
    managers = Membership.objects.filter(organization=membership.organization_id, role=Role.MANAGER)
    return not managers.exclude(pk=membership.pk).filter(user__is_active=True).exists()
