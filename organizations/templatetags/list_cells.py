"""The cells of a list with the names of their columns: on a phone each row is a card, and the head is not beside it."""

from collections.abc import Iterator, Sequence

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

register = template.Library()


@register.filter
def with_names(cells: Sequence[str], headers: Sequence[dict[str, object]]) -> Iterator[SafeString]:
    """The cells of a row, as the stock list made them, each with `data-label`; a check box has no name."""
    for cell, header in zip(cells, headers, strict=True):
        is_box = "action-checkbox-column" in str(header["class_attrib"])
        label = "" if is_box else format_html(' data-label="{}"', capfirst(str(header["text"])))
        tag, rest = cell[:3], cell[3:]  # "<td" or "<th"
        yield mark_safe(f"{tag}{label}{rest}")  # noqa: S308  # the stock list's own, and an escaped name
