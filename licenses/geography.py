"""Licenses and docks as GeoJSON (RFC 7946: longitude first, degrees on WGS 84), in words of the active language.

A license without a usable place is a feature whose geometry is null; `problem` says why. GeoJSON has no circles: a
circle is its centre and `radius` in metres. A country is its number, for the reader's own outlines.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal, NamedTuple, TypedDict

from django.db.models import Avg, Count, F, Max, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Floor, Greatest, Least
from django.utils.translation import gettext, gettext_lazy

from devices.grouping.places import WORLD, Box
from devices.models import Device
from devices.presence import Presence, Watch
from licenses import wording
from licenses.models import Inventory, LicenseList, UnlockLicense
from licenses.validity import State, as_of, is_stale, state_of
from licenses.wording import Kind, number

LICENSES = 1000  # in one collection
DEGREE: Final = 111_320.0  # metres, along a meridian
CORNERS = 200_000  # in one collection: it ends early rather than grow without bound
HALF_EARTH: Final = 20_037_508.0  # metres from anywhere to its opposite

Position = tuple[float, float]  # longitude, latitude

_PRESENCES: Final = {
    Presence.ONLINE: gettext_lazy("online"),
    Presence.OFFLINE: gettext_lazy("offline"),
    Presence.UNKNOWN: gettext_lazy("unknown"),
    Presence.NEVER: gettext_lazy("never seen"),
}


class Point(TypedDict):
    """A place: longitude and latitude."""

    type: Literal["Point"]
    coordinates: list[float]


class Polygon(TypedDict):
    """An area: one ring of positions, closed and counterclockwise."""

    type: Literal["Polygon"]
    coordinates: list[list[Position]]


class Feature(TypedDict):
    """A license, whose id is our row's, a dock, or a group of licenses."""

    type: Literal["Feature"]
    id: int | str
    geometry: Point | Polygon | None
    properties: dict[str, object]


class Collection(TypedDict):
    """Features: docks, then licenses from an offset on, of `total` licenses; the rest begins at `next_offset`."""

    type: Literal["FeatureCollection"]
    features: list[Feature]
    total: int
    next_offset: int | None


class Shape(NamedTuple):
    """The geometry of a license, its properties, and what is wrong with it ("" for nothing)."""

    geometry: Point | Polygon | None
    properties: dict[str, object]
    problem: str = ""


def collection(
    licenses: QuerySet[UnlockLicense],
    *,
    watch: Watch,
    docks: Iterable[Device] = (),
    offset: int = 0,
    limit: int = LICENSES,
) -> Collection:
    """The licenses from `offset` on, after the docks that hold them and the `docks` given.

    A constant number of queries.
    """
    total = licenses.count()
    keys = licenses.values("pk")[offset : offset + min(limit, LICENSES)]  # first: what is joined need not be sorted
    rows = licenses.filter(pk__in=keys).select_related(None).select_related("device__state")
    rows = rows.defer("raw", "device__state__properties")
    holders = {dock.pk: dock for dock in docks}
    found: list[tuple[UnlockLicense, Feature]] = []
    corners = 0
    for row in rows.iterator(chunk_size=500):
        holders.setdefault(row.device_id, row.device)
        made = feature(row, now=watch.now)
        found.append((row, made))
        geometry = made["geometry"]
        corners += len(geometry["coordinates"][0]) if geometry and geometry["type"] == "Polygon" else 1
        if corners > CORNERS:
            break
    complete_at = _complete_at(holders)
    for row, made in found:
        moment = as_of(row, complete_at.get((row.device_id, row.device_model_domain)))
        made["properties"] |= {"as_of": _iso(moment), "stale": is_stale(moment, watch.now)}
    end = offset + len(found)
    return {
        "type": "FeatureCollection",
        "features": [*(dock_feature(dock, watch=watch) for dock in holders.values()), *(made for _, made in found)],
        "total": total,
        "next_offset": end if found and end < total else None,
    }


