"""The license list as a map and as GeoJSON, with the list's own filters."""

import json
from typing import Final

from django.conf import settings
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, PAGE_VAR
from django.core.exceptions import BadRequest
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_safe

from devices.grouping.places import WORLD, read_box
from devices.models import Device
from devices.presence import watch
from licenses import geography
from licenses.admin.changelist import PART, ListPages
from licenses.geography import LICENSES
from licenses.models import UnlockLicenseQuerySet
from licenses.validity import State
from licenses.wording import PLACED
from organizations.tenancy import restrict

DOCK_BY = {"device__sn": "sn", "device__sn__exact": "sn", "device__id__exact": "pk", "device": "pk"}  # query -> field

NUMBERS: Final = ("offset", "limit", "grouped")
MOST_COLUMNS: Final = 24  # of groups

TEXTS: Final = {  # of the page and its script
    "title": gettext_lazy("License map"),
    "licenses": gettext_lazy("Unlock licenses"),
    "legend": gettext_lazy("Legend"),
    "types": gettext_lazy("What"),
    "states": gettext_lazy("State"),
    "fit": gettext_lazy("Show all"),
    "list": gettext_lazy("Back to the list"),
    "loading": gettext_lazy("Loading …"),
    "empty": gettext_lazy("No license here."),
    "failed": gettext_lazy("The licenses could not be loaded. Load the page again."),
    "cut": gettext_lazy("The first {shown} of {total} licenses: filter the list to see others."),
    "count": gettext_lazy("{shown} licenses"),
    "here": gettext_lazy("{shown} licenses here"),
    "groups": gettext_lazy("{total} licenses in groups: zoom in to see each"),
    "placeless": gettext_lazy("{count} without a place on the map: see the list"),
    "more": gettext_lazy("Show more"),
    "radius": gettext_lazy("radius {radius} m"),
    "nowhere": gettext_lazy("no location"),
    "no_outline": gettext_lazy("the map has no outline of it"),
    "window": gettext_lazy("{begin} to {end}"),
    "open": pgettext_lazy("no begin or end", "…"),
    "as_of": gettext_lazy("as of {moment}"),
    "stale": gettext_lazy("out of date: read at {moment}"),
    "never": gettext_lazy("never read from the dock"),
    "page": gettext_lazy("Open"),
    "and_more": gettext_lazy("and {count} more"),
    "no_scripts": gettext_lazy("The map needs JavaScript."),
    "dock": gettext_lazy("Dock"),
    "zoom_in": gettext_lazy("Closer"),
    "zoom_out": gettext_lazy("Farther"),
    "close": gettext_lazy("Close"),
    "source": gettext_lazy("Outlines: Natural Earth, coarse"),
}


class MapPages(ListPages):
    """Adds `map/` and `geojson/` below the list; both take the list's query string.

    `?device__sn=DOCK1` is one dock, `?id__in=1,2` some licenses; `offset` and `limit` are the part of the collection,
    `bbox` is what the map shows, `grouped` how many groups to put beside each other if there are too many licenses.
    """

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("map/", self.admin_site.admin_view(self.map_view), name="licenses_unlocklicense_map"),
            path("geojson/", self.admin_site.admin_view(self.geojson_view), name="licenses_unlocklicense_geojson"),
        ]
        return own + super().get_urls()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in DOCK_BY or super().lookup_allowed(lookup, value, request)

    @method_decorator(require_safe)
    def geojson_view(self, request: HttpRequest) -> HttpResponse:
        """A FeatureCollection; `next` is the address of the next part, or null."""
        offset, limit, columns = (_number(request, name) for name in NUMBERS)
        rows: UnlockLicenseQuerySet = self.filtered(request).queryset
        text = request.GET.get("bbox", "")
        try:
            box = read_box(text) if text else None
        except ValueError as error:
            raise BadRequest(gettext("bbox must be west,south,east,north in degrees.")) from error
        if box is not None:
            rows = rows.in_box(*box)
        docks = _named_docks(request).select_related("state")
        if columns and rows.order_by().exclude(west=None)[: LICENSES + 1].count() > LICENSES:
            found = geography.groups(
                rows, watch=watch(), docks=docks, box=box or WORLD, columns=min(columns, MOST_COLUMNS)
            )
        else:
            found = geography.collection(rows, watch=watch(), docks=docks, offset=offset, limit=limit or LICENSES)
        after = found["next_offset"]
        query = _query(request, offset=after, limit=limit, bbox=text)
        answer = {
            "type": found["type"],
            "features": found["features"],
            "total": found["total"],
            "next": None if after is None else request.build_absolute_uri(f"?{query}"),
        }
        content = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return HttpResponse(content, content_type="application/geo+json")

    @method_decorator(require_safe)
    def map_view(self, request: HttpRequest) -> HttpResponse:
        """The page; its script fetches the GeoJSON of the same query."""
        self.filtered(request)  # refuses what the list refuses
        query = _query(request)
        texts = {name: str(text) for name, text in TEXTS.items()}
        title, docks = texts["title"], list(_named_docks(request)[:1])
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("{title}: {dock}").format(title=title, dock=docks[0]) if docks else title,
            "opts": self.opts,
            "texts": texts,
            "texts_json": json.dumps(texts),
            "types": [(kind.value, kind.label) for kind in PLACED],
            "states": State.choices,
            "geojson": f"{reverse('admin:licenses_unlocklicense_geojson')}?{query}",
            "list": f"{reverse('admin:licenses_unlocklicense_changelist')}?{query}",
            "license_page": reverse("admin:licenses_unlocklicense_change", args=[0]),
            "dock_page": reverse("admin:devices_device_change", args=[0]),
            "tile_url": settings.MAP_TILE_URL,
            "tile_attribution": settings.MAP_TILE_ATTRIBUTION,
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/map.html", context)


def _named_docks(request: HttpRequest) -> QuerySet[Device]:
    """The dock that the query string names, if the user may see it: it is shown even without licenses."""
    asked = Q(pk__in=[])
    for name, field in DOCK_BY.items():
        value = request.GET.get(name, "")
        if value and (field == "sn" or (value.isdecimal() and len(value) < 19)):
            asked |= Q(**{field: value})
    return restrict(Device.objects.filter(asked), request.user)


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest(gettext("{name} must be a whole number.").format(name=name))
    return int(text)


def _query(request: HttpRequest, **part: int | str | None) -> str:
    """The list's query string, with this part of the collection (`offset`, `limit`, `bbox`)."""
    query = request.GET.copy()
    for name in (*PART, PAGE_VAR, ALL_VAR, ERROR_FLAG):
        query.pop(name, None)
    for name, value in part.items():
        if value:
            query[name] = str(value)
    return query.urlencode()
