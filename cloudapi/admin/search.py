"""One search for everything: devices, organizations, licenses, commands, messages, sites and labels.

Each statement is bounded by an index, or reads a table of a few ten thousand rows. What only a scan of
millions of rows would find (a part of a tid, words in messages) is not looked for.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Case, Model, Q, QuerySet, When
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from devices.calls import methods
from devices.diagnosis.exchanges import WORDS
from devices.models import Device, Label, ServiceCall, Site
from licenses.models import INT8, UnlockLicense
from mqtt_bridge.database.natural_sort import natural
from mqtt_bridge.models import Exchange
from organizations import time_zones
from organizations.models import Organization
from organizations.tenancy import Principal, restrict
from organizations.typed import typed

MOST: Final = 5  # rows of each kind; its list has the others
SHORTEST: Final = 2  # characters: one is in everything
SHORTEST_NAME: Final = 3  # characters of a license's name: with fewer no trigram index helps
LONGEST: Final = 128  # no name, id or serial number has more


class Row(NamedTuple):
    """One thing that was found: its name, what tells it from others of that name, its page."""

    text: str
    note: str
    address: str


class Found(NamedTuple):
    """What was found of one kind, and the list of that kind with the same search."""

    name: str
    address: str
    rows: list[Row]
    is_more: bool


class Kind(NamedTuple):
    """One kind of things: how a term finds its rows, best first, and what is shown of a row."""

    name: Promise
    model: type[Model]
    find: Callable[[QuerySet[Any], str], QuerySet[Any]]
    show: Callable[[Any], tuple[object, ...]]  # its name, and parts of the note: what is empty is left out


def _devices(rows: QuerySet[Device], term: str) -> QuerySet[Device]:
    exact_first = Case(When(sn__iexact=term, then=0), When(callsign__iexact=term, then=1), default=2)
    found = rows.filter(Q(sn__icontains=term) | Q(callsign__icontains=term))
    return found.select_related("organization").order_by(exact_first, natural("callsign"), "sn")


def _named(*fields: str) -> Callable[[QuerySet[Any], str], QuerySet[Any]]:
    """Rows of a small table with the term in one of these columns."""

    def find(rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        found = Q()
        for field in fields:
            found |= Q(**{f"{field}__icontains": term})
        return rows.filter(found).order_by(natural("name"), "pk")

    return find


def _licenses(rows: QuerySet[UnlockLicense], term: str) -> QuerySet[UnlockLicense]:
    """In no order, so that a word of half of all names ends after a few rows."""
    found = Q(name__icontains=term) if len(term) >= SHORTEST_NAME else Q(pk__in=())
    if re.fullmatch(r"-?[0-9]{1,19}", term) and -INT8 <= int(term) < INT8:
        found |= Q(license_id=int(term))
    return rows.filter(found).select_related("device").order_by()


def _calls(rows: QuerySet[ServiceCall], term: str) -> QuerySet[ServiceCall]:
    found = Q(tid=term) | Q(bid=term)
    with suppress(ValueError):  # anything may be a tid
        found |= Q(pk=UUID(term))
    return rows.filter(found).select_related("device").order_by()


def _messages(rows: QuerySet[Exchange], term: str) -> QuerySet[Exchange]:
    """Each way by its own index: for all in one statement PostgreSQL may read the journal backwards, to its end."""
    ways = [rows.filter(tid=term).order_by()]
    ways += [rows.filter(gateway_sn=sn).order_by("-received_at", "-pk") for sn in {term, term.upper()}]
    keys = [key for way in ways for key in way.values_list("pk", flat=True)[: 2 * (MOST + 1)]]
    return rows.filter(pk__in=keys).defer("payload", "reply").order_by("-received_at", "-pk")


KINDS: Final = (
    Kind(
        _("Devices"),
        Device,
        _devices,
        lambda row: (row, row.organization or _("unclaimed"), row.model_name, _("retired") if row.retired_at else ""),
    ),
    Kind(
        _("Organizations"),
        Organization,
        _named("name", "organization_id"),
        lambda row: (row.name, row.organization_id, _("closed") if row.closed_at else ""),
    ),
    Kind(_("Unlock licenses"), UnlockLicense, _licenses, lambda row: (row, row.license_id, row.device)),
    Kind(
        _("Commands"),
        ServiceCall,
        _calls,
        # By the serial number: a dock that has moved has its name from its new owner.
        lambda row: (
            methods.title(row.method, row.data),
            row.get_status_display(),
            row.device.sn,
            time_zones.written(row.created),
        ),
    ),
    Kind(
        _("Messages"),
        Exchange,
        _messages,
        lambda row: (
            row.method or row.channel,
            WORDS.get(row.became, row.became),
            row.gateway_sn,
            time_zones.written(row.received_at),
        ),
    ),
    Kind(_("Sites"), Site, _named("name", "place"), lambda row: (row, row.place)),
    Kind(_("Labels"), Label, _named("name"), lambda row: (row,)),
)


def search(principal: Principal, term: str) -> list[Found]:
    """What this user may see of each kind, in as many queries whatever is found. Shorter terms find nothing."""
    found = []
    for kind in KINDS if SHORTEST <= len(term) <= LONGEST else ():
        name = f"admin:{kind.model._meta.app_label}_{kind.model._meta.model_name}"
        rows: dict[str, Row] = {}
        # A dock holds most licenses in two inventories, and shows them as one: twice as many rows are enough.
        for row in kind.find(restrict(kind.model._default_manager.all(), principal), term)[: 2 * (MOST + 1)]:
            text, *notes = kind.show(row)
            key = f"{row.device_id} {row.license_id}" if isinstance(row, UnlockLicense) else str(row.pk)
            note = " · ".join(str(note) for note in notes if note)
            rows.setdefault(key, Row(str(text), note, reverse(f"{name}_change", args=[row.pk])))
        address = f"{reverse(f'{name}_changelist')}?{urlencode({'q': term})}"
        found.append(Found(str(kind.name), address, list(rows.values())[:MOST], len(rows) > MOST))
    return found


def page(request: HttpRequest, context: Mapping[str, object]) -> HttpResponseBase:
    """The page of what `?q=` finds; with `format=json` what the box in the header shows while somebody types."""
    term = typed(request.GET.get("q", ""))
    found = search(request.user, term)
    count = sum(len(kind.rows) for kind in found)
    if request.GET.get("format") == "json":
        words = ngettext("{count} found. Show it", "{count} found. Show all", count).format(count=count)
        kinds = [
            {"name": kind.name, "address": kind.address, "rows": [row._asdict() for row in kind.rows]}
            for kind in found
            if kind.rows
        ]
        everything = {
            "text": words if count else gettext("Nothing found"),
            "address": f"{reverse('admin:search')}?{urlencode({'q': term})}",
        }
        return JsonResponse({"query": term, "all": everything, "kinds": kinds})
    more = {
        "title": gettext("Search"),
        "term": term,
        "found": [kind for kind in found if kind.rows],
        "others": [kind for kind in found if not kind.rows],
        "is_short": len(term) < SHORTEST,
        "shortest": SHORTEST,
    }
    return TemplateResponse(request, "admin/search.html", {**context, **more})
