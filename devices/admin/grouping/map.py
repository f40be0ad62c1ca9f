"""The list of devices as a map and as GeoJSON, with the list's own filters."""

import json
from typing import Any, ClassVar, Final, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import BadRequest
from django.db.models import Count, Max, Min, Prefetch, Q, QuerySet, Window
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import formats, timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from devices.admin.filters import AttentionFilter
from devices.admin.panels import page_of
from devices.diagnosis import needs
from devices.grouping import places
from devices.grouping.places import Spot
from devices.models import Device, DeviceQuerySet
from devices.presence import Watch, watch
from devices.templatetags.moments import exact
from mqtt_bridge.database.natural_sort import natural
from mqtt_bridge.models import Exchange
from organizations.admin.tenant import TenantAdmin, TenantChangeList
from organizations.tenancy import restrict

PAGE: Final = "devices_device_map"
GEOJSON: Final = "devices_device_geojson"
PART: Final = ("bbox", "zoom")  # of the map
ROWS: Final = 50  # of the table, on a page
LISTED: Final = 100  # devices without a place
ON_LICENSES: Final = {  # filters of this list: the same of the list of licenses
    "organization__id__exact": "device__organization__id__exact",
    "site": "site",
}


class MapChangeList(TenantChangeList):
    """The devices that the map shows, the worst first, as pages."""

    formset = None  # nothing is edited in it
    now_watched: Watch

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in PART}

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> Any:
        self.now_watched = watch()
        rows = cast("DeviceQuerySet", super().get_queryset(request, exclude_parameters))
        needing: QuerySet[Device] | None = None
        if self.params.get(AttentionFilter.parameter_name) != "yes":
            visible = restrict(Device.objects.all(), request.user)
            needing = needs.needing(visible, restrict(Exchange.objects.all(), request.user), self.now_watched.now)
        found = places.located(rows, watch=self.now_watched, needing=needing)
        return found if ORDER_VAR in self.params else found.order_by("look", natural("callsign"), "sn")

    def get_results(self, request: HttpRequest) -> None:
        self.list_per_page = ROWS
        super().get_results(request)


class WholeChangeList(MapChangeList):
    """The same as `queryset`; no page is read."""

    def get_results(self, request: HttpRequest) -> None:
        pass


class MapPages(TenantAdmin):
    """Adds `map/` and `geojson/` below the list; both take the list's query string.

    `bbox` is what the map shows and `zoom` how near. Without a zoom each device comes by itself, the first of them.
    """

    changelists: ClassVar[dict[str, type[ChangeList]]] = {PAGE: MapChangeList, GEOJSON: WholeChangeList}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("map/", view(self.map_view), name=PAGE),
            path("geojson/", view(self.geojson_view), name=GEOJSON),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        page = request.resolver_match.url_name if request.resolver_match else None
        return self.changelists.get(page or "") or super().get_changelist(request, **kwargs)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        is_map = request.resolver_match is not None and request.resolver_match.url_name in self.changelists
        return {} if is_map else super().get_actions(request)

    @method_decorator(require_safe)
    def map_view(self, request: HttpRequest) -> HttpResponse:
        """The page: the map, whose script fetches the GeoJSON of the same query, and its devices as a table."""
        page = cast("MapChangeList", self.filtered(request))
        without = places.placeless(page.queryset).order_by(natural("callsign"), "sn")
        named = without.annotate(of=Window(Count("pk"))).values_list("pk", "sn", "callsign", "of")[:LISTED]
        listed = [(Device(pk=pk, sn=sn, callsign=callsign), of) for pk, sn, callsign, of in named]
        count = listed[0][1] if listed else 0
        query = request.GET
        on_licenses = urlencode({ON_LICENSES[name]: value for name, value in query.items() if name in ON_LICENSES})
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Map of the docks"),
            "opts": self.opts,
            "cl": page,
            "media": self.media,
            "actions_on_top": True,  # else the stock page has a style of its own, which our policy forbids
            "looks": list(places.Look),
            "shown_at": page.now_watched.now,
            "placeless": [(device, page_of(device)) for device, _of in listed],
            "placeless_count": count,
            "placeless_others": count - len(listed),
            "geojson": f"{reverse(f'admin:{GEOJSON}')}?{query.urlencode()}",
            "licenses": f"{reverse('admin:licenses_unlocklicense_geojson')}?{on_licenses}",
            "license_page": reverse("admin:licenses_unlocklicense_change", args=[0]),
            "tile_url": settings.MAP_TILE_URL,
            "tile_attribution": settings.MAP_TILE_ATTRIBUTION,
        }
        return TemplateResponse(request, "admin/devices/device/map.html", context)

    @method_decorator(require_safe)
    def geojson_view(self, request: HttpRequest) -> HttpResponse:
        """A FeatureCollection of devices and groups of them, in words of the user's language."""
        # Not the list's own, which adds what its columns show to the rows of a page.
        page = cast("WholeChangeList", self.filtered(request, super().get_changelist_instance))
        try:
            box = places.read_box(request.GET["bbox"]) if request.GET.get("bbox") else places.WORLD
            zoom = places.read_zoom(request.GET["zoom"]) if request.GET.get("zoom") else None
        except ValueError as error:
            raise BadRequest(gettext("bbox must be west,south,east,north in degrees, and zoom 0 to 24.")) from error
        rows = page.queryset
        if zoom is None:
            features: list[dict[str, Any]] = []
            spots = places.each(rows, box=box)
        else:
            features, spots = places.together(rows, box=box, zoom=zoom)
        has_place = Q(x__isnull=False, y__isnull=False)
        counted = rows.order_by().aggregate(
            total=Count("pk", filter=has_place), without=Count("pk", filter=~has_place),
            w=Min("x", filter=has_place), s=Min("y", filter=has_place),
            e=Max("x", filter=has_place), n=Max("y", filter=has_place),
        )  # fmt: skip
        answer = {
            "type": "FeatureCollection",
            "features": [*features, *self._features(request, spots, page.now_watched)],
            "total": counted["total"],
            "placeless": counted["without"],
            "box": [counted[side] for side in "wsen"] if counted["total"] else None,
            "as_of": formats.date_format(timezone.localtime(page.now_watched.now), "H:i:s e"),
        }
        content = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return HttpResponse(content, content_type="application/geo+json")

    def _features(self, request: HttpRequest, spots: list[Spot], now_watched: Watch) -> list[dict[str, Any]]:
        """These devices as Features, with what needs a person there. Four queries."""
        remarks = Prefetch("aircraft_pairings", needs.not_adopted().select_related("aircraft"), to_attr="remarks")
        rows = Device.objects.filter(pk__in=[spot.pk for spot in spots]).prefetch_related(remarks)
        rows = rows.select_related("organization", "site", "gateway", "state").defer("state__properties")
        devices: dict[int, Any] = {device.pk: device for device in rows}
        refused = needs.refusals(devices.values(), restrict(Exchange.objects.all(), request.user), now_watched.now)
        found = []
        for spot in spots:
            if (device := devices.get(spot.pk)) is None:  # deleted since
                continue
            state = getattr(device, "state", None)
            wanted = needs.needs(device, refused.get(device.sn, ()), device.remarks)
            properties = {
                "presence_text": str(now_watched.presence(state).label),
                "seen_text": exact(state.seen) if state is not None and state.seen else "",
                "needs": [{"words": str(need.words), "detail": str(need.detail)} for need in wanted],
                "page": page_of(device),
            }
            found.append(places.feature(spot, device, properties))
        return found
