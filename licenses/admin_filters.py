"""What the list of licenses can be narrowed by."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from devices.admin_filters import Lookups
from devices.models import Device
from licenses import wording
from licenses.models import Inventory, UnlockLicenseQuerySet
from organizations.tenancy import restrict

Rows = UnlockLicenseQuerySet
TYPES = range(wording.AREA, wording.RID + 1)
OTHER = "other"


def _in_force(rows: Rows, now: datetime) -> Rows:
    return rows.in_force(now).filter(device_model_domain=Inventory.AIRCRAFT)


def _in_window(rows: Rows, now: datetime) -> Rows:
    return rows.filter(Q(begin_time=None) | Q(begin_time__lte=now), Q(end_time=None) | Q(end_time__gt=now))


STATES: dict[str, tuple[str, Callable[[Rows, datetime], Rows]]] = {
    "expired-enabled": ("expired, still on", lambda rows, now: rows.expired_but_enabled(now)),
    "expiring-7": ("on, ends within 7 days", lambda rows, now: rows.expiring(now, days=7)),
    "expiring-30": ("on, ends within 30 days", lambda rows, now: rows.expiring(now, days=30)),
    "in-force": ("in force", _in_force),
    "disabled": ("off", lambda rows, now: _in_window(rows, now).filter(enabled=False)),
    "not-begun": (
        "not yet begun",
        lambda rows, now: rows.filter(Q(end_time=None) | Q(end_time__gt=now), begin_time__gt=now),
    ),
    "expired": ("expired", lambda rows, now: rows.filter(end_time__lte=now)),
    "not-imported": (
        "not imported",
        lambda rows, now: _in_window(rows, now).filter(device_model_domain=Inventory.DOCK, enabled=True),
    ),
    "not-told": ("not told whether on", lambda rows, now: _in_window(rows, now).filter(enabled=None)),
}


class StateFilter(admin.SimpleListFilter):
    """Licenses by what may be said of them now; a license may be in several."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(name, words) for name, (words, _) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = STATES.get(self.value() or "")
        return queryset if state is None else state[1](queryset, timezone.now())  # type: ignore[arg-type]


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [*((str(kind), wording.type_name(kind)) for kind in TYPES), (OTHER, "other types")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = str(self.value() or "")
        if value == OTHER:
            return queryset.exclude(type__in=TYPES)
        return queryset.filter(type=int(value)) if value in map(str, TYPES) else queryset


class InventoryFilter(admin.SimpleListFilter):
    """Where the dock says that a license is."""

    title = "found in"
    parameter_name = "inventory"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [
            ("both", "aircraft and dock"),
            ("aircraft", "the aircraft only"),
            ("dock", "the dock only: not imported"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "dock":
            return queryset.filter(device_model_domain=Inventory.DOCK)  # of those listed: the aircraft has it not
        rows = queryset.filter(device_model_domain=Inventory.AIRCRAFT)
        if self.value() == "both":
            return rows.in_both()  # type: ignore[attr-defined,no-any-return]
        if self.value() == "aircraft":
            return rows.in_one()  # type: ignore[attr-defined,no-any-return]
        return queryset


class UserOnlyFilter(admin.SimpleListFilter):
    title = "for one account"
    parameter_name = "user_only"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [("yes", "only with its DJI account"), ("no", "with any")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(user_only=self.value() == "yes")
        return queryset


class DockFilter(admin.SimpleListFilter):
    """One dock, to which other pages lead; others are found by searching."""

    title = "dock"
    parameter_name = "device"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        value = str(self.value() or "")
        if not value.isdecimal() or len(value) > 18:
            return []
        dock = restrict(Device.objects.all(), request.user).filter(pk=int(value)).first()
        return [(value, str(dock))] if dock else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(device=int(value)) if value.isdecimal() and len(value) < 19 else queryset.none()

    def has_output(self) -> bool:
        """Active for any dock; shown only when there is one."""
        return self.value() is not None
