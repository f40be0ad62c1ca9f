"""The license list as a map and as GeoJSON, with the list's own filters."""

import json
from typing import Any

from django.conf import settings
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, PAGE_VAR
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from devices.models import Device
from devices.presence import watch
from licenses import geography, wording
from licenses.geography import LICENSES
from licenses.models import UnlockLicense
from licenses.wording import Words, pick
from organizations.admin.tenant import TenantAdmin
from organizations.tenancy import restrict

PART = ("offset", "limit")  # which part of the collection
DOCK_BY = {"device__sn": "sn", "device__sn__exact": "sn", "device__id__exact": "pk", "device": "pk"}  # query -> field

TEXTS: dict[str, Words] = {
    "title": ("License map", "解禁证书地图"),
    "licenses": ("Unlock licenses", "解禁证书"),
    "legend": ("Legend", "图例"),
    "types": ("What", "类型"),
    "states": ("State", "状态"),
    "fit": ("Show all", "显示全部"),
    "list": ("Back to the list", "返回列表"),
    "loading": ("Loading …", "正在加载……"),
    "empty": ("No license here.", "没有解禁证书。"),
    "failed": ("The licenses could not be loaded. Load the page again.", "无法加载解禁证书，请刷新页面。"),
    "cut": (
        "The first {shown} of {total} licenses: filter the list to see others.",
        "共 {total} 个解禁证书，仅显示前 {shown} 个；请在列表中筛选以查看其他证书。",
    ),
    "count": ("{shown} licenses", "{shown} 个解禁证书"),
    "more": ("Show more", "显示更多"),
    "radius": ("radius {radius} m", "半径 {radius} 米"),
    "nowhere": ("no place of its own", "无地理范围"),
    "no_outline": ("the map has no outline of it", "地图中没有该轮廓"),
    "window": ("{begin} to {end} UTC", "{begin} 至 {end}（UTC）"),
    "open": ("…", "……"),
    "as_of": ("as of {moment} UTC", "截至 {moment}（UTC）"),
    "stale": ("out of date: read at {moment} UTC", "已过时：读取于 {moment}（UTC）"),
    "never": ("never read from the dock", "尚未从机场读取"),
    "page": ("Open", "打开"),
    "and_more": ("and {count} more", "另有 {count} 个"),
    "no_scripts": ("The map needs JavaScript.", "地图需要 JavaScript。"),
    "dock": ("Dock", "机场"),
    "zoom_in": ("Closer", "放大"),
    "zoom_out": ("Farther", "缩小"),
    "source": ("Outlines: Natural Earth, coarse", "轮廓：Natural Earth（较粗略）"),
}


class MapPages(TenantAdmin):
    """Adds `map/` and `geojson/` below the list; both take the list's query string.

    `?device__sn=DOCK1` is one dock, `?id__in=1,2` some licenses; `offset` and `limit` are the part of the collection.
    """

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("map/", self.admin_site.admin_view(self.map_view), name="licenses_unlocklicense_map"),
            path("geojson/", self.admin_site.admin_view(self.geojson_view), name="licenses_unlocklicense_geojson"),
        ]
        return own + super().get_urls()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return lookup in DOCK_BY or super().lookup_allowed(lookup, value, request)

    @method_decorator(require_safe)
    def geojson_view(self, request: HttpRequest) -> HttpResponse:
        """A FeatureCollection; `next` is the address of the next part, or null."""
        offset, limit = (_whole(request.GET.get(name), name) for name in PART)
        licenses = self._chosen(request)
        found = geography.collection(
            licenses,
            watch=watch(),
            docks=_named_docks(request).select_related("state"),
            offset=offset or 0,
            limit=min(limit or LICENSES, LICENSES),
        )
        after = found.pop("next_offset")
        found["next"] = after and request.build_absolute_uri(f"?{_query(request, offset=after, limit=limit)}")
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return HttpResponse(text, content_type="application/geo+json")

    @method_decorator(require_safe)
    def map_view(self, request: HttpRequest) -> HttpResponse:
        """The page; its script fetches the GeoJSON of the same query."""
        self._chosen(request)  # a query that the list refuses is refused here too
        query = _query(request)
        texts = {name: pick(words) for name, words in TEXTS.items()}
        docks = list(_named_docks(request)[:1])
        context = {
            **self.admin_site.each_context(request),
            "title": f"{texts['title']}: {docks[0]}" if docks else texts["title"],
            "opts": self.opts,
            "texts": texts,
            "texts_json": json.dumps(texts),
            "types": [(kind, wording.type_name(kind)) for kind in wording.PLACED],
            "states": [(state.value, wording.state_name(state)) for state in wording.State],
            "geojson": f"{reverse('admin:licenses_unlocklicense_geojson')}?{query}",
            "list": f"{reverse('admin:licenses_unlocklicense_changelist')}?{query}",
            "license_page": reverse("admin:licenses_unlocklicense_change", args=[0]),
            "dock_page": reverse("admin:devices_device_change", args=[0]),
            "tile_url": settings.MAP_TILE_URL,
            "tile_attribution": settings.MAP_TILE_ATTRIBUTION,
            "language": get_language(),
        }
        return TemplateResponse(request, "admin/licenses/unlocklicense/map.html", context)

    def _chosen(self, request: HttpRequest) -> QuerySet[UnlockLicense]:
        """The licenses that the list shows with this query string, on all of its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        told = request.GET
        request.GET = QueryDict(_query(request))
        try:
            chosen: QuerySet[UnlockLicense] = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters as error:
            raise BadRequest("The license list knows no such filter.") from error
        finally:
            request.GET = told
        return chosen


def _named_docks(request: HttpRequest) -> QuerySet[Device]:
    """The dock that the query string asks for, if the user may see it: it is shown without any license too."""
    asked = Q(pk__in=[])
    for name, field in DOCK_BY.items():
        value = request.GET.get(name, "")
        if value and (field == "sn" or (value.isdecimal() and len(value) < 19)):
            asked |= Q(**{field: value})
    docks: QuerySet[Device] = restrict(Device.objects.filter(asked), request.user)
    return docks


def _whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest(f"{name} is no whole number.")
    return int(text)


def _query(request: HttpRequest, **part: int | None) -> str:
    """The list's query string, with the part of the collection that is wanted."""
    query = request.GET.copy()
    for name in (*PART, PAGE_VAR, ALL_VAR, ERROR_FLAG):
        query.pop(name, None)
    for name, value in part.items():
        if value is not None:
            query[name] = str(value)
    return query.urlencode()
