"""The commands of a dock's page and of the list of devices: forms, buttons, and what became of them."""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from devices.admin.device_pages import KeyList
from devices.admin.forms import COMMANDS, Command, CommandForm
from devices.calls import asking, batches, methods, states, wording
from devices.calls.batches import Plan, Skipped
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused
from devices.models import Device, DeviceAccount, ServiceCall, ServiceCallBatch
from devices.presence import Watch, watch
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Role
from organizations.tenancy import restrict

RECENT_CALLS = 10  # on a dock's page, beside the open ones
OPEN_CALLS = 50  # more are on the list of calls
NOT_OPERATOR = "Only an operator of its organization may command it."
SECRETS = ("password", "verification_code")


class Row(NamedTuple):
    """One call as a list shows it."""

    call: ServiceCall
    title: str
    kind: str
    text: str


class Offer(NamedTuple):
    """One command as the page offers it: its form, and why it cannot be sent now, "" if it can."""

    command: Command
    form: CommandForm
    refusal: str
    may_wait: bool  # for the dock to come online


def row(call: ServiceCall) -> Row:
    """A call in words."""
    return Row(call, wording.title(call.method, call.data), wording.KINDS.get(call.status, ""), states.describe(call))


def panel(
    request: HttpRequest, device: Device, *, answered: CommandForm | None = None, command: str = "", said: str = ""
) -> dict[str, Any]:
    """What the panel of commands shows to this user; `answered` is the form that was just sent, with its errors."""
    calls = restrict(ServiceCall.objects.filter(device=device), request.user).select_related(
        "requested_by", "requested_with"
    )
    open_calls = list(calls.open()[:OPEN_CALLS])
    ended = [call for call in calls[: RECENT_CALLS + len(open_calls)] if not call.is_open][:RECENT_CALLS]
    account = DeviceAccount.objects.filter(device=device).first()
    may_command = may(request, Role.OPERATOR, device.organization_id)
    offers = list(_offers(device, open_calls, account, answered, command)) if may_command else []
    return {
        "commanded": device,
        "said": said,
        "account": account,
        "wants_code": account is not None and account.status == DeviceAccount.Status.VERIFICATION_REQUIRED,
        "code_link": _https(account.verification_code_url) if account else "",
        "calls": [row(call) for call in [*open_calls, *ended]],
        "may_command": may_command,
        "offers": {offer.command.name.replace("-", "_"): offer for offer in offers},
        "why_most": _shared(offer.refusal for offer in offers),
        "words": json.dumps(wording.WORDS),
        "kinds": json.dumps(wording.KINDS),
    }


def _shared(refusals: Iterable[str]) -> str:
    """The reason why several commands cannot be sent, to be told once; "" if there is none."""
    counted = Counter(refusal for refusal in refusals if refusal)
    reason, times = counted.most_common(1)[0] if counted else ("", 0)
    return reason if times > 2 else ""  # more than login and logout


def _https(url: str) -> str:
    """A link that people may click on, or ""."""
    return url if url.lower().startswith("https://") else ""


def _offers(
    device: Device,
    open_calls: Iterable[ServiceCall],
    account: DeviceAccount | None,
    answered: CommandForm | None,
    answered_command: str,
) -> Iterable[Offer]:
    watched = watch()
    calls = list(open_calls)
    for command in COMMANDS.values():
        if answered is not None and command.name == answered_command:
            form = answered
        else:
            username = account.username if account and command.method == methods.LOGIN else ""
            form = command.form(command=command.name, owner=device.organization_id, initial={"username": username})
        refusal, may_wait = _refusal(device, command, watched)
        superseded = METHODS[command.method].supersedes
        subjects = {call.subject for call in calls if call.method not in superseded}
        if not refusal and _subject(command) in subjects:
            both = _subject(command) == methods.ACCOUNT
            refusal, may_wait = "A login or logout is under way." if both else "One is under way already.", False
        yield Offer(command, form, refusal, may_wait)


def _refusal(device: Device, command: Command, watched: Watch) -> tuple[str, bool]:
    """Why this dock cannot get this command now, and whether it could wait for the dock to come online."""
    if not settings.COMMANDS_AVAILABLE:
        return "No worker sends commands here.", False
    refused = asking.why_not(device, command.method, watch=watched)
    if refused is None:
        return "", False
    later = refused.kind is Refused.Kind.OFFLINE and not METHODS[command.method].secrets
    may_wait = later and asking.why_not(device, command.method, queue=True, watch=watched) is None
    return str(refused), may_wait


