"""Service calls and their batches as people see them: lists, pages, retry, cancel, stop."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, F, Q, QuerySet, When
from django.forms.widgets import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from devices.admin.commands import row
from devices.admin.filters import BatchFilter, CallStateFilter, ServiceFilter, WhoAskedFilter
from devices.calls import asking, batches, ending, wording
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused, why_not
from devices.diagnosis import exchanges
from devices.models import OPEN_STATUSES, ServiceCall, ServiceCallBatch
from devices.presence import watch
from devices.templatetags.moments import ago
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter, actor, may
from organizations.models import Role
from organizations.tenancy import is_platform_staff, restrict
from organizations.typed import typed

BATCH_ROWS = 500  # docks on a batch's page
# On a batch's page what needs somebody comes first.
URGENCY = Case(
    When(status__in=["failed", "rejected", "timed_out", "expired"], then=0),
    When(status="succeeded", then=2),
    When(status="canceled", then=3),
    default=1,
)


def state_word(call: Any) -> SafeString:
    """The state as a coloured word with a mark that does not need the colour."""
    kind = wording.KINDS.get(call.status, "")
    return format_html('<span class="call-state call-{}">{}</span>', kind, call.get_status_display())


def dock_name(call: ServiceCall) -> str:
    """The dock's name; of one that belongs to others meanwhile only what it is known by everywhere."""
    moved = call.device.organization_id != call.organization_id
    return call.device.sn if moved else str(call.device)


def dock_link(call: ServiceCall, request: HttpRequest) -> SafeString | str:
    """The dock, linked if the user may open it."""
    if call.device.organization_id != call.organization_id and not is_platform_staff(request.user):
        return dock_name(call)
    page = reverse("admin:devices_device_change", args=[call.device_id])
    return format_html('<a href="{}">{}</a>', page, call.device)


class LiveMedia:
    """Style sheets and script of pages that follow calls."""

    css = {"all": ["devices/devices.css", "devices/commands.css"]}
    js = [Script("devices/refresh.js", type="module"), Script("devices/commands.js", type="module")]


