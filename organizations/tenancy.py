"""What rows of organizations have in common: who may see them, when they last changed, who issued them.

The one rule of who sees what is `restrict`; the admin, REST and WebSocket share it.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey, BaseAPIKeyManager


class TenantKey(AbstractAPIKey):
    """An API key that opens the rows of one organization; as the sender of a request it answers what a user does."""

    organization_id: int
    role: str
    is_authenticated: ClassVar[bool] = True

    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:
        """Whether it opens anything now."""
        return not (self.revoked or self.has_expired)


Principal = AbstractBaseUser | AnonymousUser | TenantKey
M = TypeVar("M", bound=models.Model)
T = TypeVar("T", bound="TenantModel")
Rows = TypeVar("Rows", bound="models.QuerySet[Any, Any]")


class WritingQuerySet(models.QuerySet[M]):
    """Rows of which many are written at once."""

    def write_fields(self, rows: Iterable[M], fields: Sequence[str]) -> None:
        """Write these fields of rows that exist, each with its own values, in one statement; none for no rows.

        An upsert on the primary key, which takes a tenth of the time of `bulk_update`. It would insert a row that is
        gone, so lock the rows first, and load them whole: a deferred column costs a query for each row.
        """
        key = self.model._meta.pk.name
        self.bulk_create(list(rows), update_conflicts=True, unique_fields=[key], update_fields=fields)


class TenantQuerySet(WritingQuerySet[T]):
    """Rows that belong to an organization."""

    def visible_to(self, principal: Principal) -> Self:
        """Everything for platform staff, else the rows of the user's organizations, or of the API key's one."""
        return restrict(self, principal)


class ChangingQuerySet(TenantQuerySet[T]):
    """Rows whose `updated` is the time of their last change. A caller that writes that field too is not overruled."""

    def update(self, **values: object) -> int:
        """Django's, and so `bulk_update` and what a deleted row leaves behind (SET_NULL), which both end here."""
        return super().update(**{"updated": timezone.now()} | values if values else {})

    def bulk_create(
        self,
        objs: Iterable[T],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[T]:
        """Django's; with `update_conflicts` every row given counts as changed, so leave out those that are not."""
        rows = list(objs)
        if update_fields is not None and "updated" not in update_fields:
            update_fields = [*update_fields, "updated"]
            now = timezone.now()
            for row in rows:
                row.updated = now  # type: ignore[attr-defined]  # of every ChangingModel
        return super().bulk_create(rows, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields)


class TenantModel(models.Model):
    """A row that belongs to the organization found through `organization_path` ("" is the organization)."""

    organization_path: ClassVar[str] = "organization"

    objects: ClassVar[TenantQuerySet[Any]]

    class Meta:
        abstract = True


class ChangingModel(TenantModel):
    """A tenant's row with the time of its last change, however it is written; its manager is a ChangingQuerySet."""

    # A default, not `auto_now`: rows that are copied into the database (mqtt_bridge/bulk.py) must have their value.
    updated = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[ChangingQuerySet[Any]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        abstract = True
        base_manager_name = "objects"  # which Django takes to clear references to a deleted row

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Django's, and the moment with it."""
        self.updated = timezone.now()
        if update_fields:
            update_fields = {*update_fields, "updated"}
        super().save(*args, update_fields=update_fields, **kwargs)


class IssuedModel(TenantModel):
    """A tenant's row that opens something with a secret, which is shown once and not stored."""

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    plain: str = ""  # the secret, in the request that issues it

    class Meta:
        abstract = True

    def why_unusable(self, now: datetime) -> str:
        """Why it opens nothing now, in words; empty if it does."""
        raise NotImplementedError


class TenantKeyManager(BaseAPIKeyManager.from_queryset(TenantQuerySet)):  # type: ignore[misc]  # made at run time
    """API keys; `create_key(...)` returns the row and the plain key, which is nowhere else."""

    def assign_key(self, obj: TenantKey) -> str:
        """As in the base class, but the primary key stays a number."""
        key, obj.prefix, obj.hashed_key = self.key_generator.generate()
        return str(key)

    def get_usable_keys(self) -> models.QuerySet[models.Model]:
        """The keys that are not revoked, with their organizations."""
        found: models.QuerySet[models.Model] = self.filter(revoked=False).select_related("organization")
        return found


def is_platform_staff(principal: Principal) -> bool:
    """Whether this user runs the platform and so sees and may do everything; no API key does."""
    return bool(getattr(principal, "is_superuser", False) and principal.is_active)


def restrict(queryset: Rows, principal: Principal) -> Rows:
    """The rows of a queryset that this principal may see; its model names its `organization_path`.

    One membership per user and organization, so the join never doubles a row.
    """
    if not principal.is_active:
        return queryset.none()
    if is_platform_staff(principal):
        return queryset
    path = queryset.model.organization_path
    if isinstance(principal, TenantKey):
        return queryset.filter(**{path or "pk": principal.organization_id})
    return queryset.filter(**{f"{path}__memberships__user" if path else "memberships__user": principal.pk})


def organization_of(row: models.Model) -> int | None:
    """The primary key of the organization that this row belongs to."""
    path: str = row.organization_path  # type: ignore[attr-defined]  # the journal's rows have it, too
    key: int | None = attrgetter(f"{path}_id".replace("__", "."))(row) if path else row.pk
    return key
