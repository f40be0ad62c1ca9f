"""The lines of the start page: which of the problems there are, and which of them somebody knows of."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from django.db.models import Count, Model, Q, QuerySet
from django.utils.translation import ngettext

from cloudapi.attention import acknowledging
from cloudapi.attention.acknowledging import Act, Cover, Known
from cloudapi.attention.kinds import KINDS, Kind, Level
from cloudapi.attention.rows import Visit, is_acknowledged
from organizations import rights


class Item(NamedTuple):
    """One line of the start page; `view` and `query` as in `Kind`."""

    kind: str
    level: Level
    text: str
    detail: str
    view: str
    query: str
    total: int
    may_acknowledge: bool


class Found(NamedTuple):
    """What needs somebody, and what somebody knows of."""

    items: list[Item]
    known: list[Known]


def look(visit: Visit) -> Found:
    """The problems that this user should know of; a constant number of queries, whatever the number of devices."""
    kinds = {name: kind for name, kind in KINDS.items() if visit.is_staff or not kind.for_staff}
    acts: dict[str, list[Act]] = defaultdict(list)
    for act in acknowledging.acts(visit):
        if act.kind in kinds:
            acts[act.kind].append(act)
    counts, covers = _counted(visit, kinds, acts)
    may_acknowledge = rights.of(visit.user).may(acknowledging.ROLE, anywhere=True)
    items = []
    for name, kind in kinds.items():
        if kind.also_if is not None and not kind.also_if(counts):
            covers.pop(name, None)
            continue
        cover = covers.get(name)
        left = counts[name] - (cover.total if cover else 0)
        if left > 0 if kind.is_counted else cover is None or None not in cover.organizations:
            detail = str(kind.detail(visit, left) if callable(kind.detail) else kind.detail)
            if cover and cover.total:
                more = ngettext("{count} more is acknowledged", "{count} more are acknowledged", cover.total)
                detail += "; " + more.format(count=f"{cover.total:,}")
            text = kind.words(left)
            items.append(Item(name, kind.level, text, detail, kind.view, kind.query, left, may_acknowledge))
    return Found(items, acknowledging.known(visit, kinds, acts, covers))


def _counted(
    visit: Visit, kinds: Mapping[str, Kind], acts: Mapping[str, list[Act]]
) -> tuple[dict[str, int], dict[str, Cover]]:
    """How many rows have each problem, and what of them is acknowledged."""
    counts = dict.fromkeys(kinds, 0)
    aggregates: dict[Callable[[Visit], QuerySet[Model, object]], dict[str, Count]] = defaultdict(dict)
    for name, kind in kinds.items():
        if kind.rows:
            where = kind.where(visit) if kind.where else None
            aggregates[kind.rows][name] = Count("*") if where is None else Count("pk", filter=where)
            if kind.is_of_devices and name in acts:
                known = Q(where or Q(), is_acknowledged(name, visit))
                aggregates[kind.rows][f"{name}_known"] = Count("pk", filter=known)
    for rows, counted in aggregates.items():
        counts |= rows(visit).aggregate(**counted)
    covers = {}
    for name, held in acts.items():
        if kinds[name].is_of_devices:
            covers[name] = Cover(counts[f"{name}_known"], frozenset(act.organization_id for act in held))
        else:
            covers[name] = acknowledging.cover(kinds[name], counts[name], held, visit)
    return counts, covers
