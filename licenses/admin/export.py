"""The list of licenses as a file for spreadsheets, with the list's own filters."""

from collections.abc import Iterator
from typing import Final

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from licenses import validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.admin.changelist import ListPages
from licenses.models import UnlockLicense
from organizations.admin.spreadsheet import MARK, Cell, encoded

CHUNK = 500  # rows at once
COLUMNS: Final = (
    "dock", "callsign", "organization", "license_id", "name", "type", "allows", "bound_to", "group_id", "user_id",
    "begins", "ends", "days_left", "enabled", "user_only", "standing", "found_in", "differences", "as_of", "is_old",
    "note",
)  # fmt: skip
READ: Final = (
    "device__sn", "device__callsign", "device__organization__name", "device__organization__time_zone",
    "device__site__time_zone", "device_model_domain", "license_id", "name", "type", "group_id", "user_id", "device_sn",
    "begin_time", "end_time", "user_only", "enabled", "details", "note", "seen_at", "in_other_inventory",
)  # fmt: skip


class ExportPages(ListPages):
    """Adds `export.csv` below the list; it takes the list's query string."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.csv_view)
        return [path("export.csv", view, name="licenses_unlocklicense_csv"), *super().get_urls()]

    @method_decorator(require_safe)
    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered list, all of its pages, as UTF-8 with a mark, for Excel; a chunk of rows at a time."""
        keys = list(self.filtered(request).queryset.values_list("pk", flat=True))
        licenses = UnlockLicense.objects.select_related("device__organization", "device__site").only(*READ)

        def pieces() -> Iterator[bytes]:
            yield MARK + encoded([COLUMNS])
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                found = licenses.in_bulk(chunk)
                rows = [found[key] for key in chunk if key in found]
                yield encoded(columns(shown) for shown in cells.show(rows, None))

        headers = {
            "Content-Disposition": f'attachment; filename="licenses-{timezone.now():%Y-%m-%d}.csv"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(pieces(), headers=headers, content_type="text/csv; charset=utf-8")


def columns(shown: Shown) -> list[Cell]:
    """A license's row; times are UTC, days are counted where the dock is."""
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
        validity.days_left(row, shown.now, validity.zone_of(row.device)),
        row.enabled,
        row.user_only,
        str(shown.standing.words),
        gettext(shown.found_in),
        "; ".join(map(str, shown.differences)),
        shown.as_of,
        shown.is_stale,
        row.note,
    ]
