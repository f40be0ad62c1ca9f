"""Batches of service calls in the admin: their list, the page of each, and stopping one."""

from collections.abc import Mapping
from operator import itemgetter
from urllib.parse import quote, urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from devices.admin.calls import LiveMedia, dock_name, words
from devices.admin.commands import row
from devices.calls import batches, wording
from devices.models import OPEN_STATUSES, ServiceCall, ServiceCallBatch
from devices.templatetags.moments import ago
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter, actor, may
from organizations.models import Role
from organizations.tenancy import restrict

BATCH_ROWS = 500  # docks on a batch's page
# On a batch's page the calls that need a person come first.
URGENCY = Case(
    When(status__in=["failed", "rejected", "timed_out", "expired"], then=0),
    When(status="succeeded", then=2),
    When(status="canceled", then=3),
    default=1,
)


@admin.register(ServiceCallBatch)
class ServiceCallBatchAdmin(ReadOnlyAdmin):
    """One service asked of many docks."""

    list_display = ("what", "who", "when", "owner", "note")  # and the progress
    list_filter = (("organization", TenantFilter), ("created", admin.DateFieldListFilter))
    list_select_related = ("organization", "requested_by", "requested_with")
    list_per_page = 50
    search_fields = ("note", "method")
    ordering = ("-created",)
    sortable_by = ()
    actions = None
    fields = ("method",)  # the template shows all there is

    Media = LiveMedia

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with the progress of the batches on this page alone: there may be a million calls."""
        page = super().get_changelist_instance(request)
        page.title = "Batches of service calls"
        counts = batches.counts(page.result_list)

        @admin.display(description="progress")
        def how_it_goes(batch: ServiceCallBatch) -> str:
            return progress_sentence(counts.get(batch.pk, {}), len(batch.skipped))

        what, *others = page.list_display
        page.list_display = [what, how_it_goes, *others]
        return page

    @admin.display(description="asked for")
    def what(self, batch: ServiceCallBatch) -> str:
        return wording.title(batch.method, batch.data)

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

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if isinstance(batch := context.get("original"), ServiceCallBatch):
            context.update(batch_page(request, batch))
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
    """The progress of a batch, by its calls' states: "180 of 200 done, 12 open, 8 did not succeed; 5 skipped"."""
    total, done = sum(counts.values()), counts.get(ServiceCall.Status.SUCCEEDED, 0)
    still_open = sum(counts.get(status, 0) for status in OPEN_STATUSES)
    parts = [f"{done} of {total} done"]
    if still_open:
        parts.append(f"{still_open} open")
    if failed := total - done - still_open:
        parts.append(f"{failed} did not succeed")
    return ", ".join(parts) + (f"; {skipped} skipped" if skipped else "")


def batch_page(request: HttpRequest, batch: ServiceCallBatch) -> dict[str, object]:
    """What the page of one batch shows: counts, the docks with the state of each call, the docks left out."""
    calls = restrict(ServiceCall.objects.filter(batch=batch), request.user)
    counted = dict(calls.order_by().values_list("status").annotate(Count("pk")))
    total = sum(counted.values())
    state = request.GET.get("state", "")
    if state not in wording.WORDS:
        state = ""
    shown = calls.filter(status=state) if state else calls
    shown = shown.select_related("device", "organization").annotate(urgency=URGENCY).order_by("urgency", "device__sn")
    queued = counted.get(ServiceCall.Status.QUEUED, 0)
    may_stop = queued and may(request, Role.OPERATOR, batch.organization_id)
    bar, x = [], 0
    for status, word in wording.WORDS.items():
        if count := counted.get(status, 0):
            bar.append({"x": x, "count": count, "kind": wording.KINDS[status], "word": word, "status": status})
            x += count
    return {
        "title": wording.title(batch.method, batch.data),
        "subtitle": None,
        "sentence": progress_sentence(counted, len(batch.skipped)),
        "bar": bar,
        "bar_words": ", ".join(f"{part['count']} {part['word']}" for part in bar),
        "total": total,
        "queued": queued,
        "state": state,
        "calls": [
            {
                **row(call)._asdict(),
                "dock": dock_name(call),
                "has_own_data": bool(batch.data and call.data.keys() - batch.data),
            }
            for call in shown[:BATCH_ROWS]
        ],
        "more": max(0, (counted.get(state, 0) if state else total) - BATCH_ROWS),
        "all_calls": f"{reverse('admin:devices_servicecall_changelist')}?{urlencode({'batch': batch.pk})}",
        "skipped": sorted(batch.skipped, key=itemgetter("reason", "sn")),
        "stop_url": reverse("admin:devices_servicecallbatch_stop", args=[batch.pk]) if may_stop else "",
        "live_path": f"/ws/organizations/{quote(batch.organization.organization_id)}/" if batch.organization else "",
        **words(),
    }
