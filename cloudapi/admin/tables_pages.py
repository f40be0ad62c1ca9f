"""Below every list of the admin `export/`, what its filter shows as a file; below some `import/`."""

import shutil
import tempfile
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from cloudapi.admin import files_pages as files_pages  # registers the list of jobs
from cloudapi.admin import import_pages
from cloudapi.file_jobs import asking, exporting
from cloudapi.tables import writing
from cloudapi.tables.imports import IMPORTS
from cloudapi.tables.registry import name_of, table_of
from organizations import audit, rights
from organizations.admin.tenant import actor
from organizations.language.stored import english
from organizations.models import FileJob

ROOM: Final = 32 * 2**20  # bytes on the disk of temporary files that exports leave to uploads; compose.yaml has 64 MB
FORMAT = "format"  # the one parameter that is not the list's


def urls(site: AdminSite) -> list[URLPattern]:
    """The addresses of every registered model."""
    found = []
    for model, model_admin in site._registry.items():
        label, name = model._meta.app_label, model._meta.model_name

        def export(request: HttpRequest, model_admin: "ModelAdmin[Any]" = model_admin) -> HttpResponseBase:
            return export_view(request, model_admin)

        view = site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(export))
        found.append(path(f"{label}/{name}/export/", view, name=f"{label}_{name}_export"))
        if model in IMPORTS:
            found += import_pages.urls(site, model)
    return found


def export_view(request: HttpRequest, model_admin: "ModelAdmin[Any]") -> HttpResponseBase:
    """All pages of the list that the query string shows, as CSV or XLSX, for whoever may see the list; audited.

    A long list becomes a job, whose page shows how far it is; so does any, while slow readers' files fill the disk. It
    takes a POST, since an address that another site links to must not start one.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    query = request.GET.copy()
    try:
        kind = FileJob.Format(query.pop(FORMAT, [FileJob.Format.CSV])[-1])
    except ValueError:
        raise BadRequest(gettext("The format is csv or xlsx.")) from None
    request.GET = query  # type: ignore[assignment]
    try:
        page = exporting.filtered(request, model_admin)
    except IncorrectLookupParameters as error:
        raise BadRequest(gettext("The list has no such filter.")) from error
    held, most = rights.in_request(request), writing.AT_ONCE[kind]
    is_crowded = shutil.disk_usage(tempfile.gettempdir()).free < ROOM
    if is_crowded or page.queryset.order_by()[: most + 1].count() > most:
        table, text = name_of(model_admin.model), request.GET.urlencode()
        back = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist") + f"?{text}"
        if request.method != "POST":
            words = gettext("A worker makes this file: start it with “Export CSV” or “Export XLSX” above the list.")
            model_admin.message_user(request, words, messages.WARNING)
            return HttpResponseRedirect(back)
        needed, values = exporting.view_role(table), {"table": table, "format": kind, "query": text}
        try:
            job = asking.ask(actor=actor(request), rights=held, kind=FileJob.Kind.EXPORT, needed=needed, **values)
        except asking.Declined as declined:
            model_admin.message_user(request, str(declined), messages.ERROR)
            return HttpResponseRedirect(back)
        return HttpResponseRedirect(reverse("admin:organizations_filejob_change", args=[job.pk]))
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    try:
        count = writing.write(table_of(page, request), page.queryset, kind, file)
    except BaseException:
        file.close()
        raise
    after = {"format": kind.value, "filter": request.GET.urlencode()[:500], "rows": count}
    audit.record(exporting.events(actor(request), held, model_admin, after))
    file.seek(0)
    name = english(page.opts.verbose_name_plural).replace(" ", "-")
    answer = FileResponse(
        file,
        as_attachment=True,
        filename=f"{name}-{timezone.now():%Y-%m-%d}.{kind.value}",
        content_type=writing.CONTENT_TYPES[kind],
    )
    answer["Cache-Control"] = "private, no-store"
    return answer
