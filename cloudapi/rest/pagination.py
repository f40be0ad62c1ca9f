"""Pages of lists by key: each begins after the last row of the one before, however the rows changed meanwhile.

DRF's own cursor counts rows with the same value, up to a thousand; a batch makes more calls than that in one moment.
"""

from typing import Any, Final

from django.core import signing
from django.db.models import F, Q
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

CURSOR: Final = "cursor"
LIMIT: Final = "limit"
ORDERING: Final = "ordering"
DEFAULT_LIMIT: Final = 100
MOST: Final = 500
SALT: Final = "cloudapi.rest.pagination"


class KeysetPagination(BasePagination):
    """`?limit=`, `?ordering=` one of the view's `orderings`, `-` before it to turn it round, and `?cursor=`."""

    parameters = frozenset({CURSOR, LIMIT, ORDERING})

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The rows of one page; rows without a value come last, or turned round first."""
        self.request = request
        self.limit = _limit(request.query_params.get(LIMIT))
        self.rows = queryset.model._meta.label
        self.ordering = _ordering(request.query_params.get(ORDERING), view.orderings)
        name, self.backwards = self.ordering.lstrip("-"), self.ordering.startswith("-")
        self.column = queryset.model._meta.pk if name == "id" else queryset.model._meta.get_field(name)
        rows = queryset.order_by(*self._order())
        if cursor := request.query_params.get(CURSOR):
            rows = rows.filter(self._after(*_read(cursor, self._list())))
        found = list(rows[: self.limit + 1])
        self.last = found[self.limit - 1] if len(found) > self.limit else None
        return found[: self.limit]

    def _list(self) -> str:
        """Which rows in which order: no cursor leads into another list, where its key may be none."""
        return f"{self.rows} {self.ordering}"

    def _order(self) -> list[Any]:
        by = F(self.column.name)
        order = by.desc(nulls_first=True) if self.backwards else by.asc(nulls_last=True)
        # What is unique is in its index alone, in the order that is wanted.
        return [order] if self.column.unique else [order, "-pk" if self.backwards else "pk"]

    def _after(self, value: Any, key: Any) -> Q:
        """The rows that come after the one with this value and this primary key."""
        name, way = self.column.name, "lt" if self.backwards else "gt"
        further = Q(**{f"pk__{way}": key})
        if value is None:
            same = Q(**{f"{name}__isnull": True}) & further
            return same | Q(**{f"{name}__isnull": False}) if self.backwards else same
        value = self.column.to_python(value)
        beyond = Q(**{f"{name}__{way}": value})
        if self.column.unique:
            return beyond
        beyond |= Q(**{name: value}) & further
        if self.column.null and not self.backwards:
            return beyond | Q(**{f"{name}__isnull": True})
        # Said twice, because a database finds its place in an index only by the second.
        return beyond & Q(**{f"{name}__{way}e": value})

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next(), "results": data})

    def _next(self) -> str | None:
        if self.last is None:
            return None
        value = getattr(self.last, self.column.name)
        place = [self._list(), value if value is None else str(value), str(self.last.pk)]
        return replace_query_param(self.request.build_absolute_uri(), CURSOR, signing.dumps(place, salt=SALT))

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        following = {"type": ["string", "null"], "format": "uri", "description": "The next page; null on the last."}
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orders = [f"{sign}{name.lstrip('-')}" for name in view.orderings for sign in ("", "-")]
        schemas = {
            LIMIT: ("Rows per page.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT}),
            ORDERING: ("By which field.", {"type": "string", "enum": orders, "default": view.orderings[0]}),
            CURSOR: ("From `next` of the page before.", {"type": "string"}),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": words, "schema": schema}
            for name, (words, schema) in schemas.items()
        ]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST):
        raise ValidationError({LIMIT: f"A whole number from 1 to {MOST}."})
    return int(text)


def _ordering(text: str | None, offered: Any) -> str:
    if text is None:
        return str(offered[0])
    names = [name.lstrip("-") for name in offered]
    if text.removeprefix("-") not in names:
        raise ValidationError({ORDERING: f"One of {', '.join(names)}, or one with - before it."})
    return text


def _read(cursor: str, given_by: str) -> tuple[Any, Any]:
    """The value and the primary key in a cursor that this list gave; signed, so that nothing else gets this far."""
    try:
        told, value, key = signing.loads(cursor, salt=SALT)
    except signing.BadSignature:
        told = None
    if told != given_by:
        raise NotFound({CURSOR: ["No list has given such a cursor with this ordering."]})
    return value, key
