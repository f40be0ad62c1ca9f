"""Batches of commands in the admin: their list, the page of each, stopping one, and retrying what failed of it."""

from collections.abc import Mapping
from operator import itemgetter
from urllib.parse import quote, urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from devices.admin.calls import LiveMedia, dock_name, retry_page, words
from devices.admin.commands import SECRETS, row
from devices.admin.filters import OptionFilter
from devices.admin.forms import WAITS, CommandForm, SendingForm
from devices.calls import batches, wording
from devices.calls.methods import METHODS, title
from devices.calls.refusal import Refused
from devices.models import OPEN_STATUSES, Device, ServiceCall, ServiceCallBatch, ServiceCallQuerySet
from devices.templatetags.moments import ago
from mqtt_bridge.database.natural_sort import natural
from organizations import time_zones
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter, actor, may
from organizations.language import stored
from organizations.models import Role
from organizations.tenancy import restrict

BATCH_ROWS = 500  # docks on a batch's page
OUTCOMES = list(ServiceCall.Status.choices)  # in the order of the bar
OUTCOMES.insert(ServiceCall.Status.values.index("succeeded") + 1, (batches.NO_LIST, _("answered without a list")))
MOST_LIVE = 10  # organizations that a page follows live, each on a socket
# On a batch's page the calls that need a person come first.
URGENCY = Case(
    When(batches.MISSED, then=0),
    When(status="succeeded", then=2),
    When(status="canceled", then=3),
    default=1,
)


class PlannedFilter(OptionFilter[ServiceCallBatch]):
    """Batches that start later, or never did."""

    title = _("start")
    parameter_name = "start"
    options = {"planned": pgettext_lazy("batch", "planned"), "off": _("canceled")}

    def chosen(self, rows: QuerySet[ServiceCallBatch], value: str) -> QuerySet[ServiceCallBatch]:
        return rows.filter(due_at__isnull=False, started_at=None, stopped__isnull=value == "planned")


