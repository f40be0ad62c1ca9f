"""Below a list of the admin: `import/`, where a file is uploaded, tried out, and then carried out."""

import base64
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from cloudapi.file_jobs import asking
from cloudapi.tables import reading
from cloudapi.tables.importing import Outcome
from cloudapi.tables.imports import IMPORTS, shown_once
from organizations import rights
from organizations.admin.spreadsheet import MARK, encoded
from organizations.admin.tenant import actor, may
from organizations.audit import Actor
from organizations.models import AuditEvent, FileJob, Organization

SHOWN: Final = 200  # rows of each kind on the page
Status = FileJob.Status


class UploadForm(forms.Form):
    """The file."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        max_length=200,
    )

    def __init__(self, *given: Any, most: int) -> None:
        super().__init__(*given)
        self.most = most
        words = gettext("CSV in UTF-8, or XLSX; at most {most} rows and 2 MB.")
        self.fields["file"].help_text = words.format(most=f"{most:,}")

    def clean_file(self) -> bytes:
        """Its bytes, which can be read."""
        upload = self.cleaned_data["file"]
        if upload.size > reading.MOST_BYTES:
            raise forms.ValidationError(gettext("The file is larger than 2 MB."))
        data: bytes = upload.read()
        try:
            self.rows = reading.read(data, most=self.most).height
        except reading.UnreadableError as error:
            raise forms.ValidationError(str(error)) from error
        return data


class ImportPages:
    """The pages of one model, for whoever may import it."""

    def __init__(self, site: AdminSite, model: type[Model]) -> None:
        self.site = site
        self.model = model
        self.opts = model._meta
        self.resource = IMPORTS[model]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def upload(self, request: HttpRequest) -> HttpResponse:
        """GET shows the form; POST keeps the file, and its page shows what it would change. Nothing is changed yet."""
        self._check(request)
        given = (request.POST, request.FILES) if request.method == "POST" else ()
        form = UploadForm(*given, most=self.resource.most)
        if not form.is_valid():
            page = self._context(request, form=form, **self.columns(request))
            return TemplateResponse(request, "admin/tables/import.html", page)
        data = form.cleaned_data["file"]
        who, held, needed = actor(request), rights.in_request(request), self.resource.role
        values: dict[str, Any] = {"table": self.resource.name, "format": reading.kind_of(data), "source": data}
        values |= {"actor": who, "rights": held, "needed": needed}
        try:
            if form.rows <= reading.MOST_ROWS:
                return HttpResponseRedirect(self._page("import_job", asking.keep_upload(**values).pk))
            job = asking.ask(kind=FileJob.Kind.IMPORT, dry_run=True, **values)
        except asking.Declined as declined:
            messages.error(request, str(declined))
            return HttpResponseRedirect(self._page("import"))
        return HttpResponseRedirect(reverse("admin:organizations_filejob_change", args=[job.pk]))

    @method_decorator(never_cache)
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    @sensitive_variables()
    def job(self, request: HttpRequest, job: str) -> HttpResponse:
        """GET tries the import out, and shows what it would change; POST does it, once. For who uploaded the file."""
        self._check(request)
        found = self.find(request, job)
        if request.method != "POST" or found.status != Status.WAITING:
            outcome = self._run(request, found, dry=True) if found.status == Status.WAITING else None
            return self._show(request, found, outcome)
        after: dict[str, Any] = {"status": Status.WAITING, "started": None}  # nothing was saved
        row = FileJob.objects.filter(pk=found.pk)
        # In one transaction with its rows: if this process is killed, the job waits as before.
        with transaction.atomic():
            if not row.filter(status=Status.WAITING).update(status=Status.RUNNING, started=timezone.now()):
                return HttpResponseRedirect(self._page("import_job", found.pk))
            outcome = self._run(request, found, dry=False)
            if isinstance(outcome, Outcome) and not outcome.problems:
                after = {"status": Status.SUCCEEDED, "finished": timezone.now(), **asking.FREED}
                after |= {"done": len(outcome.changes), "total": len(outcome.changes) + outcome.unchanged}
            row.update(**after)
        found.refresh_from_db()
        if found.status == Status.SUCCEEDED and isinstance(outcome, Outcome) and outcome.secrets:
            return self._show(request, found, outcome)  # this once
        return HttpResponseRedirect(self._page("import_job", found.pk))

    def _check(self, request: HttpRequest) -> None:
        if not may(request, self.resource.role, anywhere=True):
            raise PermissionDenied

    def find(self, request: HttpRequest, key: str) -> FileJob:
        """The job of this user; 404 for any other, and for none."""
        try:
            jobs = FileJob.objects.filter(pk=UUID(key), kind=FileJob.Kind.IMPORT, table=self.resource.name)
            found: FileJob = jobs.filter(requested_by=request.user.pk).get()
        except (ValueError, FileJob.DoesNotExist):
            raise Http404 from None
        return found

    def _run(self, request: HttpRequest, job: FileJob, *, dry: bool) -> Outcome | str:
        """What it would do, or has done; or why the file is refused."""
        who = Actor(AuditEvent.Through.ADMIN, user=job.requested_by, request_id=job.request_id)
        try:
            rows = reading.read(bytes(job.source or b""))
            return self.resource(rights=rights.in_request(request), actor=who).run(rows, dry=dry)
        except reading.UnreadableError as error:
            return str(error)

    def _show(self, request: HttpRequest, job: FileJob, outcome: Outcome | str | None) -> HttpResponse:
        context = self._context(request, job=job, most=SHOWN, is_done=job.status == Status.SUCCEEDED)
        if isinstance(outcome, str):
            messages.error(request, outcome)
        elif outcome is not None:
            context |= {
                "outcome": outcome,
                "problems": outcome.problems[:SHOWN],
                "changes": outcome.changes[:SHOWN],
                "may_confirm": not outcome.problems and bool(outcome.changes),
            }
            if outcome.secrets:
                context["secrets"] = [(row, row.organization, shown_once(row, plain)) for row, plain in outcome.secrets]
                context["file"] = as_file(context["secrets"])
        status = HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(outcome, str) else HTTPStatus.OK
        return TemplateResponse(request, "admin/tables/import_job.html", context, status=status)

    def columns(self, request: HttpRequest) -> dict[str, object]:
        """What may stand in the columns of the file, with an example that could be imported, and a file of heads."""
        resource = self.resource
        own = rights.in_request(request).readable(Organization.objects.filter(closed_at=None), resource.role)
        owner = own.order_by("name", "pk").values_list("organization_id", flat=True).first()
        labels, explained = resource.labels(), resource.explained(owner or "")
        columns = [(label, name, name in resource.needed, *explained[name]) for name, label in labels.items()]
        return {"columns": columns, "template": as_link([labels.values()]), "table": resource.name}

    def _context(self, request: HttpRequest, **more: object) -> dict[str, Any]:
        title = gettext("Import: {rows}").format(rows=capfirst(self.opts.verbose_name_plural))
        addresses = {"list": self._page("changelist"), "upload": self._page("import")}
        return {**self.site.each_context(request), "opts": self.opts, "title": title, "addresses": addresses, **more}

    def _page(self, page: str, *args: object) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)


@sensitive_variables()
def as_file(secrets: list[tuple[Any, Any, str]]) -> str:
    """A link's address that holds the file itself: the server keeps nothing that it could serve later."""
    rows = [("row", "organization", "secret"), *((str(row), owner.name, text) for row, owner, text in secrets)]
    return as_link(rows)


@sensitive_variables()
def as_link(rows: Iterable[Iterable[str]]) -> str:
    """The address of a link that is a CSV file of these rows."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(MARK + encoded(rows)).decode()


def urls(site: AdminSite, model: type[Model]) -> list[URLPattern]:
    """The addresses of one model."""
    pages = ImportPages(site, model)
    label, name = model._meta.app_label, model._meta.model_name
    return [
        path(f"{label}/{name}/import/", site.admin_view(pages.upload), name=f"{label}_{name}_import"),
        path(f"{label}/{name}/import/<str:job>/", site.admin_view(pages.job), name=f"{label}_{name}_import_job"),
    ]
