"""The filters of the lists of devices and commands."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.calls import batches, methods
from devices.diagnosis import needs
from devices.models import (
    OPEN_STATUSES,
    Device,
    DeviceAccount,
    DeviceLabel,
    DeviceQuerySet,
    Label,
    ServiceCall,
    ServiceCallBatch,
    ServiceCallQuerySet,
    Site,
)
from devices.presence import Presence, watch
from mqtt_bridge.database.natural_sort import natural
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol import model_keys
from organizations import time_zones
from organizations.admin.tenant import CappedPaginator
from organizations.tenancy import is_platform_staff, restrict

MAX_FIRMWARES = 100
MAX_BATCHES = 20  # the newest, as choices
MAX_PEOPLE = 100
MAX_GROUPS = 200

Lookups = list[tuple[str, str]]
Row = TypeVar("Row", bound=Model)


class OptionFilter(admin.SimpleListFilter, Generic[Row]):
    """A filter with fixed options. Any other value in the address leaves the list as it is."""

    options: Mapping[str, object]  # what the address says: what people read

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        return [(value, str(words)) for value, words in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> QuerySet[Row]:
        value = self.value() or ""
        return self.chosen(queryset, value) if value in self.options else queryset

    def chosen(self, rows: QuerySet[Row], value: str) -> QuerySet[Row]:
        """The rows for this option."""
        raise NotImplementedError


# --- devices -------------------------------------------------------------------------------------


class PresenceFilter(OptionFilter[Device]):
    title = _("presence")
    parameter_name = "presence"
    options = {str(value): label for value, label in Presence.choices}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(watch().matching(value))


class AttentionFilter(OptionFilter[Device]):
    title = _("attention")
    parameter_name = "attention"
    options = {"yes": _("needs attention")}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return needs.needing(rows, restrict(Exchange.objects.all(), self.request.user), timezone.now())


class ClockFilter(OptionFilter[Device]):
    title = _("clock")
    parameter_name = "clock"
    options = {"wrong": _("wrong")}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(needs.has_wrong_clock())


class KindFilter(OptionFilter[Device]):
    title = _("kind")
    parameter_name = "kind"
    options = {
        "dock": _("dock"),
        "aircraft": _("aircraft"),
        "remote-controller": _("remote controller"),
        "unknown": _("unknown"),
    }
    AIRCRAFT = Q(model_key__startswith=f"{model_keys.AIRCRAFT}-")
    CONTROLLER = Q(model_key__startswith=f"{model_keys.REMOTE_CONTROLLER}-")
    KNOWN = AIRCRAFT | CONTROLLER | Q(model_key__startswith=f"{model_keys.DOCK}-")

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        if value == "dock":
            return cast("DeviceQuerySet", rows).docks()
        return rows.filter({"aircraft": self.AIRCRAFT, "remote-controller": self.CONTROLLER}.get(value, ~self.KNOWN))


class ProductFilter(OptionFilter[Device]):
    """Docks and aircraft by their product."""

    title = _("product")
    parameter_name = "product"
    options = {
        key: name
        for key, name in model_keys.PRODUCTS.items()
        if model_keys.domain(key) in (model_keys.DOCK, model_keys.AIRCRAFT)
    }

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(model_key=value)


class ClaimedFilter(OptionFilter[Device]):
    """For platform staff: nobody else sees unclaimed devices."""

    title = _("claimed")
    parameter_name = "claimed"
    options = {"yes": _("yes"), "no": _("no")}

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        return super().lookups(request, model_admin) if is_platform_staff(request.user) else []

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(organization__isnull=value == "no")


class RetiredFilter(OptionFilter[Device]):
    """For platform staff: what is retired belongs to nobody, and is shown only when it is asked for."""

    title = _("retired")
    parameter_name = "retired"
    options = {"yes": _("retired")}

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        return super().lookups(request, model_admin) if is_platform_staff(request.user) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        rows = cast("DeviceQuerySet", queryset)
        return rows.filter(retired_at__isnull=False) if self.value() == "yes" else rows.not_retired()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield from ({**first, "display": _("in use")}, *others)


class GroupingFilter(admin.SimpleListFilter, Generic[Row]):
    """Sites or labels of the organizations that the user may see, of the one that the list is filtered by if any."""

    rows: type[Site | Label]

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        rows: QuerySet[Any] = restrict(self.rows._default_manager.all(), request.user)
        owner = request.GET.get("organization__id__exact") or request.GET.get("device__organization__id__exact", "")
        if owner.isdecimal() and len(owner) < 19:
            rows = rows.filter(organization=int(owner))
        values = rows.order_by(natural("name"), "pk").values_list("pk", "name", "organization", "organization__name")
        found = list(values[:MAX_GROUPS])
        several = len({key for _, _, key, _ in found}) > 1
        named = [(str(pk), f"{name} ({owner_name})" if several else name) for pk, name, _, owner_name in found]
        return [*named, ("none", gettext("none"))] if found else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> QuerySet[Row]:
        value = self.value() or ""
        is_key = value.isdecimal() and len(value) < 19
        return queryset.filter(self.chosen(int(value) if is_key else None)) if is_key or value == "none" else queryset

    def chosen(self, key: int | None) -> Q:
        """The devices in this group; None: those in no group."""
        raise NotImplementedError


class SiteFilter(GroupingFilter[Row]):
    title = _("site")
    parameter_name = "site"
    rows = Site

    def chosen(self, key: int | None) -> Q:
        return Q(site=key)


class SiteOfDeviceFilter(SiteFilter[Row]):
    """What belongs to devices, by the site where they are now."""

    def chosen(self, key: int | None) -> Q:
        return Q(device__in=Device.objects.filter(site=key).first_keys())


class LabelFilter(GroupingFilter[Device]):
    title = _("label")
    parameter_name = "label"
    rows = Label

    def chosen(self, key: int | None) -> Q:
        labels = DeviceLabel.objects.filter(device=OuterRef("pk"))
        return Q(Exists(labels.filter(label=key))) if key is not None else ~Q(Exists(labels))


class FirmwareFilter(admin.SimpleListFilter):
    """Firmware versions of the devices that the user may see."""

    title = _("firmware")
    parameter_name = "firmware"

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        versions = restrict(Device.objects.all(), request.user).exclude(state__firmware_version="")
        names = versions.order_by("-state__firmware_version").values_list("state__firmware_version", flat=True)
        return [(name, name) for name in names.distinct()[:MAX_FIRMWARES] if name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        return queryset.filter(state__firmware_version=self.value()) if self.value() else queryset


class AccountFilter(OptionFilter[Device]):
    """Docks by the state of their DJI account."""

    title = _("DJI account")
    parameter_name = "account"
    options = {str(value): label for value, label in DeviceAccount.Status.choices}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        return rows.filter(account__status=value)


class LicenseListFilter(OptionFilter[Device]):
    """Docks by what is known of their unlock licenses."""

    title = _("unlock licenses")
    parameter_name = "licenses"
    options = {"never": _("never read"), "inconsistent": _("not consistent, says the dock")}

    def chosen(self, rows: QuerySet[Device], value: str) -> QuerySet[Device]:
        # Found by name, for the app `licenses` is above this one.
        lists: Any = apps.get_model("licenses", "LicenseList")
        return cast("DeviceQuerySet", rows).docks().filter(lists.conditions_on_docks()[value])


# --- service calls -------------------------------------------------------------------------------


class CallStateFilter(OptionFilter[ServiceCall]):
    """Calls by what people look for most, then by each state."""

    title = _("state")
    parameter_name = "state"
    options = {
        "open": _("open"),
        "trouble": _("did not succeed, last 24 h"),
        "schedule": _("scheduled read fails"),
        "unsent": _("waits for a worker"),
        "waiting": _("waits for its dock"),
        batches.NO_LIST: _("answered without a list"),
        **{str(value): word for value, word in ServiceCall.Status.choices},
    }

    def chosen(self, rows: QuerySet[ServiceCall], value: str) -> QuerySet[ServiceCall]:
        if value == "open":
            return rows.filter(status__in=OPEN_STATUSES)
        if value == "trouble":
            return rows.filter(needs.in_trouble(timezone.now()))
        if value == "schedule":
            return rows.filter(needs.schedule_in_trouble(timezone.now()))
        if value == "unsent":
            return needs.unsent(cast("ServiceCallQuerySet", rows), timezone.now())
        if value == "waiting":
            return rows.filter(status=ServiceCall.Status.QUEUED, queue=True)
        return batches.with_outcome(cast("ServiceCallQuerySet", rows), value)


class ServiceFilter(OptionFilter[ServiceCall]):
    title = _("command")
    parameter_name = "service"
    options = {name: method.label for name, method in methods.METHODS.items()}

    def chosen(self, rows: QuerySet[ServiceCall], value: str) -> QuerySet[ServiceCall]:
        return rows.filter(method=value)


class WhoAskedFilter(admin.SimpleListFilter):
    """People and programs, the schedule, both, or one of the users who asked for calls that the user may see.

    The schedule asks more often than all others, and hourly where a dock does not answer: its calls would bury theirs.
    So it is left out if nothing is chosen, unless a search or another filter asks for what only it may have asked for.
    """

    title = _("who asked")
    parameter_name = "by"

    def __init__(self, request: HttpRequest, *given: Any) -> None:
        self.usual = "all" if request.GET.get(SEARCH_VAR) or request.GET.get("state") == "schedule" else "people"
        self.left_out: QuerySet[ServiceCall] | None = None
        self.is_refresh = "X-Refresh" in request.headers  # as CappedPaginator
        super().__init__(request, *given)

    def value(self) -> str:
        return super().value() or self.usual

    def count_left_out(self) -> int:
        """How many calls of the schedule the list does not show of the last 24 hours: so that few rows are read."""
        if self.left_out is None or self.is_refresh:
            return 0
        recent = self.left_out.filter(created__gt=timezone.now() - timedelta(days=1))
        return recent.order_by()[: CappedPaginator.CAP].count()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Without Django's "All", which would be the usual choice."""
        yield from list(super().choices(changelist))[1:]

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        """The users are those of calls that the user may see."""
        asked = restrict(ServiceCall.objects.filter(requested_by=OuterRef("pk")), request.user)
        people = get_user_model().objects.filter(Exists(asked))  # by an index, where IN would read all calls
        users = [(str(user.pk), str(user)) for user in people.order_by("username")[:MAX_PEOPLE]]
        words = {"people": gettext("people and programs"), "schedule": gettext("the schedule"), "all": gettext("all")}
        return [*words.items(), *users]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ServiceCall]) -> QuerySet[ServiceCall]:
        value, of_schedule = self.value(), Q(by_schedule=True)
        if value.isdecimal() and len(value) < 10:
            return queryset.filter(requested_by=int(value))
        if value == "people":
            self.left_out = queryset.filter(of_schedule)
        return queryset.filter({"people": ~of_schedule, "schedule": of_schedule}.get(value, Q()))


class BatchFilter(admin.SimpleListFilter):
    """The newest batches; an older one is linked from its own page."""

    title = _("batch")
    parameter_name = "batch"

    def lookups(self, request: HttpRequest, model_admin: object) -> Lookups:
        newest = restrict(ServiceCallBatch.objects.all(), request.user)[:MAX_BATCHES]
        return [
            (str(batch.pk), f"{methods.title(batch.method, batch.data)}, {time_zones.written(batch.created)}")
            for batch in newest
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ServiceCall]) -> QuerySet[ServiceCall]:
        try:
            return queryset.filter(batch=uuid.UUID(self.value())) if self.value() else queryset
        except ValueError:
            return queryset.none()

    def has_output(self) -> bool:
        """Shown for a batch of any age, even if there are no newer ones to offer."""
        return bool(self.lookup_choices) or self.value() is not None
