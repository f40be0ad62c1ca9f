"""The list of licenses as a file for spreadsheets, with the list's own filters."""

from collections.abc import Iterator
from typing import Final

from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices.models import Device
from licenses import validity, wording
from licenses.admin import cells
from licenses.admin.cells import Shown
from licenses.admin.changelist import ListPages
from licenses.models import UnlockLicense
from organizations.admin.spreadsheet import MARK, Cell, encoded

CHUNK = 1000  # rows at once
COLUMNS: Final = (
    "dock", "callsign", "organization", "license_id", "name", "type", "allows", "bound_to", "group_id", "user_id",
    "begins", "ends", "days_left", "enabled", "user_only", "standing", "found_in", "differences", "as_of", "is_old",
    "note",
)  # fmt: skip
READ: Final = (
    "device_id", "device_model_domain", "license_id", "name", "type", "group_id", "user_id", "device_sn",
    "begin_time", "end_time", "user_only", "enabled", "details", "note", "seen_at", "in_other_inventory",
)  # fmt: skip
READ_OF_DOCKS: Final = ("sn", "callsign", "organization__name", "organization__time_zone", "site__time_zone")


class ExportPages(ListPages):
    """Adds `export.csv` below the list; it takes the list's query string."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.csv_view)
        return [path("export.csv", view, name="licenses_unlocklicense_csv"), *super().get_urls()]

    @method_decorator(require_safe)
    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered list, all of its pages, as UTF-8 with a mark, for Excel; a chunk of rows at a time."""
        keys = list(self.filtered(request).queryset.values_list("pk", flat=True))
        docks = Device.objects.select_related("organization", "site").only(*READ_OF_DOCKS)
        # Not joined: a dock has hundreds of licenses, and would be read and made again for each.
        licenses = UnlockLicense.objects.only(*READ).prefetch_related(Prefetch("device", docks))

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
