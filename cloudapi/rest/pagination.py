"""Pages of lists by key: each begins after the last row of the one before, even if rows have changed since.

DRF's own cursor counts rows with the same value, up to a thousand; a batch makes more calls than that in one moment.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from django.core import signing
from django.db.models import F, Model, Q, QuerySet
from django.utils.translation import gettext
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

CURSOR: Final = "cursor"
LIMIT: Final = "limit"
ORDERING: Final = "ordering"
DEFAULT_LIMIT: Final = 100
MOST: Final = 500
SALT: Final = "cloudapi.rest.pagination"

M = TypeVar("M", bound=Model)


class KeysetPagination(BasePagination):
    """`?limit=`, `?ordering=` one of the view's `orderings`, `-` before it to turn it round, and `?cursor=`."""

    parameters = frozenset({CURSOR, LIMIT, ORDERING})

    def paginate_queryset(  # type: ignore[override]  # our lists are querysets
        self, queryset: QuerySet[M], request: Request, view: APIView | None = None
    ) -> list[M]:
        """The rows of one page; rows without a value come last, or first if the order is turned round.

        Raises ValidationError for a limit or an ordering that there is not, NotFound for a cursor of another list.
        """
        self.request = request
        orderings: Sequence[str] = getattr(view, "orderings", ())
        limit = request.query_params.get(LIMIT, str(DEFAULT_LIMIT))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MOST):
            raise ValidationError({LIMIT: gettext("A whole number from 1 to {most}.").format(most=MOST)})
        ordering = request.query_params.get(ORDERING, orderings[0])
        names = [name.lstrip("-") for name in orderings]
        if ordering.removeprefix("-") not in names:
            text = gettext("One of {names}, or one with - before it.").format(names=", ".join(names))
            raise ValidationError({ORDERING: text})
        # No cursor leads into another list, or into this one in another order.
        self.list = f"{queryset.model._meta.label} {ordering}"
        name, self.backwards = ordering.removeprefix("-"), ordering.startswith("-")
        columns = {column.name: column for column in queryset.model._meta.concrete_fields}
        self.column = queryset.model._meta.pk if name == "id" else columns[name]
        by = F(self.column.name)
        order = by.desc(nulls_first=True) if self.backwards else by.asc(nulls_last=True)
        # A unique column has no index together with the key.
        rows = queryset.order_by(order, *([] if self.column.unique else ["-pk" if self.backwards else "pk"]))
        if cursor := request.query_params.get(CURSOR):
            try:
                listed, value, key = signing.loads(cursor, salt=SALT)
            except signing.BadSignature:
                listed = value = key = None
            if listed != self.list:
                raise NotFound({CURSOR: [gettext("This cursor is not from a list with this ordering.")]})
            rows = rows.filter(self._after(value, key))
        found = list(rows[: int(limit) + 1])
        self.last = found[int(limit) - 1] if len(found) > int(limit) else None
        return found[: int(limit)]

    def _after(self, value: str | None, key: str) -> Q:
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

    def get_paginated_response(self, data: object) -> Response:
        following = None
        if self.last is not None:
            value = getattr(self.last, self.column.name)
            place = [self.list, value if value is None else str(value), str(self.last.pk)]
            cursor = signing.dumps(place, salt=SALT)
            following = replace_query_param(self.request.build_absolute_uri(), CURSOR, cursor)
        return Response({"next": following, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, object]) -> dict[str, object]:
        following = {"type": ["string", "null"], "format": "uri", "description": "The next page; null on the last."}
        return {
            "type": "object",
            "required": ["next", "results"],
            "properties": {"next": following, "results": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, object]]:
        orderings: Sequence[str] = getattr(view, "orderings", ())
        orders = [f"{sign}{name.lstrip('-')}" for name in orderings for sign in ("", "-")]
        schemas = {
            LIMIT: ("Rows per page.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT}),
            ORDERING: ("By which field.", {"type": "string", "enum": orders, "default": orderings[0]}),
            CURSOR: ("From `next` of the page before.", {"type": "string"}),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": words, "schema": schema}
            for name, (words, schema) in schemas.items()
        ]
