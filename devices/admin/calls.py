"""Commands that were sent, in the admin: their list, the page of each, retry and cancel."""

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.forms.widgets import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from devices.admin.commands import SECRETS, Row, row
from devices.admin.filters import BatchFilter, CallStateFilter, ServiceFilter, SiteOfDeviceFilter, WhoAskedFilter
from devices.admin.forms import CommandForm, SendingForm
from devices.calls import asking, batches, ending, wording
from devices.calls.methods import METHODS, label, title
from devices.calls.refusal import Refused, why_not
from devices.calls.transition import AFTER
from devices.diagnosis import exchanges
from devices.models import Device, ServiceCall, ServiceCallBatch, ServiceCallQuerySet
from devices.presence import watch
from devices.templatetags.moments import ago
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter, actor, may, readable
from organizations.language import stored
from organizations.models import Role
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import typed

MANY: Final = 500  # commands that an action takes at once


def has_moved(call: ServiceCall) -> bool:
    """Whether the dock belongs to another organization now than when it was called."""
    return call.device.organization_id != call.organization_id


def dock_name(call: ServiceCall) -> str:
    """The dock's name; only the serial number of a dock that has moved, for its new owner gave it the name."""
    return call.device.sn if has_moved(call) else str(call.device)


def dock_link(call: ServiceCall, request: HttpRequest) -> SafeString | str:
    """The dock, linked if the user may open it."""
    if has_moved(call) and not is_platform_staff(request.user):
        return dock_name(call)
    page = reverse("admin:devices_device_change", args=[call.device_id])
    return format_html('<a href="{}">{}</a>', page, call.device)


class LiveMedia:
    """Style sheets and scripts of pages that show calls live."""

    css = {"all": ["devices/devices.css", "devices/commands.css"]}
    js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]


