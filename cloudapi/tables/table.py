"""What a list is exported as: by default its own columns as text; a list with a table of its own has more of them."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import get_fields_from_path, label_for_field, lookup_field
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db.models import DateTimeField, Field, Model, QuerySet
from django.http import HttpRequest
from django.utils.html import strip_tags
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django_filters import FilterSet

from organizations.admin.spreadsheet import Cell

NOTHING: Final = "–"  # what pages show for no value
_TIME: Final = re.compile(r'<time datetime="([^"]+)"[^>]*>[^<]*</time>')


@dataclass(frozen=True)
class Column:
    """One column of a file; `name` is what an import calls it, whatever the language of its head."""

    name: str
    label: str
    value: Callable[[Any], Cell]
    is_time: bool = False

    @property
    def head(self) -> str:
        """What stands above it: times are UTC, whatever the reader's zone."""
        return gettext("{label} (UTC)").format(label=self.label) if self.is_time else self.label


class Table:
    """The rows and columns of one list; made for one export."""

    model: ClassVar[type[Model]]
    name: ClassVar[str]  # in REST and in `FileJob.table`
    filters: ClassVar[type[FilterSet]]  # that REST takes

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def rows(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        """The filtered rows, with what the columns read beside them."""
        return queryset

    def columns(self) -> Sequence[Column]:
        """The columns, without secrets: those are not stored, or not shown."""
        raise NotImplementedError


class ListTable(Table):
    """A list without a table of its own: what its page shows, as text."""

    def __init__(self, request: HttpRequest, model_admin: "ModelAdmin[Any]", names: Sequence[Any]) -> None:
        super().__init__(request)
        self.model_admin = model_admin
        self.names = [name for name in names if name not in ("action_checkbox", ACTION_CHECKBOX_NAME)]

    def columns(self) -> Sequence[Column]:
        return [self.column(name) for name in self.names]

    def column(self, name: Any) -> Column:
        label, attribute = label_for_field(name, self.model_admin.model, self.model_admin, return_attr=True)
        path = getattr(attribute, "admin_order_field", None) if attribute else name
        if isinstance(path, str) and isinstance(field_at(self.model_admin.model, path), DateTimeField):
            parts = path.split("__")
            return Column(str(name), capfirst(str(label)), lambda row: read_through(row, parts), is_time=True)

        def value(row: Model) -> Cell:
            try:
                field, _, found = lookup_field(name, row, self.model_admin)
            except ObjectDoesNotExist:
                return None
            if field is not None and getattr(field, "flatchoices", None):
                found = dict(field.flatchoices).get(found, found)
            return plain(found)

        return Column(str(name), capfirst(str(label)), value)


def field_at(model: type[Model], path: str) -> "Field[Any, Any] | None":
    try:
        found: Field[Any, Any] = get_fields_from_path(model, path)[-1]
    except (FieldDoesNotExist, AttributeError):
        return None
    return found


def read_through(row: Any, parts: Sequence[str]) -> datetime | None:
    for part in parts:
        row = getattr(row, part, None)
    found: datetime | None = row
    return found


def plain(value: object) -> Cell:
    """What a page shows, as the cell of a file: no markup, and moments instead of "3 min ago"."""
    if value is None or isinstance(value, bool | int | datetime):
        return value
    text = str(value)
    if isinstance(value, SafeString):
        text = html.unescape(strip_tags(_TIME.sub(r"\1", text)))
    text = " ".join(text.split())
    return "" if text == NOTHING else text
