"""Who may see which rows: the one rule that admin, REST and WebSocket share."""

from typing import Any, ClassVar, Self, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models

Principal = AbstractBaseUser | AnonymousUser
T = TypeVar("T", bound="TenantModel")


class TenantQuerySet(models.QuerySet[T]):
    """Rows that belong to an organization."""

    def visible_to(self, principal: Principal) -> Self:
        """What this user may see: everything for platform staff, else the rows of the user's organizations."""
        restricted: Self = restrict(self, principal)
        return restricted


class TenantModel(models.Model):
    """A row that belongs to the organization found through `organization_path` ("" is the organization)."""

    organization_path: ClassVar[str] = "organization"

    objects: ClassVar[TenantQuerySet[Any]]

    class Meta:
        abstract = True


def is_platform_staff(principal: Principal) -> bool:
    """Whether this user runs the platform and so sees and may do everything."""
    return bool(principal.is_active and getattr(principal, "is_superuser", False))


def restrict(queryset: Any, principal: Principal) -> Any:
    """The rows of a queryset that this principal may see; its model names its `organization_path`.

    One membership per user and organization, so the join never doubles a row.
    """
    if not principal.is_active:
        return queryset.none()
    if is_platform_staff(principal):
        return queryset
    path = queryset.model.organization_path
    return queryset.filter(**{f"{path}__memberships__user" if path else "memberships__user": principal.pk})
