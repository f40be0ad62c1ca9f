"""Filters of REST lists that refuse what they do not understand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import extend_schema_field
from rest_framework import filters

from organizations.typed import TypedField, typed


def one_of(choices: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """What a value is answered with that is none of these."""
    return {"invalid_choice": f"One of {', '.join(str(value) for value, _ in choices)}."}


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]
    """One of some words, which a wrong one is answered with."""

    def __init__(self, *args: Any, choices: Any, **kwargs: Any) -> None:
        super().__init__(*args, choices=choices, error_messages=one_of(choices), **kwargs)


class TypedFilter(django_filters.CharFilter):  # type: ignore[misc]
    """An id or serial number as a person typed it."""

    field_class = TypedField


class SearchFilter(filters.SearchFilter):
    """`?search=` as a person typed it."""

    def get_search_terms(self, request: Any) -> list[str]:
        return [term for given in super().get_search_terms(request) if (term := typed(given))]


class BooleanFilter(django_filters.TypedChoiceFilter):  # type: ignore[misc]
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(
            *args, choices=choices, coerce=lambda value: value == "true", error_messages=one_of(choices), **kwargs
        )
        # Of the class, a schema would hide the words of its filters.
        extend_schema_field({"type": "boolean", "description": kwargs.get("help_text", "")})(self)


class MomentField(IsoDateTimeField):  # type: ignore[misc]
    """A moment in UTC, for PostgreSQL takes few offsets; an empty one is refused, for it would show everything."""

    default_error_messages: ClassVar = {
        "invalid": "A time, as 2026-11-21T09:00:00Z; the + of an offset must be escaped."
    }

    def clean(self, value: Any) -> Any:
        if value is None:
            return None
        found: datetime | None = super().clean(value)
        try:
            if found is not None:
                return found.astimezone(UTC)
        except OverflowError:
            pass
        raise ValidationError(self.error_messages["invalid"], code="invalid")


class SinceFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Rows of this moment or later."""

    field_class = MomentField

    def __init__(self, field_name: str, help_text: str = "At this moment or later.", **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="gte", help_text=help_text, **kwargs)


class BeforeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Rows from before this moment."""

    field_class = MomentField

    def __init__(self, field_name: str, help_text: str = "Before this moment.", **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="lt", help_text=help_text, **kwargs)
