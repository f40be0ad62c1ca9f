"""The commands of a dock's page and of the list of devices: forms, buttons, and what became of them."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from devices.admin.device_pages import KeyList
from devices.admin.forms import DAY, WAITS, CommandForm, LaterForm, SendingForm, waits
from devices.calls import asking, batches, methods, scheduling, wording
from devices.calls.batches import Skipped
from devices.calls.method import Button
from devices.calls.methods import BUTTONS, METHODS
from devices.calls.refusal import Refused, why_not
from devices.models import Device, DeviceAccount, ServiceCall, ServiceCallBatch
from devices.presence import watch
from mqtt_bridge.database.natural_sort import natural
from organizations.admin.tenant import TenantAdmin, actor, may
from organizations.models import Preference, Role
from organizations.tenancy import restrict

MOST_DOCKS = 1000  # in an address
RECENT_CALLS = 10  # on a dock's page, beside the open ones
OPEN_CALLS = 50  # more are on the list of calls
NOT_OPERATOR = _("Only an operator of its organization may command it.")
SECRETS = ("password", "verification_code")


class Row(NamedTuple):
    """One call as a list shows it."""

    call: ServiceCall
    title: str
    kind: str
    word: str  # of its state
    text: str
    by: str  # who asked for it


class Offer(NamedTuple):
    """One button as a dock's page shows it: its form, and why it cannot be sent now, "" if it can."""

    button: Button
    form: CommandForm
    refusal: str
    may_wait: bool  # for the dock to come online


def row(call: ServiceCall) -> Row:
    """A call in words."""
    return Row(
        call,
        methods.title(call.method, call.data),
        *wording.state(call),
        wording.describe(call),
        wording.asked_by(call),
    )


def panel(
    request: HttpRequest, device: Device, *, answered: CommandForm | None = None, said: str = ""
) -> dict[str, object]:
    """What the panels of a dock's page show to this user; `answered` is the form just sent, with its errors."""
    calls = restrict(ServiceCall.objects.filter(device=device), request.user).select_related(
        "requested_by", "requested_with"
    )
    open_calls = list(calls.open()[:OPEN_CALLS])
    ended = [call for call in calls[: RECENT_CALLS + len(open_calls)] if not call.is_open]
    over = {call.pk for call in ended}  # the newer read decides about a call that ended between the two
    open_calls = [call for call in open_calls if call.pk not in over]
    account = DeviceAccount.objects.filter(device=device).first()
    wants_code = account is not None and account.status == DeviceAccount.Status.VERIFICATION_REQUIRED
    logins = calls.filter(method=methods.LOGIN)[:1] if wants_code else []
    may_command = may(request, Role.OPERATOR, device.organization_id)
    offers = _offers(device, open_calls, account, answered) if may_command else {}
    refusals = Counter(offer.refusal for panel in offers.values() for offer in panel if offer.refusal)
    reason, times = refusals.most_common(1)[0] if refusals else ("", 0)
    link = account.verification_code_url if account else ""
    return {
        "commanded": device,
        "said": said,
        "account": account,
        "wants_code": wants_code,
        "had_code": any(call.data.get("verification_code") for call in logins),
        "code_link": link if methods.is_djis_link(link) else "",
        "strange_link": link if methods.is_safe_link(link) and not methods.is_djis_link(link) else "",
        "calls": [row(call) for call in [*open_calls, *ended[:RECENT_CALLS]]],
        "may_command": may_command,
        "panels": offers or {str(method.panel): [] for method in METHODS.values()},
        "why_most": reason if times > 2 else "",  # more than login and logout: shown once
        "waits": waits(),
        "usual_wait": DAY,
        "words": json.dumps(wording.words()),
        "kinds": json.dumps(wording.KINDS),
    }


def _offers(
    device: Device, open_calls: Iterable[ServiceCall], account: DeviceAccount | None, answered: CommandForm | None
) -> dict[str, list[Offer]]:
    """Every button with its form, by the panel it is in."""
    watched = watch()
    offers: dict[str, list[Offer]] = {}
    for method, button in BUTTONS.values():
        if answered is not None and button is answered.button:
            form = answered
        else:
            username = account.username if account and method.name == methods.LOGIN else ""
            form = CommandForm(method, button, owner=device.organization_id, username=username)
        busy = {(device.pk, call.subject) for call in open_calls if call.method not in method.supersedes}
        subject = ""
        with contextlib.suppress(KeyError):  # only the form that is filled in tells, for example which license
            subject = method.subject(button.given)
        refused = why_not(device, method, watch=watched, subject=subject, busy=busy)
        may_wait = (
            refused is not None
            and refused.kind is Refused.Kind.OFFLINE
            and why_not(device, method, watch=watched, queue=True, subject=subject, busy=busy) is None
        )
        offers.setdefault(str(method.panel), []).append(Offer(button, form, str(refused or ""), may_wait))
    return offers


