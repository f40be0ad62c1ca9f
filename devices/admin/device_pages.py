"""What the admin does with devices besides editing one: release, enable and disable, clear out, trace."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from devices import binding, registry
from devices.diagnosis import tracing
from devices.models import Device, DeviceQuerySet
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Role
from organizations.tenancy import is_platform_staff

UNCLAIMED = _("already unclaimed")
NOT_MANAGER = _("only a manager of its organization may do this")
NAMED = 20  # devices that a message lists by name


class KeyList(forms.Field):
    """Primary keys in one hidden field, so that any number of them stays below Django's limit on fields."""

    widget = forms.HiddenInput

    def to_python(self, value: object) -> list[int]:
        keys = str(value or "").split(",")
        if not all(key.isdecimal() and len(key) < 19 for key in keys):
            raise forms.ValidationError(gettext("Choose devices from the list."))
        return [int(key) for key in keys]

    def prepare_value(self, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, list) else value


class ReleaseForm(forms.Form):
    """Which devices go, and whether the aircraft in the docks go with them."""

    devices = KeyList()
    with_aircraft = forms.BooleanField(label=_("Release the aircraft in these docks too"), required=False, initial=True)


class ClearOutForm(forms.Form):
    """How long a device must have been silent."""

    days = forms.IntegerField(
        label=_("Silent for (days)"),
        initial=7,
        min_value=1,
        max_value=3650,
        error_messages={"invalid": _("A number of days.")},
    )


class TraceForm(forms.Form):
    """For how long every event of a device is kept; 0 ends it."""

    minutes = forms.IntegerField(min_value=0, max_value=tracing.LONGEST)


class Choice(NamedTuple):
    """The devices that an action takes, and those it skips, each with the reason."""

    taken: list[Device]
    skipped: list[tuple[Device, str]]


def choose(request: HttpRequest, devices: Iterable[Device], *, bound: bool = False) -> Choice:
    """Sort devices into those that the user manages, with `bound` only those that are bound, and the others."""
    choice = Choice([], [])
    for device in devices:
        if bound and device.organization_id is None:
            choice.skipped.append((device, str(UNCLAIMED)))
        elif not may(request, Role.MANAGER, device.organization_id):
            choice.skipped.append((device, str(NOT_MANAGER)))
        else:
            choice.taken.append(device)
    return choice


def named(devices: Sequence[Device]) -> str:
    """The devices' names for a message; of many devices only the first."""
    names = ", ".join(str(device) for device in devices[:NAMED])
    more = gettext("{names} and {count} more").format(names=names, count=len(devices) - NAMED)
    return more if len(devices) > NAMED else names


