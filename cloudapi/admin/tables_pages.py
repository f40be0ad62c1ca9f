"""Below every list of the admin `export/`, what its filter shows as a file; below some `import/`."""

import tempfile
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, PAGE_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from cloudapi.admin import import_pages
from cloudapi.tables import writing
from cloudapi.tables.imports import IMPORTS
from cloudapi.tables.registry import table_of
from organizations import audit, rights
from organizations.admin.tenant import TenantAdmin, actor
from organizations.language.stored import english
from organizations.models import FileJob
from organizations.tenancy import is_platform_staff

FORMAT = "format"  # the one parameter that is not the list's


def urls(site: AdminSite) -> list[URLPattern]:
    """The addresses of every registered model."""
    found = []
    for model, model_admin in site._registry.items():
        label, name = model._meta.app_label, model._meta.model_name

        def export(request: HttpRequest, model_admin: "ModelAdmin[Any]" = model_admin) -> HttpResponseBase:
            return export_view(request, model_admin)

        view = site.admin_view(require_safe(export))
        found.append(path(f"{label}/{name}/export/", view, name=f"{label}_{name}_export"))
        if model in IMPORTS:
            found += import_pages.urls(site, model)
    return found


def export_view(request: HttpRequest, model_admin: "ModelAdmin[Any]") -> HttpResponseBase:
    """All pages of the list that the query string shows, as CSV or XLSX, for whoever may see the list; audited."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    query = request.GET.copy()
    try:
        kind = FileJob.Format(query.pop(FORMAT, [FileJob.Format.CSV])[-1])
    except ValueError:
        raise BadRequest(gettext("The format is csv or xlsx.")) from None
    page = filtered(request, model_admin, query)
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    try:
        count = writing.write(table_of(page, request), page.queryset, kind, file)
    except BaseException as error:
        file.close()
        if not isinstance(error, writing.TooManyError):
            raise
        text = gettext("The list has more than {most} rows, the most of one {format} file. Choose a narrower filter.")
        text = text.format(most=writing.MOST[kind], format=kind.label)
        model_admin.message_user(request, text, messages.ERROR)
        address = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")
        return HttpResponseRedirect(f"{address}?{query.urlencode()}")
    note_export(request, page, {"format": kind.value, "filter": query.urlencode()[:500], "rows": count})
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


def filtered(request: HttpRequest, model_admin: "ModelAdmin[Any]", query: Any) -> ChangeList:
    """The list of this query string; raises BadRequest for an unknown filter."""
    for name in (PAGE_VAR, ALL_VAR, ERROR_FLAG):
        query.pop(name, None)
    request.GET = query
    try:
        page: ChangeList = model_admin.get_changelist_instance(request)
    except IncorrectLookupParameters as error:
        raise BadRequest(gettext("The list has no such filter.")) from error
    return page


def note_export(request: HttpRequest, page: ChangeList, after: dict[str, object]) -> None:
    """Note who took the file: in each organization that a member's list is of; staff's is of all."""
    keys: list[int | None] = [None]
    if not is_platform_staff(request.user) and isinstance(page.model_admin, TenantAdmin):
        found = rights.in_request(request)
        keys = [key for key in found.roles if found.may(page.model_admin.view_role, key)]
    name = english(page.opts.verbose_name_plural)
    audit.record(
        audit.listed(actor(request), "export", page.model, name, organization_id=key, after=after) for key in keys
    )