def groups(
    licenses: QuerySet[UnlockLicense], *, watch: Watch, docks: Iterable[Device] = (), box: Box = WORLD, columns: int
) -> Collection:
    """The licenses that have a place in at most `columns` x `columns` groups over the box, after the docks given.

    Each group is a point among its licenses. Two queries.
    """
    west, south, east, north = box
    size = max(east - west, north - south, 1e-6) / columns
    # The centre; of a license that reaches into the box from outside, the nearest place in it.
    x = Least(Greatest((F("west") + F("east")) / 2, west), east)
    y = Least(Greatest((F("south") + F("north")) / 2, south), north)
    cells = (
        licenses.order_by().exclude(west=None).values(column=Floor((x - west) / size), row=Floor((y - south) / size))
    )
    counted = cells.annotate(
        count=Count("pk"), x=Avg(x), y=Avg(y), w=Min("west"), s=Min("south"), e=Max("east"), n=Max("north")
    )
    features: list[Feature] = [dock_feature(dock, watch=watch) for dock in docks]
    for group in counted:
        # In the middle third of its cell, so that no two groups cover each other.
        left, bottom = west + (group["column"] + 1 / 3) * size, south + (group["row"] + 1 / 3) * size
        place = [min(max(group["x"], left), left + size / 3), min(max(group["y"], bottom), bottom + size / 3)]
        features.append(
            {
                "type": "Feature",
                "id": f"group-{group['column']:.0f}-{group['row']:.0f}",
                "geometry": {"type": "Point", "coordinates": [round(degrees, 9) for degrees in place]},
                "properties": {
                    "kind": "group",
                    "count": group["count"],
                    "box": [group["w"], group["s"], group["e"], group["n"]],
                },
            }
        )
    return {"type": "FeatureCollection", "features": features, "total": licenses.count(), "next_offset": None}


def _complete_at(docks: Iterable[int]) -> dict[tuple[int, int], datetime | None]:
    """When the latest complete list of each inventory of these docks (keys) was read, by dock and domain; one query."""
    complete = LicenseList.objects.filter(device=OuterRef("pk"), applied=True, complete=True)
    lists = complete.order_by("-asked_at").values("fetched_at")
    latest = {f"domain_{domain}": Subquery(lists.filter(device_model_domain=domain)[:1]) for domain in Inventory}
    rows = Device.objects.filter(pk__in=docks).order_by().annotate(**latest).values_list("pk", *latest)
    return {(pk, domain): moment for pk, *moments in rows for domain, moment in zip(Inventory, moments, strict=True)}


def feature(license_: UnlockLicense, *, now: datetime, in_both: bool = False) -> Feature:
    """One license as a Feature; `in_both`: the aircraft has it too, so the dock's row must not say "not imported"."""
    state = state_of(license_, now)
    inventory_text = wording.inventory_name(license_.device_model_domain)
    shape = shape_of(license_)
    height = license_.details.get("height") if isinstance(license_.details, dict) else None
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
            "type_text": wording.type_name(license_.type),
            "state": state.value,
            "state_text": inventory_text if in_both and state == State.APPROVED else str(state.label),
            "enabled": license_.enabled,
            "user_only": license_.user_only,
            "begin_time": _iso(license_.begin_time),
            "end_time": _iso(license_.end_time),
            "sn": license_.device.sn,
            "callsign": license_.device.callsign,
            "device_sn": license_.device_sn,
            "inventory": license_.device_model_domain,
            "inventory_text": inventory_text,
            "description": wording.describe(license_),
            "height": wording.usable_height(height),
            "height_text": wording.height_limit(height),
            **shape.properties,
            "problem": shape.problem,
        },
    }


def dock_feature(device: Device, *, watch: Watch) -> Feature:
    """A dock as a Feature, a point if its telemetry says where it is."""
    state = getattr(device, "state", None)
    point = _position(state.longitude, state.latitude) if state is not None else None
    presence = watch.presence(state)
    return {
        "type": "Feature",
        "id": f"dock-{device.pk}",
        "geometry": {"type": "Point", "coordinates": list(point)} if point else None,
        "properties": {
            "kind": "dock",
            "sn": device.sn,
            "callsign": device.callsign,
            "product": device.model_name,
            "presence": presence.value,
            "presence_text": str(_PRESENCES[presence]),
            "problem": "" if point else gettext("The dock has not reported its position."),
        },
    }


# --- shapes ------------------------------------------------------------------------------------------


