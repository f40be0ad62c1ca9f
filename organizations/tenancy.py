"""Which organization a row belongs to and who may see it: the one rule that the admin, REST and WebSocket share."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeVar

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.utils.translation import gettext_lazy as _
from rest_framework_api_key.models import AbstractAPIKey, BaseAPIKeyManager

from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import Parameter, Prepared


class TenantKey(AbstractAPIKey):
    """An API key that opens the rows of one organization; as the sender of a request it answers what a user does."""

    organization_id: int
    role: str
    is_authenticated: ClassVar[bool] = True

    # With names that are translated, which those of the base class are not.
    name = models.CharField(_("name"), max_length=50, default=None)
    prefix = models.CharField(_("prefix"), max_length=8, unique=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True, db_index=True)

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

        Lock the rows first, or two transactions may wait for each other.
        """
        own = [field for field in self.model._meta.concrete_fields if field.primary_key or field.name in fields]
        bulk.update(self.model, bulk.values_of(rows, [str(field.column) for field in own]))


class TenantQuerySet(WritingQuerySet[T]):
    """Rows that belong to an organization."""

    def visible_to(self, principal: Principal) -> Self:
        """Everything for platform staff, else the rows of the user's organizations, or of the API key's one."""
        return restrict(self, principal)


class TenantModel(models.Model):
    """A row that belongs to the organization found through `organization_path` ("" is the organization)."""

    organization_path: ClassVar[str] = "organization"

    objects: ClassVar[TenantQuerySet[Any]]

    class Meta:
        abstract = True


class IssuedModel(TenantModel):
    """A tenant's row that opens something with a secret, which is shown once and not stored."""

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
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


class Held(NamedTuple):
    """A membership of a user."""

    organization_id: int
    role: str
    name: str  # of the organization


_MEMBERSHIPS: Final = Prepared(
    Held,
    lambda: (
        apps.get_model("organizations", "Membership")
        ._default_manager.filter(user=Parameter("user", models.BigIntegerField()))
        .order_by("organization__name")
        .values_list("organization_id", "role", "organization__name")
    ),
)


def held_by(user: Any) -> list[Held]:
    """The memberships of a user, by the organizations' names.

    They are read once for each instance of the user. Each request, and each check of a socket, loads its own instance:
    a membership that has ended counts from the next one on.
    """
    if not hasattr(user, "_memberships"):
        user._memberships = _MEMBERSHIPS(user=user.pk) if user.pk else []
    found: list[Held] = user._memberships
    return found


def memberships_of(principal: Principal) -> Mapping[int, str]:
    """The role by organization of a user, or of an API key, which carries its own."""
    if isinstance(principal, TenantKey):
        return {principal.organization_id: principal.role}
    return {held.organization_id: held.role for held in held_by(principal)}


def restrict(queryset: Rows, principal: Principal, *, one: bool = False) -> Rows:
    """The rows of a queryset that this principal may see; its model names its `organization_path`.

    For `one` row, that a unique column finds, the memberships are joined, which saves the query for them.
    """
    if not principal.is_active:
        return queryset.none()
    if is_platform_staff(principal):
        return queryset
    if one and not isinstance(principal, TenantKey):
        path = queryset.model.organization_path
        return queryset.filter(**{f"{path}__memberships__user" if path else "memberships__user": principal.pk})
    return of_organizations(queryset, memberships_of(principal))


def of_organizations(queryset: Rows, keys: Iterable[int]) -> Rows:
    """The rows that belong to the organizations with these primary keys.

    The keys stand in the statement. From a join with the memberships PostgreSQL would not know whether they have ten
    rows or a million, and it would read tables from end to end.
    """
    return queryset.filter(**{f"{queryset.model.organization_path or 'pk'}__in": sorted(keys)})


def organization_of(row: models.Model) -> int | None:
    """The primary key of the organization that this row belongs to."""
    path: str = row.organization_path  # type: ignore[attr-defined]  # the journal's rows have it, too
    key: int | None = attrgetter(f"{path}_id".replace("__", "."))(row) if path else row.pk
    return key
