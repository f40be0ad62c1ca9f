"""Filters of REST lists by what a person typed."""

import django_filters
from django.db.models import Model, QuerySet
from rest_framework import filters
from rest_framework.request import Request

from organizations.models import Organization
from organizations.typed import TypedField, typed


class TypedFilter(django_filters.CharFilter):  # type: ignore[misc]  # no types
    """An ID or serial number as a person typed it."""

    field_class = TypedField


class OrganizationIDFilter(TypedFilter):
    """The rows of one organization, by its ID."""

    def __init__(self, field_name: str = "organization") -> None:
        super().__init__(field_name, help_text="The ID of an organization.")

    def filter(self, rows: QuerySet[Model], value: str) -> QuerySet[Model]:
        """By a subquery: behind a join PostgreSQL does not see the index that has the rows in the list's order."""
        if not value:
            return rows
        return rows.filter(**{self.field_name: Organization.objects.filter(organization_id=value).values("pk")[:1]})


class SearchFilter(filters.SearchFilter):
    """`?search=` as a person typed it."""

    def get_search_terms(self, request: Request) -> list[str]:
        return [term for given in super().get_search_terms(request) if (term := typed(given))]