def shape_of(license_: UnlockLicense) -> Shape:
    """Where a license holds; its `details` may be any JSON that a dock sent."""
    details = license_.details if isinstance(license_.details, dict) else {}
    match license_.type:
        case Kind.CIRCLE:
            return _circle(details)
        case Kind.POLYGON:
            return _polygon(details.get("points"))
        case Kind.COUNTRY:
            given = details.get("country_number")
            country = wording.country_number(given)
            if country is None:
                problem = gettext("Not a country number: {number}.").format(number=wording.raw(given))
                return Shape(None, {"country": None}, problem)
            return Shape(None, {"country": country, "country_text": wording.country_name(country)})
        case Kind.AREA:
            ids = details.get("area_ids")
            zones = [one if type(one) is int else wording.raw(one) for one in ids] if isinstance(ids, list) else []
            return Shape(None, {"area_ids": zones})
        case Kind.RID:
            level = number(details.get("level"))
            return Shape(None, {"level": int(level) if level is not None and level.is_integer() else None})
        case _:
            return Shape(None, {})


def box_of(license_: UnlockLicense) -> Box | tuple[None, None, None, None]:
    """The box around its place, for the columns of these names; None without a place."""
    geometry, properties, _ = shape_of(license_)
    if geometry is None:
        return None, None, None, None
    if geometry["type"] == "Point":
        x, y = geometry["coordinates"]
        height = (number(properties["radius"]) or 0.0) / DEGREE
        width = min(height / max(math.cos(math.radians(y)), 0.001), 180.0)
        return x - width, y - height, x + width, y + height
    xs, ys = zip(*geometry["coordinates"][0], strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _circle(details: Mapping[str, object]) -> Shape:
    longitude, latitude = details.get("longitude"), details.get("latitude")
    point = _position(longitude, latitude)
    if point is None:
        return Shape(None, {"radius": None}, _no_place(longitude, latitude))
    geometry: Point = {"type": "Point", "coordinates": list(point)}
    radius = number(details.get("radius"))
    if radius is None or not 0 <= radius <= HALF_EARTH:
        problem = gettext("Invalid radius: {radius}.").format(radius=wording.raw(details.get("radius")))
        return Shape(geometry, {"radius": None}, problem)
    return Shape(geometry, {"radius": int(radius) if radius.is_integer() else radius})


def _polygon(corners: object) -> Shape:
    ring: list[Position] = []
    for place, corner in enumerate(corners if isinstance(corners, list) else [], start=1):
        corner = corner if isinstance(corner, dict) else {}
        longitude, latitude = corner.get("longitude"), corner.get("latitude")
        position = _position(longitude, latitude)
        if position is None:
            why = _no_place(longitude, latitude)
            return Shape(None, {}, gettext("Corner {place}: {why}").format(place=place, why=why))
        if not ring or ring[-1] != position:
            ring.append(position)
    if len(ring) > 1 and ring[0] == ring[-1]:
        ring.pop()
    if (count := len(set(ring))) < 3:
        problem = gettext("A polygon needs at least three corners, this one has {count}.")
        return Shape(None, {}, problem.format(count=count))
    closed = _closed(ring)
    if closed is None:
        return Shape(None, {}, gettext("The polygon goes around a pole."))
    crosses = max(x for x, _ in closed) > 180
    geometry: Polygon = {"type": "Polygon", "coordinates": [closed]}
    return Shape(geometry, {"crosses_antimeridian": True} if crosses else {})


def _closed(ring: Sequence[Position]) -> list[Position] | None:
    """The ring with its first corner at its end, too, counterclockwise (RFC 7946, 3.1.6).

    Each edge goes the shorter way. Beyond 180 degrees longitudes run on; the westernmost is in [-180, 180). None for a
    ring around a pole, which ends 360 degrees from where it began.
    """
    closed = [ring[0]]
    for x, y in [*ring[1:], ring[0]]:
        closed.append((x + 360 * round((closed[-1][0] - x) / 360), y))
    if closed[-1] != closed[0]:
        return None
    shift = 360 * math.floor((min(x for x, _ in closed) + 180) / 360)
    closed = [(round(x - shift, 9), y) for x, y in closed]
    doubled_area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(closed))
    return closed if doubled_area >= 0 else closed[::-1]


# --- values ------------------------------------------------------------------------------------------


def _position(longitude: object, latitude: object) -> Position | None:
    """The two as degrees; None if they are not."""
    x, y = number(longitude), number(latitude)
    if x is None or y is None or abs(x) > 180 or abs(y) > 90:
        return None
    return round(x, 9), round(y, 9)  # a tenth of a millimetre


def _no_place(longitude: object, latitude: object) -> str:
    place = f"{wording.raw(latitude)}, {wording.raw(longitude)}"
    return gettext("Invalid coordinates: {place}.").format(place=place)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
