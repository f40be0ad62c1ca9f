"""Filters of REST lists by what a person typed."""

import django_filters
from rest_framework import filters
from rest_framework.request import Request

from organizations.typed import TypedField, typed


class TypedFilter(django_filters.CharFilter):  # type: ignore[misc]  # no types
    """An ID or serial number as a person typed it."""

    field_class = TypedField


class SearchFilter(filters.SearchFilter):
    """`?search=` as a person typed it."""

    def get_search_terms(self, request: Request) -> list[str]:
        return [term for given in super().get_search_terms(request) if (term := typed(given))]
