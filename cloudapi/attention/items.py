"""The lines of the start page: which of the problems there are."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from django.db.models import Count, Model, QuerySet

from cloudapi.attention.kinds import KINDS, Level
from cloudapi.attention.rows import Visit


class Item(NamedTuple):
    """One line of the start page; `view` and `query` as in `Kind`."""

    level: Level
    text: str
    detail: str
    view: str
    query: str


def items(visit: Visit) -> Iterator[Item]:
    """The problems that this user should know of; a constant number of queries, whatever the number of devices."""
    kinds = {name: kind for name, kind in KINDS.items() if visit.is_staff or not kind.for_staff}
    counts = dict.fromkeys(kinds, 0)
    aggregates: dict[Callable[[Visit], QuerySet[Model, object]], dict[str, Count]] = defaultdict(dict)
    for name, kind in kinds.items():
        if kind.rows:
            aggregates[kind.rows][name] = Count("pk", filter=kind.where(visit)) if kind.where else Count("*")
    for rows, counted in aggregates.items():
        counts |= rows(visit).aggregate(**counted)
    for name, kind in kinds.items():
        count, text = counts[name], kind.text
        if isinstance(text, tuple):
            if not count:
                continue
            text = f"{count:,} {text[count > 1]}"
        if kind.also_if is None or kind.also_if(counts):
            detail = kind.detail if isinstance(kind.detail, str) else kind.detail(visit, count)
            yield Item(kind.level, text, detail, kind.view, kind.query)
