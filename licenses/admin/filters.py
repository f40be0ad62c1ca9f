"""What the list of licenses can be narrowed by."""

from typing import Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.admin.filters import Lookups
from devices.models import Device
from licenses.models import Inventory, UnlockLicense
from licenses.validity import STATES
from licenses.wording import Kind, type_name
from organizations.tenancy import restrict

OTHER: Final = "other"


class StateFilter(admin.SimpleListFilter):
    """Licenses by their state now; a license may be in several."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[UnlockLicense]") -> Lookups:
        return [(name, str(words)) for name, (words, _rows) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> QuerySet[UnlockLicense]:
        state = STATES.get(self.value() or "")
        return queryset if state is None else state[1](queryset, timezone.now())  # type: ignore[arg-type]


class TypeFilter(admin.SimpleListFilter):
    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[UnlockLicense]") -> Lookups:
        return [*((str(kind.value), type_name(kind)) for kind in Kind), (OTHER, gettext("other types"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> QuerySet[UnlockLicense]:
        value = self.value() or ""
        if value == OTHER:
            return queryset.exclude(type__in=Kind.values)
        return queryset.filter(type=value) if value in map(str, Kind.values) else queryset


class InventoryFilter(admin.SimpleListFilter):
    """In which inventory the dock lists a license."""

    title = _("found in")
    parameter_name = "inventory"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[UnlockLicense]") -> Lookups:
        return [
            ("both", gettext("aircraft and dock")),
            ("aircraft", gettext("the aircraft only")),
            ("dock", gettext("the dock only: not imported")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> QuerySet[UnlockLicense]:
        if self.value() == "dock":
            return queryset.filter(device_model_domain=Inventory.DOCK)  # listed only if the aircraft lacks it
        rows = queryset.filter(device_model_domain=Inventory.AIRCRAFT)
        if self.value() == "both":
            return rows.filter(in_other_inventory=True)
        if self.value() == "aircraft":
            return rows.filter(in_other_inventory=False)
        return queryset


class UserOnlyFilter(admin.SimpleListFilter):
    title = _("account restriction")
    parameter_name = "user_only"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[UnlockLicense]") -> Lookups:
        return [("yes", gettext("only with its DJI account")), ("no", gettext("with any"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> QuerySet[UnlockLicense]:
        if self.value() in ("yes", "no"):
            return queryset.filter(user_only=self.value() == "yes")
        return queryset


class DockFilter(admin.SimpleListFilter):
    """One dock, to which other pages lead; others are found by searching."""

    title = _("dock")
    parameter_name = "device"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[UnlockLicense]") -> Lookups:
        value = str(self.value() or "")
        if not value.isdecimal() or len(value) > 18:
            return []
        dock = restrict(Device.objects.all(), request.user).filter(pk=int(value)).first()
        return [(value, str(dock))] if dock else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> QuerySet[UnlockLicense]:
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(device=int(value)) if value.isdecimal() and len(value) < 19 else queryset.none()

    def has_output(self) -> bool:
        """Active for any dock; shown only when there is one."""
        return self.value() is not None
