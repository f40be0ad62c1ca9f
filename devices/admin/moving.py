"""What the admin does with devices that change hands: transfer, the inbox of unclaimed ones, retire and restore."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.admin.device_pages import DevicePages, KeyList, choose
from devices.models import Device
from devices.moving import inbox, retiring, transfer
from organizations.admin.tenant import actor
from organizations.models import Organization
from organizations.tenancy import is_platform_staff

NOT_IN_USE = gettext_lazy("retired already")
IN_USE = gettext_lazy("not retired")
NOT_UNCLAIMED = gettext_lazy("not an unclaimed device any more")
PAGE = 100  # devices of the inbox


class TransferForm(forms.Form):
    """Which devices go, to whom, and what goes with them."""

    devices = KeyList()
    to = forms.ModelChoiceField(Organization.objects.filter(is_active=True), label=gettext_lazy("To organization"))
    with_aircraft = forms.BooleanField(
        label=gettext_lazy("The aircraft in these docks go too"), required=False, initial=True
    )
    keep_accounts = forms.BooleanField(
        label=gettext_lazy("The docks keep their own MQTT accounts"), required=False, initial=True
    )


class DevicesForm(forms.Form):
    """Which devices, and whether the aircraft in them are meant too."""

    devices = KeyList()
    with_aircraft = forms.BooleanField(
        label=gettext_lazy("The aircraft in these docks too"), required=False, initial=True
    )


class MovingPages(DevicePages):
    """How devices change hands by a person's decision."""

    def has_transfer_permission(self, request: HttpRequest) -> bool:
        """Platform staff: nobody else sees both organizations."""
        return is_platform_staff(request.user)

    def get_actions(self, request: HttpRequest) -> "dict[str, Any]":
        """What is retired comes back or is deleted; only the list of what is retired offers that it comes back."""
        found = super().get_actions(request)
        if request.GET.get("retired") == "yes":
            return {name: found[name] for name in ("restore_selected", "delete_selected") if name in found}
        return {name: action for name, action in found.items() if name != "restore_selected"}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("transfer/", view(self.transfer_view), name="devices_device_transfer"),
            path("inbox/", view(self.inbox_view), name="devices_device_inbox"),
            path("retire/", view(self.retire_view), name="devices_device_retire"),
            *super().get_urls(),
        ]

    # --- transfer ------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Transfer selected devices to an organization"), permissions=["transfer"])
    def transfer_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return to_page("devices_device_transfer", queryset.values_list("pk", flat=True))

    def transfer_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows what moving `?devices=1,2` would do, to `&to=` if chosen; POST moves them."""
        if not self.has_transfer_permission(request):
            raise PermissionDenied
        is_chosen = bool(request.POST.get("to") or request.GET.get("to"))
        ticked = {"devices": request.GET.get("devices", ""), "with_aircraft": "on", "keep_accounts": "on"}
        form = TransferForm(request.POST if request.method == "POST" else request.GET if is_chosen else ticked)
        form.is_valid()
        given = form.cleaned_data
        keys = given.get("devices", [])
        rows = transfer.with_aircraft(keys) if given["with_aircraft"] else Device.objects.filter(pk__in=keys)
        devices, to = list(rows), given.get("to")
        if not devices:
            self.message_user(request, _("Choose the devices to transfer from the list."), messages.WARNING)
            return self._to_list()
        if request.method == "POST" and to is not None:
            try:
                moved = transfer.move(devices, to, actor=actor(request), keep_accounts=given["keep_accounts"])
            except transfer.Refused as error:
                self.message_user(request, str(error), messages.ERROR)
                return to_page("devices_device_transfer", keys)
            gone = {device.pk for device in moved}
            stayed = [(device, str(transfer.THERE_ALREADY)) for device in devices if device.pk not in gone]
            self._report(request, _("Transferred to {organization}").format(organization=to.name), moved, stayed)
            return self._to_list()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Transfer devices"),
            "opts": self.opts,
            "form": form,
            "is_chosen": is_chosen,
            "to": to,
            "plan": transfer.plan(devices, to),
        }
        return TemplateResponse(request, "admin/devices/device/transfer.html", context)

    # --- the inbox -----------------------------------------------------------------------------

    def inbox_view(self, request: HttpRequest) -> HttpResponse:
        """Unclaimed devices, with `?ignored=yes` those that are ignored; POST assigns, ignores or stops ignoring."""
        if not self.has_transfer_permission(request):
            raise PermissionDenied
        is_ignored = request.GET.get("ignored") == "yes"
        if request.method == "POST":
            keys = [int(key) for key in request.POST.getlist("device") if key.isdecimal() and len(key) < 19]
            if request.POST.get("deed") == "assign" and keys:
                return to_page("devices_device_transfer", keys)
            rows, ignored = Device.objects.filter(pk__in=keys), request.POST.get("deed") != "stop"
            devices = list(rows)
            changed = inbox.set_ignored(devices, ignored=ignored, actor=actor(request))
            done = _("Ignored") if ignored else _("In the inbox again")
            skipped = [(device, str(NOT_UNCLAIMED)) for device in devices if device not in changed]
            self._report(request, done, changed, skipped)
            return HttpResponseRedirect(request.get_full_path())
        page = Paginator(inbox.waiting(ignored=is_ignored), PAGE).get_page(request.GET.get("p"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Unclaimed devices"),
            "opts": self.opts,
            "is_ignored": is_ignored,
            "page": page,
            "entries": inbox.entries(list(page.object_list)),
            "others": inbox.waiting(ignored=not is_ignored).count(),
        }
        return TemplateResponse(request, "admin/devices/device/inbox.html", context)

    # --- retire, restore -------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Retire selected devices"), permissions=["manage"])
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return to_page("devices_device_retire", queryset.values_list("pk", flat=True))

    @admin.action(description=gettext_lazy("Take selected devices back into use"), permissions=["transfer"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        devices = list(queryset)
        restored = retiring.restore(devices, actor=actor(request))
        skipped = [(device, str(IN_USE)) for device in devices if device not in restored]
        self._report(request, _("In use again"), restored, skipped)

    def retire_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks for confirmation of `?devices=1,2`, POST retires; each device for a manager of its organization."""
        if not self.has_manage_permission(request):
            raise PermissionDenied
        form = DevicesForm(request.POST if request.method == "POST" else request.GET)
        if not form.is_valid():
            self.message_user(request, _("Choose the devices to retire from the list."), messages.WARNING)
            return self._to_list()
        keys, is_asked = form.cleaned_data["devices"], request.method != "POST"
        rows = self._releasable(request, keys, with_aircraft=is_asked or form.cleaned_data["with_aircraft"])
        choice = choose(request, rows.select_related("organization", "gateway"))
        if not is_asked or not choice.taken:
            with transaction.atomic():
                retired = [] if is_asked else retiring.retire(choice.taken, actor=actor(request))
            before = [(device, str(NOT_IN_USE)) for device in choice.taken if device not in retired]
            self._report(request, _("Retired"), retired, [*choice.skipped, *before])
            return self._to_list()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Retire devices"),
            "opts": self.opts,
            "form": DevicesForm(initial={"devices": keys, "with_aircraft": True}),
            "taken": [device for device in choice.taken if device.pk in set(keys)],
            "carried": [device for device in choice.taken if device.pk not in set(keys)],
            "skipped": choice.skipped,
        }
        return TemplateResponse(request, "admin/devices/device/retire.html", context)


def to_page(name: str, keys: "QuerySet[Device, int] | list[int]") -> HttpResponse:
    """Lead to a page that asks about these devices."""
    return HttpResponseRedirect(f"{reverse(f'admin:{name}')}?devices={','.join(map(str, keys))}")