@admin.register(ServiceCallBatch)
class ServiceCallBatchAdmin(ReadOnlyAdmin):
    """One command to many docks."""

    list_display = ("what", "who", "when", "owner", "note")  # and the progress
    list_filter = (PlannedFilter, ("organization", TenantFilter), ("created", admin.DateFieldListFilter))
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
        page.title = gettext("Batches of commands")
        counts = batches.counts(page.result_list, by=batches.OUTCOME)

        @admin.display(description=_("progress"))
        def how_it_goes(batch: ServiceCallBatch) -> str:
            return planned_sentence(batch) or progress_sentence(counts.get(batch.pk, {}), len(batch.skipped))

        what, *others = page.list_display
        page.list_display = [what, how_it_goes, *others]
        return page

    @admin.display(description=pgettext_lazy("column", "asked for"))
    def what(self, batch: ServiceCallBatch) -> str:
        return title(batch.method, batch.data)

    @admin.display(description=_("by"))
    def who(self, batch: ServiceCallBatch) -> str:
        return str(batch.asked_by or gettext("a script"))

    @admin.display(description=_("started"))
    def when(self, batch: ServiceCallBatch) -> SafeString | str:
        return ago(batch.started_at or batch.created) if batch.due_at is None or batch.started_at else ""

    @admin.display(description=_("organization"))
    def owner(self, batch: ServiceCallBatch) -> str:
        return batch.organization.name if batch.organization else gettext("several")

    # --- one batch -----------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        stop = view(require_POST(self.stop_view))
        return [
            path("<path:object_id>/retry/", view(self.retry_view), name="devices_servicecallbatch_retry"),
            path("<path:object_id>/stop/", stop, name="devices_servicecallbatch_stop"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, object], *args: object, **kwargs: object
    ) -> HttpResponse:
        if isinstance(batch := context.get("original"), ServiceCallBatch):
            context.update(batch_page(request, batch))
        return super().render_change_form(request, context, *args, **kwargs)

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Cancel what is not sent yet; a batch that is planned never starts."""
        batch = self._commanded(request, object_id)
        canceled = batches.stop(batch, actor=actor(request))
        text = ngettext("{n} command is canceled", "{n} commands are canceled", canceled).format(n=canceled)
        text = gettext("{canceled}; what was sent already runs on.").format(canceled=text)
        batch.refresh_from_db()
        if batch.due_at and batch.started_at is None:
            text, canceled = gettext("This batch is canceled and will not start."), 1
        self.message_user(request, text, messages.SUCCESS if canceled else messages.WARNING)
        return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[batch.pk]))

    @method_decorator(sensitive_post_parameters(*SECRETS))
    @sensitive_variables()
    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET asks which data what failed is sent again with; POST starts a new batch of it."""
        batch = self._commanded(request, object_id)
        page = reverse("admin:devices_servicecallbatch_change", args=[batch.pk])
        failed = batches.retryable(ServiceCall.objects.filter(batch=batch))
        waited = min((one for one in WAITS if one >= (batch.queue_seconds or 0)), default=max(WAITS))
        form = SendingForm(
            request.POST if request.method == "POST" else None,
            auto_id="id_retry_%s",
            initial={"wait": "" if batch.queue_seconds is None else waited, "note": batch.note},
        )
        data = data_form(batch, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and (data is None or data.is_valid()):
            wait = form.cleaned_data["wait"]
            try:
                again = batches.retry(
                    failed,
                    method=batch.method,
                    actor=actor(request),
                    data=data.call_data() if data else None,
                    note=form.cleaned_data["note"],
                    queue=wait is not None,
                    expires_in=wait,
                )
                return HttpResponseRedirect(reverse("admin:devices_servicecallbatch_change", args=[again.pk]))
            except Refused as refused:
                self.message_user(request, str(refused), messages.ERROR)
                return HttpResponseRedirect(page)
        rows = failed.select_related("device").order_by("device__sn")
        return retry_page(request, self, rows, form, back=page, data=data)

    def _commanded(self, request: HttpRequest, object_id: str) -> ServiceCallBatch:
        """The batch, which the user may act on: else 404 or 403."""
        batch: ServiceCallBatch | None = self.get_object(request, unquote(object_id))
        if batch is None:
            raise Http404
        if not may(request, Role.OPERATOR, batch.organization_id):
            raise PermissionDenied
        return batch


def data_form(batch: ServiceCallBatch, posted: Mapping[str, object] | None) -> CommandForm | None:
    """The form for other data, with the batch's in it; None if there is nothing to fill in, or each dock has its own.

    Secrets have to be filled in again.
    """
    method = METHODS.get(batch.method)
    for button in method.buttons if method else ():
        # A login's code is left empty at first; a batch of switches, each of its own license, has no license.
        if method and button.fields and batch.data.keys() >= set(button.fields):
            form = CommandForm(method, button, posted, owner=batch.organization_id)
            sides = {True: "on", False: "off"}
            given = {name: sides[one] if isinstance(one, bool) else one for name, one in batch.data.items()}
            form.initial = {name: one for name, one in given.items() if name not in method.secrets}
            return form
    return None


def planned_sentence(batch: ServiceCallBatch) -> str:
    """When a batch that has not started will, or that it never will; "" for one that has."""
    if batch.due_at is None or batch.started_at:
        return ""
    if batch.stopped:
        return gettext("Canceled before it started")
    count = len(batch.planned or [])
    moment = here = time_zones.written(batch.due_at)
    if zone := (batch.planned or [{}])[0].get("zone"):
        there = time_zones.written(batch.due_at, time_zones.Zone(zone))
        moment = here if there == here else f"{there} ({here})"
    text = ngettext("Will start at {moment}: {n} dock", "Will start at {moment}: {n} docks", count)
    return text.format(moment=moment, n=count)


def progress_sentence(counts: Mapping[str, int], skipped: int) -> str:
    """The progress of a batch, by its calls' outcomes: "180 of 200 done, 12 open, 8 did not succeed; 5 skipped"."""
    total, done = sum(counts.values()), counts.get(ServiceCall.Status.SUCCEEDED, 0)
    empty = counts.get(batches.NO_LIST, 0)
    still_open = sum(counts.get(status, 0) for status in OPEN_STATUSES)
    parts = [gettext("{done} of {total} done").format(done=done, total=total)]
    if empty:
        parts.append(gettext("{n} answered without a list").format(n=empty))
    if still_open:
        parts.append(gettext("{n} open").format(n=still_open))
    if failed := total - done - empty - still_open:
        parts.append(gettext("{n} did not succeed").format(n=failed))
    text = gettext(", ").join(parts)
    return gettext("{progress}; {n} skipped").format(progress=text, n=skipped) if skipped else text


def _not_retried(calls: ServiceCallQuerySet, counts: Mapping[str, int], retryable: int) -> str:
    """Why fewer calls can be retried than did not succeed: "6 canceled, 1 tried again already"; "" if all can."""
    unsuccessful = sum(counts.get(status, 0) for status in (*batches.UNSUCCESSFUL, batches.NO_LIST))
    again = 0
    if unsuccessful > retryable:
        again = calls.filter(batches.MISSED, retries__isnull=False).distinct().count()
    parts = (
        (counts.get(ServiceCall.Status.CANCELED, 0), gettext("{n} canceled")),
        (again, gettext("{n} tried again already")),
        (unsuccessful - retryable - again, gettext("{n} of docks that have moved")),
    )
    return gettext(", ").join(text.format(n=n) for n, text in parts if n)


def batch_page(request: HttpRequest, batch: ServiceCallBatch) -> dict[str, object]:
    """What the page of one batch shows: counts, the docks with the state of each call, the docks left out."""
    calls = restrict(ServiceCall.objects.filter(batch=batch), request.user)
    counted = dict(calls.order_by().values_list(batches.OUTCOME).annotate(Count("pk")))
    total = sum(counted.values())
    state = request.GET.get("state", "")
    if state not in dict(OUTCOMES):
        state = ""
    shown = batches.with_outcome(calls, state) if state else calls
    shown = shown.select_related("device", "organization").annotate(urgency=URGENCY).order_by("urgency", "device__sn")
    queued = counted.get(ServiceCall.Status.QUEUED, 0)
    is_planned = batch.due_at is not None and batch.started_at is None
    may_stop = (queued or (is_planned and not batch.stopped)) and may(request, Role.OPERATOR, batch.organization_id)
    bar, x = [], 0
    for status, word in OUTCOMES:
        if count := counted.get(status, 0):
            kind = wording.KINDS.get(status, "unsure")
            bar.append({"x": x, "count": count, "kind": kind, "word": str(word), "status": status})
            x += count
    failed = batches.retryable(calls).count() if may(request, Role.OPERATOR, batch.organization_id) else 0
    left = _not_retried(calls, counted, failed) if failed else ""
    owners = calls.order_by().values_list("organization__organization_id", "organization__name")
    names = (
        [(batch.organization.organization_id, "", total)] if batch.organization else list(owners.annotate(Count("pk")))
    )
    visible = restrict(ServiceCallBatch.objects.all(), request.user)
    docks = restrict(Device.objects.filter(pk__in=[one["device"] for one in batch.planned or []]), request.user)
    return {
        "title": title(batch.method, batch.data),
        "subtitle": None,
        "sentence": planned_sentence(batch) or progress_sentence(counted, len(batch.skipped)),
        "is_planned": is_planned,
        "planned": docks.order_by(natural("callsign"), "sn") if is_planned else [],
        "owners": [] if batch.organization else sorted((name, count) for _, name, count in names),
        "failed": failed,
        "without_list": counted.get(batches.NO_LIST, 0),
        "not_retried": left,
        "retry_url": reverse("admin:devices_servicecallbatch_retry", args=[batch.pk]) if failed else "",
        "earlier": visible.filter(calls__retries__batch=batch).distinct(),
        "later": visible.filter(calls__retry_of__batch=batch).distinct(),
        "bar": bar,
        "bar_words": gettext(", ").join(f"{part['count']} {part['word']}" for part in bar),
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
        "skipped": [
            {**left, "reason": stored.shown(left["reason"]), "about": stored.shown(left.get("about", ""))}
            for left in sorted(batch.skipped, key=itemgetter("reason", "sn"))
        ],
        "stop_url": reverse("admin:devices_servicecallbatch_stop", args=[batch.pk]) if may_stop else "",
        "live_paths": " ".join(f"/ws/organizations/{quote(name)}/" for name, *_ in names)
        if len(names) <= MOST_LIVE
        else "",
        **words(),
    }