@admin.register(ServiceCall)
class ServiceCallAdmin(ReadOnlyAdmin):
    """What docks were asked, by whom, and the outcome."""

    list_display = ("state", "what", "result", "asked", "until", "owner")  # and the dock
    list_display_links = ("what",)
    list_filter = (
        CallStateFilter, ServiceFilter, ("organization", TenantFilter), SiteOfDeviceFilter, BatchFilter,
        ("created", admin.DateFieldListFilter),
        WhoAskedFilter,  # the last: what it leaves out is counted among those that the others let through
    )  # fmt: skip
    list_select_related = ("device", "organization", "requested_by", "requested_with")
    list_per_page = 100
    list_max_show_all = 1000
    search_fields = ("device__sn",)
    search_help_text = _("Serial number or callsign of the dock, a whole command ID or tid")
    ordering = ("-created",)
    sortable_by = ()
    actions = ("retry_selected", "cancel_selected")
    fields = ("tid",)  # the template shows all there is

    Media = LiveMedia

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with a link to each dock that this user may open."""
        page = super().get_changelist_instance(request)
        page.title = gettext("Commands")

        @admin.display(description=_("dock"))
        def dock(call: ServiceCall) -> SafeString | str:
            return dock_link(call, request)

        place = page.list_display.index("what")
        page.list_display = [*page.list_display[:place], dock, *page.list_display[place:]]
        return page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ServiceCall], search_term: str
    ) -> tuple[QuerySet[ServiceCall], bool]:
        """A dock that has moved is not found by the name that its new owner gave it."""
        term = typed(search_term)
        if term:
            by_sn = Device.objects.filter(sn__icontains=term).first_keys()
            by_callsign = Device.objects.filter(callsign__icontains=term).first_keys()
            named = Q(device__in=by_callsign, device__organization=F("organization"))
            found = Q(device__in=by_sn) | named | Q(tid=term)
            with suppress(ValueError):
                found |= Q(pk=UUID(term))
            queryset = queryset.filter(found)
        return queryset, False

    @admin.display(description=_("state"))
    def state(self, call: ServiceCall) -> SafeString:
        """A coloured word with a mark that does not need the colour."""
        return format_html('<span class="call-state call-{}">{}</span>', *wording.state(call))

    @admin.display(description=pgettext_lazy("column", "asked for"))
    def what(self, call: ServiceCall) -> str:
        return title(call.method, call.data)

    @admin.display(description=_("result"))
    def result(self, call: ServiceCall) -> SafeString | str:
        text = wording.describe(call)
        if call.percent is None or not call.is_open:
            return text
        return format_html('<progress max="100" value="{0}" aria-label="{0} %"></progress> {1}', call.percent, text)

    @admin.display(description=_("asked"))
    def asked(self, call: ServiceCall) -> SafeString:
        return format_html("{} <small>{}</small>", ago(call.created), wording.asked_by(call))

    @admin.display(description=_("until"))
    def until(self, call: ServiceCall) -> SafeString | str:
        """When it is no longer sent."""
        return ago(call.expires) if call.status == ServiceCall.Status.QUEUED else ""

    @admin.display(description=_("organization"))
    def owner(self, call: ServiceCall) -> str:
        return call.organization.name

    # --- some of the list ----------------------------------------------------------------------

    def has_command_permission(self, request: HttpRequest) -> bool:
        """Whether the user commands docks of any organization; each call is checked again."""
        return may(request, Role.OPERATOR, anywhere=True)

    @admin.action(description=_("Cancel what is not sent"), permissions=["command"])
    def cancel_selected(self, request: HttpRequest, queryset: ServiceCallQuerySet) -> None:
        mine = readable(ServiceCall.objects.filter(pk__in=queryset.order_by().values("pk")), request, Role.OPERATOR)
        canceled = ending.cancel_many(mine, actor=actor(request))
        text = ngettext("{n} command is canceled.", "{n} commands are canceled.", canceled).format(n=canceled)
        if not canceled:
            text = gettext("None of them was still to be sent.")
        self.message_user(request, text, messages.SUCCESS if canceled else messages.WARNING)

    @admin.action(description=_("Retry what failed…"), permissions=["command"])
    def retry_selected(self, request: HttpRequest, queryset: ServiceCallQuerySet) -> HttpResponse | None:
        """Ask first, then start a batch for each organization and method of what failed."""
        mine = batches.retryable(readable(queryset, request, Role.OPERATOR)).order_by("organization_id", "method", "pk")
        calls = list(mine[: MANY + 1])
        open_to_all = [call for call in calls if call.method in METHODS and not needs_secrets(call)]
        if len(calls) > MANY or not open_to_all:
            text = gettext("Choose {most} commands at most.").format(most=MANY)
            if not calls:
                text = gettext(
                    "None of them can be retried here: it has not failed or was tried again already, or its dock has"
                    " moved or is not yours to command."
                )
            elif not open_to_all:
                text = gettext("None of them can be retried here: a login is retried on the page of its batch or dock.")
            self.message_user(request, text, messages.ERROR)
            return None
        form = SendingForm(request.POST if "retry" in request.POST else None, auto_id="id_retry_%s")
        if not form.is_valid():
            return retry_page(
                request, self, open_to_all, form, back=request.get_full_path(), selected=ACTION_CHECKBOX_NAME
            )
        started = []
        for _key, group in groupby(open_to_all, attrgetter("organization_id", "method")):
            some = list(group)
            try:
                batch = batches.retry(
                    ServiceCall.objects.filter(pk__in=[call.pk for call in some]),
                    method=some[0].method,
                    actor=actor(request),
                    note=form.cleaned_data["note"],
                    queue=form.cleaned_data["wait"] is not None,
                    expires_in=form.cleaned_data["wait"],
                )
                started.append(batch)
            except Refused as refused:
                text = gettext("{about}: {text}").format(about=label(some[0].method), text=refused)
                self.message_user(request, text, messages.ERROR)
        if len(started) == 1:
            return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[started[0].pk]))
        return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_changelist"))

    # --- one call ------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/retry/", view(require_POST(self.retry_view)), name="devices_servicecall_retry"),
            path("<path:object_id>/cancel/", view(require_POST(self.cancel_view)), name="devices_servicecall_cancel"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if isinstance(call := context.get("original"), ServiceCall):
            context.update(call_page(request, call))
        return super().render_change_form(request, context, *args, **kwargs)

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask again, as a new call linked to this one."""
        call = self._commanded(request, object_id)
        if needs_secrets(call):
            return HttpResponseRedirect(_login_page(call))
        try:
            again = asking.retry(call, actor=actor(request))
        except Refused as refused:
            self.message_user(request, gettext("Not tried again: {reason}").format(reason=refused), messages.ERROR)
            return self._to(call)
        return self._to(again)

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Cancel it before it is sent."""
        call = self._commanded(request, object_id)
        try:
            ending.cancel(call, actor=actor(request))
        except Refused as refused:
            self.message_user(request, gettext("Not canceled: {reason}").format(reason=refused), messages.ERROR)
        return self._to(call)

    def _commanded(self, request: HttpRequest, object_id: str) -> ServiceCall:
        """The call, which the user may act on: else 404 or 403."""
        call: ServiceCall | None = self.get_object(request, unquote(object_id))
        if call is None:
            raise Http404
        if not may_command(request, call):
            raise PermissionDenied
        return call

    def _to(self, call: ServiceCall) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:devices_servicecall_change", args=[call.pk]))


def retry_page(
    request: HttpRequest,
    page: ReadOnlyAdmin,
    calls: Iterable[ServiceCall],
    form: SendingForm,
    *,
    back: str,
    data: CommandForm | None = None,
    selected: str = "",
) -> HttpResponse:
    """The page that asks before commands are sent again: which, with what data, and whether they wait for their docks.

    `selected` is the name under which the page sends the keys of the calls back to the list.
    """
    rows: list[tuple[Row, str]] = [(row(call), dock_name(call)) for call in calls]
    context = {
        **page.admin_site.each_context(request),
        "title": ngettext("Retry {n} command", "Retry {n} commands", len(rows)).format(n=len(rows)),
        "opts": page.opts,
        "rows": rows,
        "form": form,
        "data": data,
        "selected": selected,
        "back": back,
        "may_wait": data is None or not any(name in SECRETS for name in data.fields),
        "unavailable": not settings.COMMANDS_AVAILABLE,
    }
    return TemplateResponse(request, "admin/devices/servicecall/retry.html", context)


def note_of(call: ServiceCall) -> str:
    """Why it was asked for; what this server noted itself is in the reader's language."""
    is_ours = call.by_schedule or call.note in {AFTER.format(method=method) for method in METHODS}
    return stored.shown(call.note) if is_ours else call.note


