"""The list of licenses as the database is asked for it: as pages, as a timeline, and without pages."""

from datetime import datetime
from functools import cached_property
from typing import ClassVar, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR
from django.core.paginator import InvalidPage, Page
from django.db.models import Case, F, QuerySet, When
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone

from licenses.admin import cells
from licenses.models import UnlockLicense, UnlockLicenseQuerySet
from organizations.admin.tenant import CappedPaginator, TenantAdmin, TenantChangeList

BARS = 500  # on a page of the timeline
SPAN: Final = "span"  # of the timeline
PART: Final = ("offset", "limit", "grouped", "bbox")  # of the map's licenses
NEXT_END: Final = (F("end_time").asc(nulls_last=True), "pk")


def urgency(now: datetime, *, over_and_on: int) -> Case:
    """A rank: 1 for windows that are not over, 2 for those that are over and off, and this for those still on."""
    return Case(When(end_time__lte=now, then=Case(When(enabled=True, then=over_and_on), default=2)), default=1)


class UrgencyPaginator(CappedPaginator):
    """Pages in the order of urgency, from parts that an index has in order each: all rows are never sorted."""

    over_and_on_first = True

    @cached_property
    def parts(self) -> list[UnlockLicenseQuerySet]:
        """What is over and on, what is not over by its end, what never ends, what is over and off."""
        rows: UnlockLicenseQuerySet = self.object_list  # type: ignore[assignment]  # the stub's is any sequence
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

    def page(self, number: int | str) -> "Page[UnlockLicense]":
        number = self.validate_number(number)
        before = (number - 1) * self.per_page
        room = min(self.per_page, self.CAP - before)
        found: list[UnlockLicense] = []
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


class LicenseChangeList(TenantChangeList):
    """Each license once, a page with what its rows show besides their own columns; a constant number of queries."""

    paginator_class: ClassVar[type[UrgencyPaginator]] = UrgencyPaginator
    not_filters: ClassVar[tuple[str, ...]] = (SPAN,)  # parameters of the page itself
    has_switches = True

    def get_filters_params(self, params: dict[str, object] | None = None) -> dict[str, object]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in self.not_filters}

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> UnlockLicenseQuerySet:
        rows: UnlockLicenseQuerySet = super().get_queryset(request, exclude_parameters)  # type: ignore[assignment]
        return rows.listed().defer("raw", "device__state__properties")

    def get_results(self, request: HttpRequest) -> None:
        kind = CappedPaginator if ORDER_VAR in self.params else self.paginator_class
        self.paginator = kind(self.queryset, self.list_per_page, request)
        self.result_count = self.paginator.count
        self.full_result_count, self.show_full_result_count = None, False
        self.can_show_all, self.show_admin_actions = False, True
        self.multi_page = self.result_count > self.list_per_page
        try:
            self.result_list = list(self.paginator.page(self.page_num).object_list)
        except InvalidPage as error:
            raise IncorrectLookupParameters from error
        found = cells.show(self.result_list, request if self.has_switches else None)
        for row, shown in zip(self.result_list, found, strict=True):
            row.shown = shown
            row.way_back = self.preserved_filters or "_changelist_filters="


class TimelineChangeList(LicenseChangeList):
    """What ends next comes first: what is over lies left of the picture."""

    paginator_class = TimelinePaginator
    has_switches = False

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[UnlockLicense]) -> list[str | Combinable]:
        if ORDER_VAR in self.params:
            return super().get_ordering(request, queryset)
        return [urgency(timezone.now(), over_and_on=2), *NEXT_END]

    def get_results(self, request: HttpRequest) -> None:
        self.list_per_page = BARS
        super().get_results(request)


class WholeChangeList(LicenseChangeList):
    """The rows of all pages as `queryset`; no page is read."""

    def get_results(self, request: HttpRequest) -> None:
        pass


class MapChangeList(WholeChangeList):
    """The same for the map, which shows them part by part."""

    not_filters = (SPAN, *PART)


CHANGELISTS: Final = {  # by the name of the page
    "licenses_unlocklicense_timeline": TimelineChangeList,
    "licenses_unlocklicense_csv": WholeChangeList,
    "licenses_unlocklicense_map": MapChangeList,
    "licenses_unlocklicense_geojson": MapChangeList,
}


class ListPages(TenantAdmin):
    """The list, and pages below it that show the licenses of the same query string in other ways."""

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[LicenseChangeList]:
        page = request.resolver_match.url_name if request.resolver_match else None
        return CHANGELISTS.get(page or "", LicenseChangeList)
