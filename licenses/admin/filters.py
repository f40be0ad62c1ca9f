"""What the list of licenses can be narrowed by."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from devices.admin.filters import Lookups
from devices.models import Device
from licenses import wording
from licenses.models import Inventory
from licenses.validity import STATES
from organizations.tenancy import restrict

TYPES = range(wording.AREA, wording.RID + 1)
OTHER = "other"


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