def _subject(command: Command) -> str:
    """Of what only one call may be open per dock; "" if only the filled-in form tells."""
    try:
        return METHODS[command.method].subject(_fixed(command) or {})
    except KeyError:
        return ""


# --- many docks ------------------------------------------------------------------------------------


class BatchForm(forms.Form):
    """Which docks, whether offline ones may wait, and a word for the others who will read it."""

    devices = KeyList()
    queue = forms.BooleanField(label="Docks that are offline get it when they come online", required=False)
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": "why, for your colleagues", "autocomplete": "off"}),
    )


def by_reason(skipped: Iterable[Skipped]) -> list[tuple[str, list[Device]]]:
    """The devices left out, grouped by why."""
    ordered = sorted(skipped, key=lambda left: (left.reason, left.device.sn))
    return [(reason, [left.device for left in group]) for reason, group in groupby(ordered, lambda left: left.reason)]


class CommandPages(TenantAdmin):
    """Commands to one dock, from its page, and to many, from the list."""

    def has_command_permission(self, request: HttpRequest) -> bool:
        """Whether the user commands docks of any organization; each dock is asked about again."""
        return may(request, Role.OPERATOR, anywhere=True)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("commands/<slug:command>/", view(self.batch_view), name="devices_device_batch"),
            path("<path:object_id>/commands/", view(self.commands_view), name="devices_device_commands"),
            *super().get_urls(),
        ]

    # --- one dock ------------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters(*SECRETS))
    def commands_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET shows the panel, with `?fragment` nothing but it; POST sends a command."""
        device = self.get_object(request, unquote(object_id))
        if device is None or device.is_aircraft:
            raise Http404
        if request.method != "POST":
            return self._panel_page(request, device)
        command = COMMANDS.get(request.POST.get("command", ""))
        if command is None:
            raise BadRequest("There is no such command.")
        if not may(request, Role.OPERATOR, device.organization_id):
            raise PermissionDenied
        form = command.form(request.POST, command=command.name, owner=device.organization_id)
        if not form.is_valid():
            return self._panel_page(request, device, answered=form, command=command.name)
        try:
            call = self._send(request, device, command, form)
        except Refused as refused:
            form.add_error(None, str(refused))
            return self._panel_page(request, device, answered=form, command=command.name)
        said = f"{wording.title(call.method, call.data)}: {states.describe(call)}"
        if "fragment" in request.GET:
            return self._panel_page(request, device, said=said)
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:devices_device_change", args=[device.pk]) + "#commands")

    @sensitive_variables()
    def _send(self, request: HttpRequest, device: Device, command: Command, form: CommandForm) -> ServiceCall:
        return asking.issue(
            device=device,
            method=command.method,
            data=form.call_data(),
            actor=actor(request),
            queue="queue" in request.POST,
        )

    def _panel_page(self, request: HttpRequest, device: Device, **shown: Any) -> HttpResponse:
        context = panel(request, device, **shown)
        if "fragment" in request.GET:
            return TemplateResponse(request, "admin/devices/device/commands.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": f"Commands to {device}",
            "opts": self.opts,
            "original": device,
        }
        return TemplateResponse(request, "admin/devices/device/commands_page.html", context)

    # --- many docks ----------------------------------------------------------------------------

    @admin.action(description="Read licenses (aircraft)", permissions=["command"])
    def read_aircraft_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm(request, COMMANDS["read-aircraft"], queryset)

    @admin.action(description="Read licenses (dock)", permissions=["command"])
    def read_dock_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm(request, COMMANDS["read-dock"], queryset)

    @admin.action(description="Update licenses (newest)", permissions=["command"])
    def update_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm(request, COMMANDS["update"], queryset)

    @admin.action(description="Update licenses from a file…", permissions=["command"])
    def update_file_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm(request, COMMANDS["update-file"], queryset)

    @admin.action(description="Switch a license…", permissions=["command"])
    def switch_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        return self._confirm(request, COMMANDS["switch"], queryset)

    def batch_view(self, request: HttpRequest, command: str) -> HttpResponse:
        """POST starts a batch, or asks again for what is missing or wrong; GET leads back to the list."""
        chosen = COMMANDS.get(command)
        if chosen is None or METHODS[chosen.method].secrets or chosen.method == methods.LOGOUT:
            raise Http404
        if not self.has_command_permission(request):
            raise PermissionDenied
        form = BatchForm(request.POST)
        if request.method != "POST" or "devices" not in form.data or not form.is_valid():
            self.message_user(request, "Choose the docks to command from the list.", messages.WARNING)
            return self._to_list()
        devices = self.get_queryset(request).filter(pk__in=form.cleaned_data["devices"])
        data = chosen.form(request.POST, command=chosen.name, owner=batches.owner(devices))
        if not data.is_valid():
            return self._confirm(request, chosen, devices, form=form, data=data)
        try:
            batch = self._start(request, chosen, devices, form, data)
        except Refused as refused:
            data.add_error(None, str(refused))
            return self._confirm(request, chosen, devices, form=form, data=data)
        if batch is None:
            return self._confirm(request, chosen, devices, form=form, data=data)
        return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[batch.pk]))

    def _start(
        self, request: HttpRequest, command: Command, devices: QuerySet[Device], form: BatchForm, data: CommandForm
    ) -> ServiceCallBatch | None:
        mine, not_mine = self._commanded(request, devices)
        if not mine or self._why_mixed(request, devices):
            return None
        return batches.start(
            devices=mine,
            method=command.method,
            data=data.call_data(),
            actor=actor(request),
            note=form.cleaned_data["note"],
            queue=form.cleaned_data["queue"],
            skipped=not_mine,
        )

    def _commanded(self, request: HttpRequest, devices: QuerySet[Device]) -> tuple[list[Device], list[Skipped]]:
        """The devices that the user may command, and the others."""
        mine, others = [], []
        for device in devices.select_related("organization", "state").order_by("callsign", "sn"):
            if may(request, Role.OPERATOR, device.organization_id):
                mine.append(device)
            else:
                others.append(Skipped(device, NOT_OPERATOR))
        return mine, others

    def _why_mixed(self, request: HttpRequest, devices: Iterable[Device]) -> str:
        """Why these devices make no batch; platform staff may mix organizations."""
        return "" if may(request, None) else batches.why_mixed(devices)

    def _confirm(
        self,
        request: HttpRequest,
        command: Command,
        devices: QuerySet[Device],
        *,
        form: BatchForm | None = None,
        data: CommandForm | None = None,
    ) -> HttpResponse:
        mine, not_mine = self._commanded(request, devices)
        if mixed := self._why_mixed(request, devices):
            self.message_user(request, mixed, messages.ERROR)
            return self._to_list()
        now, later = self._plans(command, mine, data)
        waiting = {device.pk for device in later.devices} - {device.pk for device in now.devices}
        others = [left.device for left in not_mine]
        skipped = [*not_mine, *(left for left in now.skipped if left.device.pk not in waiting)]
        initial = {"devices": [device.pk for device in [*mine, *others]]}
        context = {
            **self.admin_site.each_context(request),
            "title": f"{command.title}: {len(mine) + len(others)} chosen",
            "opts": self.opts,
            "command": command,
            "form": form or BatchForm(initial=initial, auto_id="id_batch_%s"),
            "data": data or command.form(command=command.name, owner=batches.owner([*mine, *others])),
            "now": now.devices,
            "waiting": [device for device in later.devices if device.pk in waiting],
            "skipped": by_reason(skipped),
            "skipped_count": len(skipped),
            "unavailable": not settings.COMMANDS_AVAILABLE,
        }
        return TemplateResponse(request, "admin/devices/device/batch.html", context)

    def _plans(self, command: Command, devices: list[Device], data: CommandForm | None) -> tuple[Plan, Plan]:
        """What would happen now, and with docks that may wait to come online."""
        watched = watch()
        given = data.call_data() if data is not None and data.is_valid() else _fixed(command)
        return (
            batches.plan(devices, command.method, given, watched=watched),
            batches.plan(devices, command.method, given, queue=True, watched=watched),
        )

    def _to_list(self) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:devices_device_changelist"))


def _fixed(command: Command) -> dict[str, Any] | None:
    """What the service is given if nobody has to fill anything in."""
    form = command.form(command=command.name)
    return None if form.fields else form.call_data()
