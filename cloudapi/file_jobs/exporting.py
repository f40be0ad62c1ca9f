"""What an export writes: the rows of a list, as its page or as REST filters them, for whoever asked."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, PAGE_VAR, ChangeList
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import get_resolver
from django_filters import FilterSet

from cloudapi.file_jobs import access
from cloudapi.file_jobs.pieces import PieceWriter
from cloudapi.file_jobs.running import Failed, Run
from cloudapi.tables import writing
from cloudapi.tables.registry import NAMED, table_of
from cloudapi.tables.table import Table
from organizations import audit
from organizations.admin.tenant import TenantAdmin
from organizations.audit import Actor, Event
from organizations.language.stored import english
from organizations.models import AuditEvent, FileJob, Role
from organizations.models.files import model_of
from organizations.rights import Rights
from organizations.tenancy import is_platform_staff, of_organizations


def export(run: Run) -> None:
    """Write the file of a job. Raises Failed, Stopped and HandedBack."""
    job = run.job
    held = access.rights_of(job)
    if held is None:
        raise Failed("not_allowed")
    model_admin = admin_of(job.table)
    request = HttpRequest()
    request.method, request.user, request.GET = "GET", held.principal, QueryDict(job.query)  # type: ignore[assignment]
    if model_admin is None or not model_admin.has_view_permission(request):
        raise Failed("not_allowed")
    table, rows = (
        of_rest(job, request, held) if job.through == AuditEvent.Through.API else of_page(request, model_admin)
    )
    if job.reach and hasattr(rows.model, "organization_path"):
        rows = of_organizations(rows, job.reach)
    run.note(done=0, size=0, stored=0, total=rows.order_by().count())
    kind = FileJob.Format(job.format)
    writing.delete_left_over()
    file = PieceWriter(run.save)
    try:
        count = writing.write(table, rows, kind, file, run.progress)
    except writing.TooManyError:
        raise Failed("too_many_rows", most=f"{writing.MOST[kind]:,}") from None
    file.close()
    actor = Actor(AuditEvent.Through(job.through), job.requested_by, job.requested_with, job.request_id)
    after = {"format": job.format, "filter": job.query[:500], "rows": count}
    with transaction.atomic():
        run.end(FileJob.Status.SUCCEEDED, done=count, total=count)
        audit.record(events(actor, held, model_admin, after))


def admin_of(table: str) -> "ModelAdmin[Any] | None":
    """The list that a job names; None if there is no such list (any more)."""
    get_resolver().url_patterns  # noqa: B018  # loads the pages, which a worker does not serve
    model = model_of(table)
    return None if model is None else admin.site._registry.get(model)


def of_page(request: HttpRequest, model_admin: "ModelAdmin[Any]") -> tuple[Table, "QuerySet[Any]"]:
    """As the list of the admin shows it."""
    try:
        page = filtered(request, model_admin)
    except IncorrectLookupParameters:
        raise Failed("unknown_filter") from None
    return table_of(page, request), page.queryset


def filtered(request: HttpRequest, model_admin: "ModelAdmin[Any]") -> ChangeList:
    """The list of the request's query string, all of its pages; raises IncorrectLookupParameters."""
    query = request.GET.copy()
    for name in (PAGE_VAR, ALL_VAR, ERROR_FLAG):
        query.pop(name, None)
    request.GET = query  # type: ignore[assignment]
    page: ChangeList = model_admin.get_changelist_instance(request)
    return page


def of_rest(job: FileJob, request: HttpRequest, held: Rights) -> tuple[Table, "QuerySet[Any]"]:
    """As REST's filters choose it."""
    filters = filters_of(job.table, QueryDict(job.query), request, held)
    if not filters.is_valid():
        raise Failed("unknown_filter")
    return NAMED[job.table](request), filters.qs


def filters_of(table: str, query: QueryDict, request: HttpRequest, held: Rights) -> FilterSet:
    """What REST's filters find in a table, of what the caller may see."""
    model: type[Model] = NAMED[table].model
    rows = held.readable(model._default_manager.all(), view_role(table))
    return NAMED[table].filters(query, queryset=rows, request=request)


def view_role(table: str) -> Role | None:
    """Which role sees a table; None: platform staff."""
    found = admin_of(table)
    return found.view_role if isinstance(found, TenantAdmin) else None


def events(actor: Actor, held: Rights, model_admin: "ModelAdmin[Any]", after: dict[str, object]) -> Iterable[Event]:
    """That somebody took the file: in each organization that a member's list is of; staff's is of all."""
    keys: list[int | None] = [None]
    if not is_platform_staff(held.principal) and isinstance(model_admin, TenantAdmin):
        keys = [key for key in held.roles if held.may(model_admin.view_role, key)]
    name = english(model_admin.opts.verbose_name_plural)
    return [audit.listed(actor, "export", model_admin.model, name, organization_id=key, after=after) for key in keys]
