"""Filters of lists that refuse what they do not understand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import django_filters
from django.core.exceptions import ValidationError
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import extend_schema_field

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


def one_of(choices: Iterable[tuple[object, object]]) -> "dict[str, StrPromise]":
    """The error of a value that is not among these choices."""
    values = ", ".join(str(value) for value, _ in choices)
    return {"invalid_choice": format_lazy(gettext_lazy("One of {values}."), values=values)}


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]  # no types
    """One of some words; the error of another one names them."""

    def __init__(self, *args: object, choices: Iterable[tuple[object, object]], **options: object) -> None:
        super().__init__(*args, choices=choices, error_messages=one_of(choices), **options)


class BooleanFilter(django_filters.TypedChoiceFilter):  # type: ignore[misc]  # no types
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    def __init__(self, *args: object, **options: object) -> None:
        choices = [("true", "true"), ("false", "false")]
        super().__init__(
            *args, choices=choices, coerce=lambda value: value == "true", error_messages=one_of(choices), **options
        )
        # On the class, it would hide the words of its filters.
        extend_schema_field({"type": "boolean", "description": options.get("help_text", "")})(self)


class MomentField(IsoDateTimeField):  # type: ignore[misc]  # no types
    """A moment in UTC, for PostgreSQL takes few offsets; an empty one is refused, for it would show everything."""

    default_error_messages: ClassVar = {
        "invalid": gettext_lazy("A time, as 2026-11-21T09:00:00Z; the + of an offset must be escaped.")
    }

    def clean(self, value: object) -> datetime | None:
        if value is None:
            return None
        found: datetime | None = super().clean(value)
        try:
            if found is not None:
                return found.astimezone(UTC)
        except OverflowError:
            pass
        raise ValidationError(self.error_messages["invalid"], code="invalid")


class SinceFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # no types
    """Rows of this moment or later."""

    field_class = MomentField

    def __init__(self, field_name: str, help_text: str = "At this moment or later.", **options: object) -> None:
        super().__init__(field_name, lookup_expr="gte", help_text=help_text, **options)


class BeforeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # no types
    """Rows from before this moment."""

    field_class = MomentField

    def __init__(self, field_name: str, help_text: str = "Before this moment.", **options: object) -> None:
        super().__init__(field_name, lookup_expr="lt", help_text=help_text, **options)