def may_command(request: HttpRequest, call: ServiceCall) -> bool:
    """Whether the user may act on this call: an operator of its organization, while that still has the dock."""
    if not may(request, Role.OPERATOR, call.organization_id):
        return False
    return not has_moved(call) or is_platform_staff(request.user)


def needs_secrets(call: ServiceCall) -> bool:
    """Whether a retry needs secrets, which only a person has."""
    return call.method in METHODS and bool(METHODS[call.method].secrets)


def _login_page(call: ServiceCall) -> str:
    return reverse("admin:devices_device_change", args=[call.device_id]) + "#command-login"


def call_page(request: HttpRequest, call: ServiceCall) -> dict[str, object]:
    """What the page of one call shows, as far as this user may see it."""
    batch = restrict(ServiceCallBatch.objects.filter(calls=call), request.user).first()
    visible = restrict(ServiceCall.objects.all(), request.user)
    history, before = [], call.created
    for event in call.events.order_by("version"):
        after = max(0.0, (event.at - before).total_seconds())
        history.append(
            (event, wording.KINDS.get(event.status, ""), gettext("+{seconds} s").format(seconds=f"{after:.1f}"))
        )
        before = event.at
    journal = reverse("admin:mqtt_bridge_exchange_changelist")
    return {
        "title": gettext("{about}: {text}").format(about=title(call.method, call.data), text=dock_name(call)),
        "subtitle": None,
        "row": row(call),
        "dock": dock_link(call, request),
        "batch": batch_link(batch) if batch else "",
        "retries": visible.filter(retry_of=call).order_by("created"),
        "history": history,
        "data": exchanges.indented(call.data),
        "note": note_of(call),
        "output": exchanges.indented(call.output) if call.output else gettext("nothing"),
        "result_words": wording.result(call),
        "journal": f"{journal}?{urlencode({'q': call.device.sn})}",
        "messages_of_call": f"{journal}?{urlencode({'q': call.tid})}",
        "device_calls": f"{reverse('admin:devices_servicecall_changelist')}?{urlencode({'q': call.device.sn})}",
        "live_path": f"/ws/devices/{quote(call.device.sn)}/",
        **(_buttons(call) if may_command(request, call) else {}),
        **words(),
    }


def _buttons(call: ServiceCall) -> dict[str, str]:
    """The addresses that the buttons on the page lead to, and why the call cannot be retried."""
    if call.status == ServiceCall.Status.QUEUED:
        return {"cancel_url": reverse("admin:devices_servicecall_cancel", args=[call.pk])}
    if call.is_open:
        return {}
    if needs_secrets(call):
        return {"login_url": _login_page(call)}
    why = gettext("This command is no longer known.")
    if call.method in METHODS:
        why = str(why_not(call.device, METHODS[call.method], queue=call.queue, watch=watch()) or "")
    return {"retry_url": reverse("admin:devices_servicecall_retry", args=[call.pk]), "why_no_retry": why}


def batch_link(batch: ServiceCallBatch) -> SafeString:
    """What the batch asked for and when, linked."""
    page = reverse("admin:devices_servicecallbatch_change", args=[batch.pk])
    return format_html('<a href="{}">{}, {}</a>', page, title(batch.method, batch.data), ago(batch.created))


def words() -> dict[str, str]:
    """The states in words and colours, for the page's script."""
    return {
        "words": json.dumps(wording.words()),
        "kinds": json.dumps(wording.KINDS),
    }