# --- many docks ------------------------------------------------------------------------------------


class BatchForm(SendingForm):
    """Which docks, and how."""

    devices = KeyList()


def by_reason(skipped: Iterable[Skipped]) -> list[tuple[str, list[Device]]]:
    """The devices left out, grouped by why."""
    ordered = sorted(skipped, key=lambda left: (str(left.reason), left.device.sn))
    groups = groupby(ordered, lambda left: str(left.reason))
    return [(reason, [left.device for left in group]) for reason, group in groups]


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
    @sensitive_variables()
    def commands_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET shows the panels, with `?fragment` nothing else; POST sends a command."""
        device = self.get_object(request, unquote(object_id))
        if device is None or device.is_aircraft:
            raise Http404
        if request.method != "POST":
            return self._panel_page(request, device)
        method, button = BUTTONS.get(request.POST.get("command", ""), (None, None))
        if method is None or button is None:
            raise BadRequest(gettext("There is no such command."))
        if not may(request, Role.OPERATOR, device.organization_id):
            raise PermissionDenied
        seconds = request.POST.get("wait", str(DAY))
        if not seconds.isdecimal() or int(seconds[:9]) not in WAITS:
            raise BadRequest(gettext("Choose how long the command may wait."))
        user = actor(request).user
        asks = user is None or Preference.asks_before_switch_off(user.pk)
        form = CommandForm(method, button, request.POST, owner=device.organization_id, asks_before_off=asks)
        if not form.is_valid():
            return self._panel_page(request, device, answered=form)
        if user and {"sure", "unasked"} <= request.POST.keys():
            Preference.keep(user.pk, ask_before_switch_off=False)
        try:
            call = asking.issue(
                device=device,
                method=method.name,
                data=form.call_data(),
                actor=actor(request),
                queue="queue" in request.POST,
                expires_in=timedelta(seconds=int(seconds)) if "queue" in request.POST else None,
            )
        except Refused as refused:
            form.add_error(None, str(refused))
            return self._panel_page(request, device, answered=form)
        said = gettext("{about}: {text}").format(
            about=methods.title(call.method, call.data), text=wording.describe(call)
        )
        if "fragment" in request.GET:
            return self._panel_page(request, device, said=said)
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:devices_device_change", args=[device.pk]) + "#commands")

    def _panel_page(
        self, request: HttpRequest, device: Device, *, answered: CommandForm | None = None, said: str = ""
    ) -> HttpResponse:
        context = panel(request, device, answered=answered, said=said)
        if "fragment" in request.GET:
            return TemplateResponse(request, "admin/devices/device/commands.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": gettext("Commands to {device}").format(device=device),
            "opts": self.opts,
            "original": device,
        }
        return TemplateResponse(request, "admin/devices/device/commands_page.html", context)

    # --- many docks ----------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters(*SECRETS))
    @sensitive_variables()
    def batch_view(self, request: HttpRequest, command: str) -> HttpResponse:
        """POST starts a batch or plans it, or asks again for what is missing or wrong; GET leads back to the list."""
        method, button = BUTTONS.get(command, (None, None))
        if method is None or button is None or not button.action:
            raise Http404
        if not self.has_command_permission(request):
            raise PermissionDenied
        form = BatchForm(request.POST)
        if request.method != "POST" or "devices" not in form.data or not form.is_valid():
            self.message_user(request, gettext("Choose the docks to command from the list."), messages.WARNING)
            return self._to_list()
        devices = self.get_queryset(request).filter(pk__in=form.cleaned_data["devices"])
        filled_in = CommandForm(method, button, request.POST, owner=batches.owner(devices))
        mine, not_mine = self._commanded(request, devices)
        zones = [device.time_zone for device in mine]
        due = LaterForm(request.POST, zones=zones) if "later" in request.POST else None
        is_valid = filled_in.is_valid() and (due is None or due.is_valid())
        if mine and is_valid and not self._why_mixed(request, devices):
            start: Callable[..., ServiceCallBatch | list[ServiceCallBatch]] = partial(batches.start, skipped=not_mine)
            if due is not None and due.cleaned_data.get("own_zone"):
                start = partial(scheduling.schedule_by_zone, due_in=due.cleaned_data["due_in"])
            elif due is not None:
                start = partial(scheduling.schedule, due_at=due.cleaned_data["due_at"])
            wait = form.cleaned_data["wait"]
            try:
                made = start(
                    devices=mine,
                    method=method.name,
                    data=filled_in.call_data(),
                    actor=actor(request),
                    note=form.cleaned_data["note"],
                    queue=wait is not None,
                    expires_in=wait,
                )
                if isinstance(made, list):
                    text = ngettext(
                        "{n} batch is planned, for the docks of its time zone.",
                        "{n} batches are planned, one for each time zone.",
                        len(made),
                    )
                    self.message_user(request, text.format(n=len(made)), messages.SUCCESS)
                    return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_changelist") + "?start=planned")
                return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[made.pk]))
            except Refused as refused:
                filled_in.add_error(None, str(refused))
        return self.confirm(request, button.name, devices, form=form, filled_in=filled_in, due=due)

    def confirm(
        self,
        request: HttpRequest,
        command: str,
        devices: QuerySet[Device],
        *,
        form: BatchForm | None = None,
        filled_in: CommandForm | None = None,
        due: LaterForm | None = None,
    ) -> HttpResponse:
        """The page that shows which docks would get a command, and asks for what is missing or wrong."""
        if mixed := self._why_mixed(request, devices):
            self.message_user(request, mixed, messages.ERROR)
            return self._to_list()
        method, button = BUTTONS[command]
        mine, not_mine = self._commanded(request, devices)
        chosen = [*mine, *(left.device for left in not_mine)]
        data = None if button.fields else button.given
        if filled_in is not None and filled_in.is_valid():
            data = filled_in.call_data()
        watched = watch()
        now = batches.plan(mine, method.name, data, watched=watched)
        later = batches.plan(mine, method.name, data, queue=True, watched=watched)
        waiting = {device.pk for device in later.devices} - {device.pk for device in now.devices}
        # Of a dock that is offline: why it cannot wait, if it could.
        better = {} if method.secrets else {left.device.pk: left for left in later.skipped}
        out = (better.get(left.device.pk, left) for left in now.skipped if left.device.pk not in waiting)
        skipped = [*not_mine, *out]
        get_it = [device for device in later.devices if device.pk in waiting] + now.devices
        owners = Counter(device.organization.name for device in get_it if device.organization)
        initial = {"devices": [device.pk for device in chosen], "wait": "" if now.devices or not waiting else DAY}
        zones = [device.time_zone for device in mine or chosen] or ["UTC"]
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("{command}: {n} chosen").format(command=button.title, n=len(chosen)),
            "opts": self.opts,
            "button": button,
            "form": form or BatchForm(initial=initial, auto_id="id_batch_%s"),
            "data": filled_in or CommandForm(method, button, owner=batches.owner(chosen)),
            "now": now.devices,
            "owners": sorted(owners.items()) if len(owners) > 1 else [],
            "may_wait": not method.secrets,
            "later": due or LaterForm.tonight(zones),
            "zones": sorted({*zones, "UTC", timezone.get_current_timezone_name()}),
            "waiting": [device for device in later.devices if device.pk in waiting],
            "skipped": by_reason(skipped),
            "skipped_count": len(skipped),
            "unavailable": not settings.COMMANDS_AVAILABLE,
        }
        return TemplateResponse(request, "admin/devices/device/batch.html", context)

    def _commanded(self, request: HttpRequest, devices: QuerySet[Device]) -> tuple[list[Device], list[Skipped]]:
        """The devices that the user may command, and the others."""
        mine, others = [], []
        for device in devices.select_related("organization", "state", "site").order_by(natural("callsign"), "sn"):
            if may(request, Role.OPERATOR, device.organization_id):
                mine.append(device)
            else:
                others.append(Skipped(device, NOT_OPERATOR))
        return mine, others

    def _why_mixed(self, request: HttpRequest, devices: Iterable[Device]) -> str:
        """Why these devices make no batch; platform staff may mix organizations."""
        return "" if may(request, None) else batches.why_mixed(devices)

    def _to_list(self) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:devices_device_changelist"))


def _action(button: Button) -> Callable[[CommandPages, HttpRequest, QuerySet[Device]], HttpResponse]:
    """An action of the list of docks for a button."""

    @admin.action(description=button.action, permissions=["command"])
    def ask_selected(pages: CommandPages, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        if button.page:
            keys = ",".join(str(key) for key in queryset.order_by("pk").values_list("pk", flat=True)[:MOST_DOCKS])
            return HttpResponseRedirect(f"{reverse(button.page)}?devices={keys}")
        return pages.confirm(request, button.name, queryset)

    ask_selected.__name__ = f"{button.name.replace('-', '_')}_selected"
    return ask_selected


ACTIONS: Final = [_action(button) for _, button in BUTTONS.values() if button.action]
