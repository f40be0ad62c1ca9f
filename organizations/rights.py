"""What whoever asks may do, by role in each organization: the one rule that admin and REST share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from organizations.models import Membership, Role
from organizations.tenancy import Principal, TenantKey, is_platform_staff, restrict


@dataclass(frozen=True)
class Rights:
    """The roles of a user or an API key, as they were when asked."""

    principal: Principal
    roles: Mapping[int, Role]  # by primary key of the organization

    def may(self, role: Role | None, organization_id: int | None = None, *, anywhere: bool = False) -> bool:
        """Whether this is at least that role in that organization, or with `anywhere` in any.

        Platform staff may everything; a role of None is theirs alone.
        """
        if is_platform_staff(self.principal):
            return True
        if role is None or not self.principal.is_active:
            return False
        if anywhere:
            return any(held.includes(role) for held in self.roles.values())
        held = self.roles.get(organization_id) if organization_id is not None else None
        return held is not None and held.includes(role)

    def readable(self, queryset: models.QuerySet[Any], role: Role | None) -> models.QuerySet[Any]:
        """The rows of the organizations in which this is at least that role; all of them for platform staff.

        Whoever may look in one organization and not in another sees the rows of the first alone.
        """
        visible: models.QuerySet[Any] = restrict(queryset, self.principal)
        if role == Role.VIEWER or is_platform_staff(self.principal):
            return visible
        held = [pk for pk in self.roles if self.may(role, pk)]
        return visible.filter(**{f"{queryset.model.organization_path or 'pk'}__in": held})


def of(principal: Principal) -> Rights:
    """The rights of a user, asked of the database, or of an API key, which carries them."""
    if isinstance(principal, TenantKey):
        return Rights(principal, {principal.organization_id: Role(principal.role)})
    rows = Membership.objects.filter(user=principal.pk).values_list("organization_id", "role")
    return Rights(principal, {pk: Role(role) for pk, role in rows})


def in_request(request: Any) -> Rights:
    """The rights of who sent this request, of the admin or of REST, asked once."""
    if not hasattr(request, "_rights"):
        request._rights = of(request.user)
    found: Rights = request._rights
    return found
