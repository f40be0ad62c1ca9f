"""Filters of REST lists that refuse what they do not understand."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import extend_schema_field


@extend_schema_field(bool)
class BooleanFilter(django_filters.TypedChoiceFilter):  # type: ignore[misc]
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args, choices=[("true", "true"), ("false", "false")], coerce=lambda value: value == "true", **kwargs
        )


class MomentField(IsoDateTimeField):  # type: ignore[misc]
    """A moment in UTC, for PostgreSQL takes few offsets; an empty one is refused, for it would show everything."""

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

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="gte", **kwargs)


class BeforeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Rows from before this moment."""

    field_class = MomentField

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="lt", **kwargs)
