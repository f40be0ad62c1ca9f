"""The files: exports and imports that a worker carries out, each with a page that shows how far it is."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from cloudapi.admin.import_pages import SHOWN
from cloudapi.file_jobs import access, asking, delivery, wording
from cloudapi.file_jobs.working import Status
from cloudapi.retention import FILES_KEPT
from devices.templatetags.moments import ago
from organizations import rights
from organizations.admin.tenant import ReadOnlyAdmin, TenantFilter, actor
from organizations.models import FileJob
from organizations.models.files import model_of

KINDS: Final = {  # CSS class of a state
    Status.WAITING: "unsure",
    Status.QUEUED: "waiting",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.CANCELED: "quiet",
}


class MineFilter(admin.SimpleListFilter):
    """Those that the user asked for."""

    title = gettext_lazy("person")
    parameter_name = "mine"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[FileJob]") -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("me"))]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[FileJob]") -> "QuerySet[FileJob]":
        return queryset.filter(requested_by=request.user.pk) if self.value() == "yes" else queryset


@admin.register(FileJob)
class FileJobAdmin(ReadOnlyAdmin):
    """Exports and imports of the last days; who sees which is in `cloudapi/file_jobs/access.py`."""

    list_display = ("what", "state", "rows", "file", "asked_by", "organization", "asked")
    list_filter = (MineFilter, "kind", "status", ("organization", TenantFilter))
    list_select_related = ("organization", "requested_by", "requested_with")
    sortable_by = ()
    actions = None
    fields = ()  # the template shows all there is

    class Media:
        css = {"all": ["devices/devices.css", "devices/commands.css"]}
        js = [Script("devices/refresh.js", type="module")]

    def get_queryset(self, request: HttpRequest) -> "QuerySet[FileJob]":
        mine = access.jobs(rights.in_request(request)).values("pk")
        rows: QuerySet[FileJob] = super(ReadOnlyAdmin, self).get_queryset(request)
        return rows.filter(pk__in=mine)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Each row that is found at all, for some are of several organizations, or of none."""
        return super().has_view_permission(request)

    @admin.display(description=gettext_lazy("what"))
    def what(self, job: FileJob) -> str:
        return f"{wording.title(job)} ({job.get_format_display()})"

    @admin.display(description=gettext_lazy("state"))
    def state(self, job: FileJob) -> SafeString:
        return format_html(
            '<span class="call-state call-{}">{}</span>', KINDS[Status(job.status)], job.get_status_display()
        )

    @admin.display(description=gettext_lazy("rows"))
    def rows(self, job: FileJob) -> SafeString | str:
        if job.status == Status.RUNNING and job.percent is not None:
            bar = '<progress max="100" value="{0}" aria-label="{0} %"></progress> {1}'
            return format_html(bar, job.percent, wording.progress(job))
        return wording.progress(job) if job.done or job.status == Status.SUCCEEDED else ""

    @admin.display(description=gettext_lazy("file"))
    def file(self, job: FileJob) -> SafeString | str:
        if job.status != Status.SUCCEEDED or not job.size:
            return ""
        if job.kind == FileJob.Kind.IMPORT:  # its page has the button
            return filesizeformat(job.size)
        address = reverse("admin:organizations_filejob_file", args=[job.pk])
        return format_html('<a href="{}">{}</a>', address, filesizeformat(job.size))

    @admin.display(description=gettext_lazy("asked for by"))
    def asked_by(self, job: FileJob) -> str:
        return str(job.asked_by or "")

    @admin.display(description=gettext_lazy("asked"))
    def asked(self, job: FileJob) -> SafeString:
        return ago(job.created)

    # --- the page of one ---------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("file", require_http_methods(["GET", "POST"])(self.file_view)),
            ("cancel", require_POST(self.cancel_view)),
            ("confirm", require_POST(self.confirm_view)),
        )
        own = [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"organizations_filejob_{name}")
            for name, view in pages
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """How far it is; the page follows by itself."""
        job: FileJob | None = self.get_object(request, unquote(object_id))
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        held, outcome = rights.in_request(request), job.outcome
        model = model_of(job.table)
        context = {
            **self.admin_site.each_context(request),
            "title": wording.title(job),
            "opts": self.opts,
            "media": self.media,
            "job": job,
            "kind": KINDS[Status(job.status)],
            "progress": wording.progress(job),
            "outcome": {**outcome, "problems": outcome.get("problems", 0)} if outcome else None,
            "row_name": model._meta.verbose_name if model else "",
            "problems": wording.problems(job)[:SHOWN],
            "changes": outcome.get("changes", []),
            "most": SHOWN,
            "may_take": access.may_take(held, job),
            "may_cancel": access.may_cancel(held, job),
            "may_confirm": job.status == Status.WAITING and job.dry_run and access.is_own(held, job),
            "is_export": job.kind == FileJob.Kind.EXPORT,
            "upload": next_upload(job) if access.is_own(held, job) else "",
            "is_saved": job.status == Status.FAILED and not job.dry_run and job.done > 0,
            "expires": job.created + FILES_KEPT,
            "refreshes": job.is_open,
        }
        return TemplateResponse(request, "admin/organizations/filejob/change_form.html", context)

    def _job(self, request: HttpRequest, object_id: str) -> FileJob:
        job: FileJob | None = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404
        return job

    def _back(self, job: FileJob) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:organizations_filejob_change", args=[job.pk]))

    def file_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The file itself. What is shown once takes a POST, since a link that somebody follows must not use it up."""
        job = self._job(request, object_id)
        if job.kind == FileJob.Kind.IMPORT and request.method != "POST":
            return self._back(job)
        try:
            return delivery.deliver(job, held=rights.in_request(request), actor=actor(request))
        except asking.Declined as declined:
            messages.error(request, str(declined))
            return self._back(job)

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop it."""
        job = self._job(request, object_id)
        if not access.may_cancel(rights.in_request(request), job):
            raise PermissionDenied
        if asking.cancel(job):
            messages.success(request, gettext("Canceled."))
        else:
            messages.info(request, gettext("It had ended before."))
        return self._back(job)

    def confirm_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Carry out an import that was tried out."""
        job = self._job(request, object_id)
        if not access.is_own(rights.in_request(request), job):
            raise PermissionDenied
        asking.confirm(job)
        return self._back(job)


def next_upload(job: FileJob) -> str:
    """The page that takes the next file after an import that has ended."""
    model = model_of(job.table)
    if job.kind != FileJob.Kind.IMPORT or job.is_open or job.status == Status.WAITING or model is None:
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_import")
