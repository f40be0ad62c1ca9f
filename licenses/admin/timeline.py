"""The list of licenses as a timeline and as CSV, with the list's own filters."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from licenses import validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.admin.changelist import SPAN, LicenseChangeList, TimelineChangeList
from licenses.models import UnlockLicense
from organizations.admin.tenant import TenantAdmin

PAGE = 500  # bars
CHUNK = 2000  # rows of CSV at once
DEFAULT_SPAN = "year"
TIMELINE = "licenses_unlocklicense_timeline"
# A cell that begins so is a formula to a spreadsheet.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Line(NamedTuple):
    """One license of the timeline."""

    shown: Shown
    bar: validity.Bar
    kind: str

    @property
    def words(self) -> str:
        standing = self.shown.standing
        return standing.past if self.shown.is_stale else standing.words


class TimelinePages(TenantAdmin):
    """Adds `timeline/` and `export.csv` below the list; both take the list's query string."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("timeline/", view(self.timeline_view), name=TIMELINE),
            path("export.csv", view(self.csv_view), name="licenses_unlocklicense_csv"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def timeline_view(self, request: HttpRequest) -> HttpResponse:
        """A bar for every license of the filtered list, on one axis around today."""
        changes = self._filtered(request, TimelineChangeList, per_page=PAGE)
        span = request.GET.get(SPAN, DEFAULT_SPAN)
        span = span if span in validity.SPANS else DEFAULT_SPAN
        now = timezone.now()
        axis = validity.axis(span, now)
        rows = [row.shown for row in changes.result_list]
        context = {
            **self.admin_site.each_context(request),
            "title": "License timeline",
            "opts": self.opts,
            "cl": changes,
            "lines": [Line(shown, axis.bar(shown.license), _kind(shown)) for shown in rows],
            "ticks": axis.ticks(),
            "grid": _grid(axis.ticks()),
            "today": validity.percent(axis.at(now)),
            "now": now,
            "spans": [
                (words, changes.get_query_string({SPAN: name}), name == span)
                for name, (words, _, _) in validity.SPANS.items()
            ],
            "list": f"{reverse('admin:licenses_unlocklicense_changelist')}"
            f"{changes.get_query_string(remove=[SPAN, 'p'])}",
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/timeline.html", context)

    @method_decorator(require_safe)
    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered list, all of its pages, as a file for spreadsheets: UTF-8 with a mark, for Excel."""
        changes = self._filtered(request, LicenseChangeList, per_page=1)
        keys = list(changes.queryset.values_list("pk", flat=True))
        headers = {
            "Content-Disposition": f'attachment; filename="licenses-{timezone.now():%Y-%m-%d}.csv"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(_pieces(request, keys), headers=headers, content_type="text/csv; charset=utf-8")

    def _filtered(self, request: HttpRequest, kind: type[ChangeList], *, per_page: int) -> Any:
        """The list that this query string asks for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return self._changelist(request, kind, per_page=per_page)
        except IncorrectLookupParameters as error:
            raise BadRequest("The license list knows no such filter.") from error

    def _changelist(self, request: HttpRequest, kind: type[ChangeList], *, per_page: int) -> ChangeList:
        """The admin's own list with so many rows on a page."""
        columns = self.get_list_display(request)
        hint: Any = self.search_help_text
        sortable: Any = self.get_sortable_by(request)
        return kind(
            request,
            self.model,
            columns,
            self.get_list_display_links(request, columns),
            self.get_list_filter(request),
            self.date_hierarchy,
            self.get_search_fields(request),
            self.get_list_select_related(request),
            per_page,
            0,
            self.list_editable,
            self,
            sortable,
            hint,
        )


def _grid(ticks: Iterable[validity.Tick]) -> SafeString:
    """The ticks behind every bar."""
    line = '<line x1="{0}" x2="{0}" y1="0" y2="100%" class="tick"></line>'
    return format_html_join("", line, ((tick.at,) for tick in ticks))


def _kind(shown: Shown) -> str:
    return "stale" if shown.is_stale else shown.standing.kind


# --- CSV ---------------------------------------------------------------------------------------------

COLUMNS: Final = (
    "dock", "callsign", "organization", "license_id", "name", "type", "allows", "bound_to", "group_id", "user_id",
    "begins", "ends", "days_left", "enabled", "user_only", "standing", "found_in", "differences", "as_of", "is_old",
    "note",
)  # fmt: skip


def _pieces(request: HttpRequest, keys: Sequence[int]) -> Iterator[bytes]:
    """The file in pieces: rows are read a chunk at a time, and never all at once."""
    yield "\ufeff".encode() + _encoded([COLUMNS])
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        found: Any = UnlockLicense.objects.filter(pk__in=chunk).defer("raw")
        by_key = {row.pk: row for row in found.select_related("device__organization", "device__state")}
        rows = [by_key[key] for key in chunk if key in by_key]
        yield _encoded(columns(shown) for shown in cells.show(rows, request))


class _Echo:
    """Where a csv.writer writes, only to be given it back."""

    def write(self, text: str) -> str:
        return text


def _encoded(rows: Iterable[Iterable[Any]]) -> bytes:
    writer = csv.writer(_Echo())
    return "".join(writer.writerow([safe(cell) for cell in row]) for row in rows).encode(errors="replace")


def safe(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, str) and cell.startswith(FORMULA):
        return f"'{cell}"
    return "" if cell is None else cell


def columns(shown: Shown) -> list[Any]:
    """A license's row; times are UTC."""
    row = shown.license
    return [
        row.device.sn,
        row.device.callsign,
        row.device.organization.name if row.device.organization else "",
        row.license_id,
        row.name,
        wording.type_name(row.type),
        wording.describe(row),
        row.device_sn,
        row.group_id,
        row.user_id,
        row.begin_time,
        row.end_time,
        validity.days_left(row, shown.now),
        row.enabled,
        row.user_only,
        shown.standing.words,
        shown.found_in,
        "; ".join(shown.differences),
        shown.as_of,
        shown.is_stale,
        row.note,
    ]
