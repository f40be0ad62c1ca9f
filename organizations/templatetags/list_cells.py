"""The cells of a list with the names of their columns: on a phone each row is a card, and the head is not beside it."""

from collections.abc import Sequence

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

register = template.Library()


@register.filter
def labels(headers: Sequence[dict[str, object]]) -> list[SafeString | str]:
    """The names of the columns as attributes of their cells, made once for all rows; a check box has none."""
    return [
        "" if "action-checkbox-column" in str(header["class_attrib"])
        else format_html(' data-label="{}"', capfirst(str(header["text"])))
        for header in headers
    ]  # fmt: skip


@register.filter
def labeled(cells: Sequence[str], names: Sequence[str]) -> SafeString:
    """The cells of a row, as the stock list made them, each with its `data-label`."""
    # After "<td" or "<th". The stock list's own, and escaped names.
    return mark_safe("".join(f"{cell[:3]}{name}{cell[3:]}" for cell, name in zip(cells, names, strict=True)))  # noqa: S308
