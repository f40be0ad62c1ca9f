"""Licenses and docks as GeoJSON (RFC 7946: longitude first, degrees on WGS 84).

What has no place, or an unusable one, is a feature with the geometry null; `problem` says why. GeoJSON knows no
circle: one is its centre and `radius` in metres. A country is its number, for the outline that the reader has.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery

from devices.models import Device
from devices.presence import Presence, Watch
from licenses import wording
from licenses.countries import country_name
from licenses.models import Inventory, LicenseList, UnlockLicense
from licenses.wording import country_number, number, pick

LICENSES = 10_000  # in one collection
CORNERS = 200_000  # in one collection: it ends early rather than grow without bound
HALF_EARTH = 20_037_508.0  # metres from anywhere to its opposite

Ring = list[tuple[float, float]]  # longitude, latitude; not closed
Json = dict[str, Any]

_PRESENCES = {
    Presence.ONLINE: ("online", "在线"),
    Presence.OFFLINE: ("offline", "离线"),
    Presence.UNKNOWN: ("unknown", "未知"),
    Presence.NEVER: ("never seen", "从未上线"),
}


class Shape(NamedTuple):
    """The geometry of a license, what goes beside it into the properties, and what is wrong with it."""

    geometry: Json | None
    properties: Json
    problem: str = ""


def collection(
    licenses: QuerySet[UnlockLicense],
    *,
    watch: Watch,
    docks: Iterable[Device] = (),
    offset: int = 0,
    limit: int = LICENSES,
    language: str | None = None,
) -> Json:
    """A FeatureCollection of licenses from `offset` on, after the docks that hold them and those given.

    `total` licenses there are; `next_offset` is where the rest begins, or null. A constant number of queries.
    """
    total = licenses.count()
    language = wording.chosen(language)  # asking for the active one costs more than all else here
    found: list[tuple[UnlockLicense, Json]] = []
    corners = 0
    rows = licenses.select_related("device__state").defer("raw")[offset : offset + min(limit, LICENSES)]
    for license_ in rows.iterator(chunk_size=500):
        made = feature(license_, now=watch.now, language=language)
        found.append((license_, made))
        corners += _corners(made)
        if corners > CORNERS:
            break
    holders = {dock.pk: dock for dock in [*docks, *(license_.device for license_, _ in found)]}
    _tell_age(found, _fetched(holders), watch.now)
    end = offset + len(found)
    return {
        "type": "FeatureCollection",
        "features": [
            *(dock_feature(dock, watch=watch, language=language) for dock in holders.values()),
            *(made for _, made in found),
        ],
        "total": total,
        "next_offset": end if found and end < total else None,
    }


def feature(license_: UnlockLicense, *, now: datetime, language: str | None = None, in_both: bool = False) -> Json:
    """One license as a Feature; its id is our row's.

    Of a license `in_both` inventories the aircraft's row tells whether it is imported.
    """
    language = wording.chosen(language)
    state = wording.standing(license_, now)
    inventory_text = wording.inventory_name(license_.device_model_domain, language)
    state_text = wording.state_name(state, language)
    shape = shape_of(license_, language)
    return {
        "type": "Feature",
        "id": license_.pk,
        "geometry": shape.geometry,
        "properties": {
            "kind": "license",
            "license_id": license_.license_id,
            "label": str(license_.license_id),  # JavaScript rounds large numbers
            "name": license_.name,
            "type": license_.type,
            "type_text": wording.type_name(license_.type, language),
            "state": state.value,
            "state_text": inventory_text if in_both and state == wording.State.APPROVED else state_text,
            "enabled": license_.enabled,
            "user_only": license_.user_only,
            "begin_time": _iso(license_.begin_time),
            "end_time": _iso(license_.end_time),
            "sn": license_.device.sn,
            "callsign": license_.device.callsign,
            "device_sn": license_.device_sn,
            "inventory": license_.device_model_domain,
            "inventory_text": inventory_text,
            "description": wording.describe(license_, language),
            **_height(license_, language),
            **shape.properties,
            "problem": shape.problem,
        },
    }


def dock_feature(device: Device, *, watch: Watch, language: str | None = None) -> Json:
    """A dock as a Feature, a point if its telemetry told where it is."""
    state = getattr(device, "state", None)
    point = _point(state.longitude, state.latitude) if state is not None else None
    presence = watch.presence(state)
    return {
        "type": "Feature",
        "id": f"dock-{device.pk}",
        "geometry": point and {"type": "Point", "coordinates": list(point)},
        "properties": {
            "kind": "dock",
            "sn": device.sn,
            "callsign": device.callsign,
            "product": device.model_name,
            "presence": presence.value,
            "presence_text": pick(_PRESENCES[presence], language),
            "problem": "" if point else pick(("The dock has not told where it is.", "机场尚未上报位置。"), language),
        },
    }


# --- shapes ------------------------------------------------------------------------------------------


def shape_of(license_: UnlockLicense, language: str | None = None) -> Shape:
    """Where a license holds, of any JSON that a dock may have sent."""
    details = license_.details if isinstance(license_.details, dict) else {}
    match license_.type:
        case wording.CIRCLE:
            return _circle(details, language)
        case wording.POLYGON:
            return _polygon(details, language)
        case wording.COUNTRY:
            return _country(details, language)
        case wording.AREA:
            ids = details.get("area_ids")
            return Shape(None, {"area_ids": [_area(one) for one in ids] if isinstance(ids, list) else []})
        case wording.RID:
            level = number(details.get("level"))
            return Shape(None, {"level": int(level) if level is not None and level.is_integer() else None})
        case _:
            return Shape(None, {})


def _circle(details: Json, language: str | None) -> Shape:
    longitude, latitude = details.get("longitude"), details.get("latitude")
    point = _point(longitude, latitude)
    if point is None:
        return Shape(None, {"radius": None}, _no_point(longitude, latitude, language))
    geometry = {"type": "Point", "coordinates": list(point)}
    radius = number(details.get("radius"))
    if radius is None or not 0 <= radius <= HALF_EARTH:
        told = wording.raw(details.get("radius"), language)
        problem = pick((f"The radius cannot be used: {told}.", f"半径无法使用：{told}。"), language)
        return Shape(geometry, {"radius": None}, problem)
    return Shape(geometry, {"radius": int(radius) if radius.is_integer() else radius})


def _polygon(details: Json, language: str | None) -> Shape:
    told = details.get("points")
    ring: Ring = []
    for place, corner in enumerate(told if isinstance(told, list) else [], start=1):
        corner = corner if isinstance(corner, dict) else {}
        point = _point(corner.get("longitude"), corner.get("latitude"))
        if point is None:
            why = _no_point(corner.get("longitude"), corner.get("latitude"), language)
            return Shape(None, {}, pick((f"Corner {place}: {why}", f"第 {place} 个顶点：{why}"), language))
        if not ring or ring[-1] != point:
            ring.append(point)
    if len(ring) > 1 and ring[0] == ring[-1]:
        ring.pop()
    if len(set(ring)) < 3:
        count = len(set(ring))
        words = (f"A polygon needs three corners, this has {count}.", f"多边形至少需要三个顶点，此处只有 {count} 个。")
        return Shape(None, {}, pick(words, language))
    geometry = polygon(ring)
    if geometry is None:
        return Shape(
            None,
            {},
            pick(
                ("The polygon goes around a pole, or encloses nothing.", "多边形环绕极点，或不包含任何区域。"), language
            ),
        )
    return Shape(geometry, {"crosses_antimeridian": True} if geometry["type"] == "MultiPolygon" else {})


def _country(details: Json, language: str | None) -> Shape:
    told = details.get("country_number")
    country = country_number(told)
    if country is None:
        why = wording.raw(told, language)
        problem = pick((f"This is no country's number: {why}.", f"国家/地区代码无效：{why}。"), language)
        return Shape(None, {"country": None}, problem)
    return Shape(None, {"country": country, "country_text": country_name(country, wording.chosen(language))})


def polygon(ring: Ring) -> Json | None:
    """A ring as a Polygon, or cut at the antimeridian as a MultiPolygon; None around a pole or around nothing.

    Rings are closed and run counterclockwise (RFC 7946, 3.1.6); the shorter way between two corners is meant.
    """
    unrolled = _unroll(ring)
    if unrolled is None:
        return None
    longitudes = [x for x, _ in unrolled]
    if min(longitudes) >= -180 and max(longitudes) <= 180:
        return {"type": "Polygon", "coordinates": [_closed(unrolled)]}
    turns = range(_turn(min(longitudes)), _turn(max(longitudes)) + 1)
    parts = [part for part in (_part(unrolled, turn) for turn in turns) if _is_area(part)]
    return {"type": "MultiPolygon", "coordinates": [[_closed(part)] for part in parts]} if parts else None


def _is_area(ring: Ring) -> bool:
    """Whether it is more than what a cut leaves along the edge."""
    return len(set(ring)) > 2 and len({x for x, _ in ring}) > 1


def _turn(longitude: float) -> int:
    """Which turn around the Earth a longitude lies in; 0 is -180 to 180."""
    return int((longitude + 180) // 360)


def _part(ring: Ring, turn: int) -> Ring:
    """What of an unrolled ring lies in one turn, with the longitudes that it has in turn 0."""
    west, east = 360 * turn - 180, 360 * turn + 180
    cut = _clip(_clip(ring, west, keep_west=False), east, keep_west=True)
    return [(round(x - 360 * turn, 9), y) for x, y in cut]


def _unroll(ring: Ring) -> Ring | None:
    """The ring with longitudes that do not jump by more than half a turn; None if it does not end where it began."""
    unrolled = [ring[0]]
    for x, y in [*ring[1:], ring[0]]:
        before = unrolled[-1][0]
        turns = round((before - x) / 360)
        unrolled.append((x + 360 * turns if turns else x, y))
    last = unrolled.pop()
    return unrolled if abs(last[0] - ring[0][0]) < 1 else None


def _clip(ring: Ring, edge: float, *, keep_west: bool) -> Ring:
    """The part of a ring on one side of a meridian (Sutherland and Hodgman)."""

    def is_in(x: float) -> bool:
        return x <= edge if keep_west else x >= edge

    kept: Ring = []
    if not ring:
        return kept
    for (x1, y1), (x2, y2) in zip([ring[-1], *ring[:-1]], ring, strict=True):
        if is_in(x1) != is_in(x2):
            kept.append((edge, y1 + (y2 - y1) * (edge - x1) / (x2 - x1)))
        if is_in(x2):
            kept.append((x2, y2))
    return kept


def _closed(ring: Ring) -> list[list[float]]:
    doubled = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip([ring[-1], *ring[:-1]], ring, strict=True))
    ordered = ring if doubled >= 0 else ring[::-1]
    return [list(point) for point in [*ordered, ordered[0]]]


# --- values ------------------------------------------------------------------------------------------


def _point(longitude: Any, latitude: Any) -> tuple[float, float] | None:
    """Degrees, if they are some."""
    x, y = number(longitude), number(latitude)
    if x is None or y is None or abs(x) > 180 or abs(y) > 90:
        return None
    return round(x, 9), round(y, 9)  # a tenth of a millimetre


def _no_point(longitude: Any, latitude: Any, language: str | None) -> str:
    place = f"{wording.raw(latitude, language)}, {wording.raw(longitude, language)}"
    return pick((f"No place on Earth: {place}.", f"坐标无效：{place}。"), language)


def _height(license_: UnlockLicense, language: str | None) -> Json:
    details = license_.details if isinstance(license_.details, dict) else {}
    metres = number(details.get("height"))
    usable = metres is not None and 0 <= metres <= wording.MAX_HEIGHT
    return {
        "height": metres if usable else None,
        "height_text": wording.height_limit(details.get("height"), language),
    }


def _area(value: Any) -> int | str:
    return value if isinstance(value, int) and not isinstance(value, bool) else wording.raw(value, "en")


def _corners(made: Json) -> int:
    geometry = made["geometry"]
    if geometry is None or geometry["type"] == "Point":
        return 1
    rings = geometry["coordinates"]
    return sum(len(ring) for ring in rings) if geometry["type"] == "Polygon" else sum(len(one[0]) for one in rings)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


# --- how old it is -----------------------------------------------------------------------------------


def _fetched(docks: Iterable[int]) -> dict[tuple[int, int], datetime]:
    """When the list that counts was read, by dock and inventory."""

    def latest(domain: Inventory) -> Subquery:
        lists = LicenseList.objects.filter(device=OuterRef("pk"), device_model_domain=domain, applied=True)
        return Subquery(lists.order_by("-asked_at").values("fetched_at")[:1])

    rows = Device.objects.filter(pk__in=list(docks)).values_list(
        "pk", latest(Inventory.AIRCRAFT), latest(Inventory.DOCK)
    )
    return {
        (pk, domain): moment
        for pk, *moments in rows
        for domain, moment in zip((Inventory.AIRCRAFT, Inventory.DOCK), moments, strict=True)
        if moment is not None
    }


def _tell_age(
    found: Iterable[tuple[UnlockLicense, Json]], fetched: Mapping[tuple[int, int], datetime], now: datetime
) -> None:
    """Add to each license when its list was read and whether that is too long ago to be called current."""
    limit = now - timedelta(hours=settings.LICENSE_STALE_HOURS)
    for license_, made in found:
        moment = fetched.get((license_.device_id, license_.device_model_domain))
        made["properties"] |= {"as_of": _iso(moment), "stale": moment is None or moment < limit}
