"""The list of licenses as the database is asked for it."""

from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import InvalidPage, Page
from django.db.models import Case, F, QuerySet, When
from django.http import HttpRequest
from django.utils import timezone

from licenses.admin import cells
from organizations.admin.tenant import CappedPaginator

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
        return rows.listed().defer("raw")  # type: ignore[no-any-return]

    def get_results(self, request: HttpRequest) -> None:
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        self.result_count = self.paginator.count
        self.full_result_count, self.show_full_result_count = None, False
        self.can_show_all, self.show_admin_actions = False, True
        self.multi_page = self.result_count > self.list_per_page
        try:
            rows = list(self.paginator.page(self.page_num).object_list)
        except InvalidPage as error:
            raise IncorrectLookupParameters from error
        self.result_list: Any = rows
        for row, shown in zip(rows, cells.show(rows, request), strict=True):
            row.shown = shown
            row.way_back = self.preserved_filters or "_changelist_filters="


class UrgencyPaginator(CappedPaginator):
    """Pages in the order of urgency, from parts that an index has in order each: all rows are never sorted."""

    over_and_on_first = True

    @cached_property
    def parts(self) -> list[Any]:
        """What is over and on, what is not over by its end, what never ends, what is over and off."""
        rows: Any = self.object_list
        now = timezone.now()
        over = rows.filter(end_time__lte=now)
        parts = [
            over.filter(enabled=True).order_by("end_time", "pk"),
            rows.filter(end_time__gt=now).order_by("end_time", "pk"),
            rows.filter(end_time=None).order_by("pk"),
            over.exclude(enabled=True).order_by("end_time", "pk"),
        ]
        return parts if self.over_and_on_first else [*parts[1:3], parts[0], parts[3]]

    @cached_property
    def count(self) -> int:
        return self.CAP if self.is_refresh else min(sum(self.count_of(part) for part in self.parts), self.CAP)

    def page(self, number: int | str) -> Any:
        number = self.validate_number(number)
        before = (number - 1) * self.per_page
        room = min(self.per_page, self.CAP - before)
        found: list[Any] = []
        for part in self.parts:
            if len(found) == room:
                break
            rows = list(part[before : before + room - len(found)])
            found += rows
            if before:
                before = 0 if rows else before - self.count_of(part)
        return Page(found, number, self)


class TimelinePaginator(UrgencyPaginator):
    """What is over lies left of the picture and comes last."""

    over_and_on_first = False


class TimelineChangeList(LicenseChangeList):
    """What ends next comes first: what is over lies left of the picture."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if ORDER_VAR in self.params:
            return super().get_ordering(request, queryset)
        return [urgency(timezone.now(), over_and_on=2), *NEXT_END]
