"""The list of licenses as the database is asked for it."""

from datetime import datetime
from typing import Any

from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import Case, F, QuerySet, When
from django.http import HttpRequest
from django.utils import timezone

from devices.admin import CappedPaginator
from licenses import admin_rows

SPAN = "span"  # of the timeline; no filter
NEXT_END = (F("end_time").asc(nulls_last=True), "pk")


def urgency(now: datetime, *, over_and_on: int) -> Any:
    """A rank: 1 for windows that are not over, 2 for those that are over and off, and this for those still on."""
    return Case(When(end_time__lte=now, then=Case(When(enabled=True, then=over_and_on), default=2)), default=1)


class LicenseChangeList(ChangeList):
    """Each license once, a page with what its rows show besides their own columns; a constant number of queries."""

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name != SPAN}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request, exclude_parameters)
        return rows.listed().with_as_of().defer("raw")  # type: ignore[no-any-return]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_capped = self.result_count >= CappedPaginator.CAP
        self.result_list = rows = list(self.result_list)
        for row, shown in zip(rows, admin_rows.show(rows, request), strict=True):
            row.shown = shown
            row.way_back = self.preserved_filters


class TimelineChangeList(LicenseChangeList):
    """What ends next comes first: what is over lies left of the picture."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if ORDER_VAR in self.params:
            return super().get_ordering(request, queryset)
        return [urgency(timezone.now(), over_and_on=2), *NEXT_END]