class DevicePages(TenantAdmin):
    """What managers and platform staff do with devices beyond editing them."""

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user manages any organization; each device is asked about again."""
        return may(request, Role.MANAGER, anywhere=True)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("release/", view(self.release_view), name="devices_device_release"),
            path("clear-out/", view(self.clear_out_view), name="devices_device_clear_out"),
            path("<path:object_id>/trace/", view(require_POST(self.trace_view)), name="devices_device_trace"),
            *super().get_urls(),
        ]

    # --- release -----------------------------------------------------------------------------

    @admin.action(description=_("Release selected devices from their organization"), permissions=["manage"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm_release(request, list(queryset.values_list("pk", flat=True)))

    def release_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks for confirmation of `?devices=1,2`, POST releases."""
        if not self.has_manage_permission(request):
            raise PermissionDenied
        form = ReleaseForm(request.POST if request.method == "POST" else request.GET)
        if not form.is_valid():
            self.message_user(request, gettext("Choose the devices to release from the list."), messages.WARNING)
            return self._to_list()
        if request.method != "POST":
            return self._confirm_release(request, form.cleaned_data["devices"])
        with transaction.atomic():
            devices = self._releasable(
                request, form.cleaned_data["devices"], with_aircraft=form.cleaned_data["with_aircraft"]
            )
            choice = choose(request, devices.lock_in_order(), bound=True)
            released = binding.release(choice.taken, actor=actor(request))
        self._report(request, gettext("Released: {names}."), released, choice.skipped)
        return self._to_list()

    def _releasable(self, request: HttpRequest, keys: list[int], *, with_aircraft: bool) -> DeviceQuerySet:
        """The visible devices with these keys, and the bound aircraft of the docks among them."""
        chosen = Q(pk__in=keys)
        if with_aircraft:
            chosen |= Q(gateway__in=keys, organization__isnull=False)
        visible = self.get_queryset(request).filter(chosen)
        return Device.objects.filter(pk__in=visible.values("pk")).order_by("sn")

    def _confirm_release(self, request: HttpRequest, keys: list[int]) -> HttpResponse:
        rows = self._releasable(request, keys, with_aircraft=True).select_related("organization", "gateway", "state")
        choice = choose(request, (device for device in rows if device.pk in set(keys)), bound=True)
        carried = [device for device in rows if device.pk not in set(keys)]
        if not choice.taken:
            self._report(request, "", [], choice.skipped)
            return self._to_list()
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Release devices"),
            "opts": self.opts,
            "form": ReleaseForm(initial={"devices": [device.pk for device in choice.taken], "with_aircraft": True}),
            "taken": choice.taken,
            "carried": choose(request, carried, bound=True).taken,
            "docked": [device for device in choice.taken if device.gateway_id and device.gateway not in choice.taken],
            "skipped": choice.skipped,
        }
        return TemplateResponse(request, "admin/devices/device/release.html", context)

    # --- enable, disable -----------------------------------------------------------------------

    @admin.action(description=_("Enable selected devices"), permissions=["manage"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description=_("Disable selected devices"), permissions=["manage"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    def _set_enabled(self, request: HttpRequest, queryset: QuerySet[Device], *, enabled: bool) -> None:
        choice = choose(request, queryset)
        changed = registry.set_enabled(choice.taken, enabled=enabled, actor=actor(request))
        before = {device.pk for device in choice.taken} - {device.pk for device in changed}
        already = gettext("enabled already") if enabled else gettext("disabled already")
        skipped = choice.skipped + [(device, already) for device in choice.taken if device.pk in before]
        done = gettext("Enabled: {names}.") if enabled else gettext("Disabled: {names}.")
        self._report(request, done, changed, skipped)

    # --- clear out -----------------------------------------------------------------------------

    def clear_out_view(self, request: HttpRequest) -> HttpResponse:
        """Platform staff: count, then delete, unclaimed devices that have been silent for some days."""
        if not is_platform_staff(request.user):
            raise PermissionDenied
        confirmed = request.method == "POST"
        form = ClearOutForm(request.POST if confirmed else request.GET or {"days": 7})
        now = timezone.now()
        if confirmed and form.is_valid():
            gone = registry.clear_out(days=form.cleaned_data["days"], now=now, actor=actor(request))
            text = ngettext("Deleted {count} unclaimed device.", "Deleted {count} unclaimed devices.", gone)
            self.message_user(request, text.format(count=gone), messages.SUCCESS)
            return self._to_list()
        found = registry.forgotten(days=form.cleaned_data["days"], now=now) if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Clear out unclaimed devices"),
            "opts": self.opts,
            "form": form,
            "count": found.count() if found is not None else 0,
            "examples": found.select_related("state").order_by("state__last_seen", "sn")[:NAMED] if found else [],
        }
        return TemplateResponse(request, "admin/devices/device/clear_out.html", context)

    # --- trace -----------------------------------------------------------------------------------

    def trace_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Keep every event of a device for some minutes, or stop doing so."""
        device = self.get_object(request, unquote(object_id))
        if device is None:
            raise Http404
        if not may(request, Role.OPERATOR, device.organization_id):
            raise PermissionDenied
        form = TraceForm(request.POST)
        if form.is_valid():
            tracing.trace(device, minutes=form.cleaned_data["minutes"], actor=actor(request))
        return HttpResponseRedirect(f"{reverse('admin:devices_device_change', args=[device.pk])}#passing")

    # --- the outcome -----------------------------------------------------------------------------

    def _report(
        self, request: HttpRequest, done: str, devices: Sequence[Device], skipped: Sequence[tuple[Device, str]]
    ) -> None:
        if devices:
            self.message_user(request, done.format(names=named(devices)), messages.SUCCESS)
        for reason in sorted({why for _device, why in skipped}):
            names = named([device for device, why in skipped if why == reason])
            text = gettext("Skipped, {reason}: {names}.").format(reason=reason, names=names)
            self.message_user(request, text, messages.WARNING)
        if not devices and not skipped:
            self.message_user(request, gettext("None of these devices was found."), messages.WARNING)

    def _to_list(self) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:devices_device_changelist"))