@admin.register(ServiceCall)
class ServiceCallAdmin(ReadOnlyAdmin):
    """What docks were asked, by whom, and what became of it."""

    list_display = ("state", "dock", "what", "result", "asked", "owner")
    list_display_links = ("what",)
    list_filter = (
        CallStateFilter, ServiceFilter, ("organization", TenantFilter), WhoAskedFilter, BatchFilter,
        ("created", admin.DateFieldListFilter),
    )  # fmt: skip
    list_select_related = ("device", "organization", "requested_by", "requested_with")
    list_per_page = 100
    list_max_show_all = 1000
    search_fields = ("device__sn",)
    search_help_text = "Serial number or callsign of the dock, or a tid"
    ordering = ("-created",)
    sortable_by = ()
    actions = None
    fields = ("tid",)  # the template shows all there is

    Media = LiveMedia

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Service calls", **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A dock that belongs to others meanwhile is not found by the name they gave it."""
        term = typed(search_term)
        if term:
            named = Q(device__callsign__icontains=term, device__organization=F("organization"))
            queryset = queryset.filter(Q(device__sn__icontains=term) | named | Q(tid=term))
        return queryset, False

    def get_list_display(self, request: HttpRequest) -> Any:
        @admin.display(description="dock")
        def dock(call: ServiceCall) -> SafeString | str:
            return dock_link(call, request)

        return [dock if name == "dock" else name for name in super().get_list_display(request)]

    @admin.display(description="state")
    def state(self, call: ServiceCall) -> SafeString:
        return state_word(call)

    @admin.display(description="dock")
    def dock(self, call: ServiceCall) -> str:
        return dock_name(call)

    @admin.display(description="asked for")
    def what(self, call: ServiceCall) -> str:
        return wording.title(call.method, call.data)

    @admin.display(description="result")
    def result(self, call: ServiceCall) -> SafeString | str:
        text = wording.describe(call)
        if call.percent is None or not call.is_open:
            return text
        return format_html('<progress max="100" value="{0}" aria-label="{0} %"></progress> {1}', call.percent, text)

    @admin.display(description="asked")
    def asked(self, call: ServiceCall) -> SafeString:
        return format_html("{} <small>{}</small>", ago(call.created), call.asked_by or "a script")

    @admin.display(description="organization")
    def owner(self, call: ServiceCall) -> str:
        return call.organization.name

    # --- one call ------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/retry/", view(require_POST(self.retry_view)), name="devices_servicecall_retry"),
            path("<path:object_id>/cancel/", view(require_POST(self.cancel_view)), name="devices_servicecall_cancel"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context.update(call_page(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask again, as a new call linked to this one."""
        call = self._commanded(request, object_id)
        if asks_anew(call):
            return HttpResponseRedirect(_login_page(call))
        try:
            again = asking.retry(call, actor=actor(request))
        except Refused as refused:
            self.message_user(request, f"Not tried again: {refused}", messages.ERROR)
            return self._to(call)
        return self._to(again)

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Call it off before it is sent."""
        call = self._commanded(request, object_id)
        try:
            ending.cancel(call, actor=actor(request))
        except Refused as refused:
            self.message_user(request, f"Not canceled: {refused}", messages.ERROR)
        return self._to(call)

    def _commanded(self, request: HttpRequest, object_id: str) -> ServiceCall:
        call = self.get_object(request, unquote(object_id))
        if call is None:
            raise Http404
        if not may_command(request, call):
            raise PermissionDenied
        found: ServiceCall = call
        return found

    def _to(self, call: ServiceCall) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:devices_servicecall_change", args=[call.pk]))


def may_command(request: HttpRequest, call: ServiceCall) -> bool:
    """Whether the user may act on this call: an operator of its organization whose dock it still is."""
    moved = call.device.organization_id != call.organization_id
    return may(request, Role.OPERATOR, call.organization_id) and (not moved or is_platform_staff(request.user))


def asks_anew(call: ServiceCall) -> bool:
    """Whether a retry needs what only the person knows."""
    return call.method in METHODS and bool(METHODS[call.method].secrets)


def _login_page(call: ServiceCall) -> str:
    return reverse("admin:devices_device_change", args=[call.device_id]) + "#command-login"


def call_page(request: HttpRequest, call: ServiceCall) -> dict[str, Any]:
    """What the page of one call shows, as far as this user may see it."""
    history = list(call.events.order_by("version"))
    before = call.created
    for event in history:
        event.kind = wording.KINDS.get(event.status, "")  # type: ignore[attr-defined]
        event.after = f"+{max(0.0, (event.at - before).total_seconds()):.1f} s"  # type: ignore[attr-defined]
        before = event.at
    commands = may_command(request, call)
    visible = restrict(ServiceCall.objects.all(), request.user)
    batch = restrict(ServiceCallBatch.objects.filter(calls=call), request.user).first()
    messages_page = reverse("admin:mqtt_bridge_exchange_changelist")
    return {
        "title": f"{wording.title(call.method, call.data)}: {dock_name(call)}",
        "subtitle": None,
        "row": row(call),
        "dock": dock_link(call, request),
        "batch": batch_link(batch) if batch else "",
        "retries": visible.filter(retry_of=call).order_by("created"),
        "history": history,
        "data": exchanges.indented(call.data),
        "output": exchanges.indented(call.output) if call.output else "nothing",
        "result_words": exchanges.in_words(call.result_code) if call.result_code is not None else "",
        "journal": f"{messages_page}?{urlencode({'q': call.device.sn})}",
        "messages_of_call": f"{messages_page}?{urlencode({'q': call.tid})}",
        "device_calls": f"{reverse('admin:devices_servicecall_changelist')}?{urlencode({'q': call.device.sn})}",
        "live_path": f"/ws/devices/{quote(call.device.sn)}/",
        **_buttons(call, commands),
        **words(),
    }


def _buttons(call: ServiceCall, commands: bool) -> dict[str, str]:
    if not commands:
        return {}
    if call.is_open:
        queued = call.status == ServiceCall.Status.QUEUED
        return {"cancel_url": reverse("admin:devices_servicecall_cancel", args=[call.pk])} if queued else {}
    if asks_anew(call):
        return {"login_url": _login_page(call)}
    return {
        "retry_url": reverse("admin:devices_servicecall_retry", args=[call.pk]),
        "why_no_retry": _why_no_retry(call),
    }


def _why_no_retry(call: ServiceCall) -> str:
    if call.method not in METHODS:
        return "This service is not known any more."
    refused = why_not(call.device, METHODS[call.method], queue=call.queue, watch=watch())
    return str(refused) if refused else ""


def words() -> dict[str, str]:
    """The states in words and colours, for the page's script."""
    return {"words": json.dumps(wording.WORDS), "kinds": json.dumps(wording.KINDS)}


# --- batches -------------------------------------------------------------------------------------


def batch_link(batch: ServiceCallBatch) -> SafeString:
    """What the batch asked for and when, linked."""
    return format_html(
        '<a href="{}">{}, {}</a>',
        reverse("admin:devices_servicecallbatch_change", args=[batch.pk]),
        wording.title(batch.method, batch.data),
        ago(batch.created),
    )


class BatchChangeList(ChangeList):
    """One page of batches with how each goes: counted for these rows alone, for there may be a million calls."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = shown = list(self.result_list)
        counted = batches.counts(shown)
        for batch in shown:
            batch.counts = counted.get(batch.pk, {})


@admin.register(ServiceCallBatch)
class ServiceCallBatchAdmin(ReadOnlyAdmin):
    """One service asked of many docks."""

    list_display = ("what", "how_it_goes", "who", "when", "owner", "note")
    list_filter = (("organization", TenantFilter), ("created", admin.DateFieldListFilter))
    list_select_related = ("organization", "requested_by", "requested_with")
    list_per_page = 50
    search_fields = ("note", "method")
    ordering = ("-created",)
    sortable_by = ()
    actions = None
    fields = ("method",)  # the template shows all there is

    Media = LiveMedia

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BatchChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Batches of service calls", **(extra_context or {})})

    @admin.display(description="asked for")
    def what(self, batch: ServiceCallBatch) -> str:
        return wording.title(batch.method, batch.data)

    @admin.display(description="how it goes")
    def how_it_goes(self, batch: Any) -> str:
        return progress_sentence(batch.counts, len(batch.skipped))

    @admin.display(description="by")
    def who(self, batch: ServiceCallBatch) -> str:
        return str(batch.asked_by or "a script")

    @admin.display(description="started")
    def when(self, batch: ServiceCallBatch) -> SafeString:
        return ago(batch.created)

    @admin.display(description="organization")
    def owner(self, batch: ServiceCallBatch) -> str:
        return batch.organization.name if batch.organization else "several"

    # --- one batch -----------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        stop = self.admin_site.admin_view(require_POST(self.stop_view))
        return [path("<path:object_id>/stop/", stop, name="devices_servicecallbatch_stop"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context.update(batch_page(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Cancel what is not sent yet."""
        batch = self.get_object(request, unquote(object_id))
        if batch is None:
            raise Http404
        if not may(request, Role.OPERATOR, batch.organization_id):
            raise PermissionDenied
        canceled = batches.stop(batch, actor=actor(request))
        text = f"{canceled} call{'s' * (canceled != 1)} canceled; what was sent already runs on."
        self.message_user(request, text, messages.SUCCESS if canceled else messages.WARNING)
        return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[batch.pk]))


def progress_sentence(counts: Mapping[str, int], skipped: int) -> str:
    """How a batch goes, by its calls' states: "180 of 200 done, 12 open, 8 did not succeed; 5 skipped"."""
    total, done = sum(counts.values()), counts.get(ServiceCall.Status.SUCCEEDED, 0)
    still_open = sum(counts.get(status, 0) for status in OPEN_STATUSES)
    parts = [f"{done} of {total} done"]
    if still_open:
        parts.append(f"{still_open} open")
    if failed := total - done - still_open:
        parts.append(f"{failed} did not succeed")
    return ", ".join(parts) + (f"; {skipped} skipped" if skipped else "")


def batch_page(request: HttpRequest, batch: ServiceCallBatch) -> dict[str, Any]:
    """What the page of one batch shows: counts, docks with what became of the call, docks left out."""
    calls = restrict(ServiceCall.objects.filter(batch=batch), request.user)
    counted = dict(calls.order_by().values_list("status").annotate(Count("pk")))
    total = sum(counted.values())
    bar, at = [], 0
    for status, word in wording.WORDS.items():
        if count := counted.get(status, 0):
            bar.append({"x": at, "count": count, "kind": wording.KINDS[status], "word": word, "status": status})
            at += count
    state = request.GET.get("state", "")
    shown = calls.filter(status=state) if state in wording.WORDS else calls
    shown = shown.select_related("device", "organization").annotate(urgency=URGENCY).order_by("urgency", "device__sn")
    rows = [
        {
            **row(call)._asdict(),
            "dock": dock_name(call),
            "has_own_data": bool(batch.data and call.data.keys() - batch.data),
        }
        for call in shown[: BATCH_ROWS + 1]
    ]
    queued = counted.get(ServiceCall.Status.QUEUED, 0)
    operates = may(request, Role.OPERATOR, batch.organization_id)
    every = {"batch": str(batch.pk)}
    return {
        "title": wording.title(batch.method, batch.data),
        "subtitle": None,
        "sentence": progress_sentence(counted, len(batch.skipped)),
        "bar": bar,
        "bar_words": ", ".join(f"{part['count']} {part['word']}" for part in bar),
        "total": total,
        "queued": queued,
        "state": state if state in wording.WORDS else "",
        "calls": rows[:BATCH_ROWS],
        "more": max(0, counted.get(state, total) - BATCH_ROWS) if len(rows) > BATCH_ROWS else 0,
        "all_calls": f"{reverse('admin:devices_servicecall_changelist')}?{urlencode(every)}",
        "skipped": _by_reason(batch.skipped),
        "stop_url": reverse("admin:devices_servicecallbatch_stop", args=[batch.pk]) if operates and queued else "",
        "live_path": f"/ws/organizations/{quote(batch.organization.organization_id)}/" if batch.organization else "",
        **words(),
    }


def _by_reason(skipped: Iterable[dict[str, str]]) -> list[tuple[str, list[str]]]:
    ordered = sorted(skipped, key=lambda left: (left["reason"], left["sn"]))
    return [
        (reason, [_left_out(left) for left in group]) for reason, group in groupby(ordered, lambda left: left["reason"])
    ]


def _left_out(left: dict[str, str]) -> str:
    name = f"{left['callsign']} ({left['sn']})" if left["callsign"] not in ("", left["sn"]) else left["sn"]
    return f"{name}: {left['about']}" if left.get("about") else name
