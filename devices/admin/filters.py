"""What the lists of devices and of the journal can be narrowed by."""

import uuid
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from devices.calls import methods, wording
from devices.diagnosis import attention
from devices.models import Device, DeviceAccount, ServiceCall, ServiceCallBatch
from devices.presence import Presence, watch
from mqtt_bridge.dispatch import CONTROL_CHANNELS
from mqtt_bridge.models import ONBOARDING, Exchange
from mqtt_bridge.protocol import model_keys
from organizations.tenancy import is_platform_staff, restrict

MAX_FIRMWARES = 100
MAX_BATCHES = 20  # the newest, as choices
MAX_PEOPLE = 100

Lookups = list[tuple[str, str]]


class PresenceFilter(admin.SimpleListFilter):
    title = "presence"
    parameter_name = "presence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(str(value), str(label)) for value, label in Presence.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in Presence.values:
            return queryset
        return queryset.filter(watch().matching(str(self.value())))


class AttentionFilter(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [("yes", "needs attention")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "yes":
            return queryset
        seen = restrict(Exchange.objects.all(), request.user)
        needing: QuerySet[Any] = attention.needing(queryset, seen, timezone.now())  # type: ignore[arg-type]
        return needing


class ClockFilter(admin.SimpleListFilter):
    title = "clock"
    parameter_name = "clock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [("wrong", "wrong")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(attention.has_wrong_clock()) if self.value() == "wrong" else queryset


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    KINDS = {
        "dock": ("dock", model_keys.DOCK),
        "aircraft": ("aircraft", model_keys.AIRCRAFT),
        "remote-controller": ("remote controller", model_keys.REMOTE_CONTROLLER),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(value, label) for value, (label, _) in self.KINDS.items()] + [("unknown", "unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value == "dock":
            return queryset.docks()  # type: ignore[attr-defined,no-any-return]
        if value in self.KINDS:
            return queryset.filter(model_key__startswith=f"{self.KINDS[str(value)][1]}-")
        if value == "unknown":
            known = Q()
            for _, domain in self.KINDS.values():
                known |= Q(model_key__startswith=f"{domain}-")
            return queryset.exclude(known)
        return queryset


class ClaimedFilter(admin.SimpleListFilter):
    """For platform staff: nobody else sees unclaimed devices."""

    title = "claimed"
    parameter_name = "claimed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [("yes", "yes"), ("no", "no")] if is_platform_staff(request.user) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(organization__isnull=self.value() == "no")
        return queryset


class FirmwareFilter(admin.SimpleListFilter):
    """Firmware versions of the devices that the user may see."""

    title = "firmware"
    parameter_name = "firmware"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        versions = restrict(Device.objects.all(), request.user).exclude(state__firmware_version="")
        names = versions.order_by("-state__firmware_version").values_list("state__firmware_version", flat=True)
        return [(name, name) for name in names.distinct()[:MAX_FIRMWARES] if name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state__firmware_version=self.value()) if self.value() else queryset


class ChannelFilter(admin.SimpleListFilter):
    title = "channel"
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(channel.value, channel.value) for channel in sorted(CONTROL_CHANNELS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(channel=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    """What became of a message, in the words of the list: a refusal is not among the answers."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(word, word) for word in attention.outcomes()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = attention.outcomes().get(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)


class MethodFilter(admin.SimpleListFilter):
    """A method that is typed, for docks send more of them than anybody lists."""

    title = "method"
    parameter_name = "method"
    template = "admin/mqtt_bridge/exchange/method_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(method, method) for method in ONBOARDING]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(method=self.value().strip()) if self.value() else queryset

    def value(self) -> str:
        return str(super().value() or "")

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {
            "value": self.value(),
            "suggestions": [value for value, _ in self.lookup_choices],
            "others": [
                (name, value)
                for name, values in changelist.filter_params.items()
                if name != self.parameter_name
                for value in values
            ],
            "query": changelist.query,
        }


class AccountFilter(admin.SimpleListFilter):
    """Docks by the state of their DJI account."""

    title = "DJI account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(str(value), str(label)) for value, label in DeviceAccount.Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in DeviceAccount.Status.values:
            return queryset
        return queryset.filter(account__status=self.value())


class LicenseListFilter(admin.SimpleListFilter):
    """Docks by what was read of their unlock licenses."""

    title = "unlock licenses"
    parameter_name = "licenses"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [("never", "never read"), ("inconsistent", "not consistent, says the dock")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # By its name, for the app of licenses stands above this one.
        lists: Any = apps.get_model("licenses", "LicenseList")
        condition = lists.conditions_on_docks().get(self.value() or "")
        return queryset if condition is None else queryset.docks().filter(condition)  # type: ignore[attr-defined]


# --- service calls -------------------------------------------------------------------------------


class CallStateFilter(admin.SimpleListFilter):
    """Calls by what people ask first, then by each state."""

    title = "state"
    parameter_name = "state"

    OPEN, TROUBLE, UNSENT = "open", "trouble", "unsent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [
            (self.OPEN, "open"),
            (self.TROUBLE, "did not succeed, last 24 h"),
            (self.UNSENT, "waits for a worker"),
            *wording.WORDS.items(),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = str(self.value() or "")
        if value == self.OPEN:
            return queryset.open()  # type: ignore[attr-defined,no-any-return]
        if value == self.TROUBLE:
            return queryset.filter(attention.in_trouble(timezone.now()))
        if value == self.UNSENT:
            return attention.unsent(queryset, timezone.now())  # type: ignore[arg-type]
        return queryset.filter(status=value) if value in wording.WORDS else queryset


class ServiceFilter(admin.SimpleListFilter):
    title = "service"
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return [(name, method.label) for name, method in methods.METHODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(method=self.value()) if self.value() in methods.METHODS else queryset


class WhoAskedFilter(admin.SimpleListFilter):
    """People who asked for calls that the user may see."""

    title = "who asked"
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        calls = restrict(ServiceCall.objects.order_by(), request.user)
        people = get_user_model().objects.filter(pk__in=calls.values("requested_by"))
        return [(str(user.pk), str(user)) for user in people.order_by("username")[:MAX_PEOPLE]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = str(self.value() or "")
        return queryset.filter(requested_by=int(value)) if value.isdecimal() and len(value) < 10 else queryset


class BatchFilter(admin.SimpleListFilter):
    """The newest batches; an older one is reached from its own page."""

    title = "batch"
    parameter_name = "batch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        batches = restrict(ServiceCallBatch.objects.all(), request.user)[:MAX_BATCHES]
        return [
            (str(batch.pk), f"{wording.title(batch.method, batch.data)}, {batch.created:%Y-%m-%d %H:%M}")
            for batch in batches
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            return queryset.filter(batch=uuid.UUID(str(self.value()))) if self.value() else queryset
        except ValueError:
            return queryset.none()

    def has_output(self) -> bool:
        """Active for a batch of any age, also when there are no newer ones to offer."""
        return bool(self.lookup_choices) or self.value() is not None
