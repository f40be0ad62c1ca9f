"""Filters of REST lists that refuse what they do not understand."""

from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema_field


@extend_schema_field(bool)
class BooleanFilter(django_filters.TypedChoiceFilter):  # type: ignore[misc]
    """`true` or `false`; django-filter's own takes anything else for no filter at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args, choices=[("true", "true"), ("false", "false")], coerce=lambda value: value == "true", **kwargs
        )


class SinceFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    """Rows of this moment or later."""

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="gte", **kwargs)
