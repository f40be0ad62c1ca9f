"""Where devices are, as GeoJSON for a map of the fleet: each by itself, or near ones together with the worst of them.

A device is where it reported to be last, else at its site. Degrees on WGS 84, longitude first (RFC 7946).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from django.db.models import Avg, Case, Count, F, IntegerChoices, IntegerField, Max, Min, Q, QuerySet, When
from django.db.models.functions import Coalesce, Floor
from django.utils.translation import gettext_lazy as _

from devices.models import Device, DeviceQuerySet
from devices.presence import Presence, Watch
from mqtt_bridge.database.natural_sort import natural

AWAY: Final = 0.001  # degrees, about 100 m: farther off, an aircraft is not in its dock
SPACING: Final = 64  # pixels from group to group
TOO_NEAR: Final = 0.6  # of that
TILE: Final = 256  # pixels that show the whole world at zoom 0
MOST_COLUMNS: Final = 64  # of groups in a box, whatever the zoom
CLOSEST: Final = 24  # zoom
MOST_EACH: Final = 200  # devices that are asked for by themselves
FARTHEST: Final = 1000.0  # degrees of longitude: the map can be turned round

Cell = tuple[int, int]  # column and row of a grid
Part = dict[str, Any]  # the devices of a cell that look the same, as the database counted them
Box = tuple[float, float, float, float]  # west, south, east, north
WORLD: Final[Box] = (-180.0, -90.0, 180.0, 90.0)


class Look(IntegerChoices):
    """How a device looks on the map, the worst first."""

    ATTENTION = 0, _("needs attention")
    OFFLINE = 1, _("offline")
    UNKNOWN = 2, _("unknown")
    NEVER = 3, _("never seen")
    ONLINE = 4, _("online")

    @property
    def word(self) -> str:
        """As programs and style sheets call it."""
        return self.name.lower()


class Spot(NamedTuple):
    """A device on the map: its key, its place, and how it looks."""

    pk: int
    x: float
    y: float
    look: Look


def read_box(text: str) -> Box:
    """A box from "west,south,east,north"; raises ValueError."""
    west, south, east, north = map(float, text.split(","))
    if not -FARTHEST <= west <= east <= FARTHEST or not -90 <= south <= north <= 90:
        raise ValueError(text)
    return west, south, east, north


def read_zoom(text: str) -> float:
    """A zoom, of which each step makes the world twice as large; raises ValueError."""
    zoom = float(text)
    if not 0 <= zoom <= CLOSEST:
        raise ValueError(text)
    return zoom


def located(devices: DeviceQuerySet, *, watch: Watch, needing: QuerySet[Device] | None) -> QuerySet[Any]:
    """Docks, and aircraft that are not in their dock, with their place (`x`, `y`; None without one) and their `look`.

    `needing` are the devices that need attention; None: these all do.
    """
    near = {
        f"gateway__state__{name}__range": (F(f"state__{name}") - AWAY, F(f"state__{name}") + AWAY)
        for name in ("latitude", "longitude")
    }
    is_home = Q(**near) & (Q(gateway__organization=F("organization")) | Q(organization=None))
    away = devices.aircraft().filter(~is_home, state__latitude__isnull=False)
    attention = ~Q(pk__in=[]) if needing is None else Q(pk__in=needing.order_by().values("pk"))
    looks = (
        (Look.ATTENTION, attention),
        (Look.OFFLINE, watch.matching(Presence.OFFLINE)),
        (Look.UNKNOWN, watch.matching(Presence.UNKNOWN)),
        (Look.ONLINE, watch.matching(Presence.ONLINE)),
    )
    return (devices.docks() | away).annotate(
        x=Coalesce("state__longitude", "site__longitude"),
        y=Coalesce("state__latitude", "site__latitude"),
        look=Case(
            *(When(condition, then=look.value) for look, condition in looks),
            default=Look.NEVER.value,
            output_field=IntegerField(),
        ),
    )


def placeless(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those of `located` that no map can show."""
    return rows.filter(Q(x=None) | Q(y=None))


def inside(rows: QuerySet[Any], box: Box) -> QuerySet[Any]:
    """Those of `located` in this box; `lon` is their longitude in its turn of the world."""
    west, south, east, north = box
    turned = Case(When(x__lt=west, then=F("x") + 360), When(x__gt=east, then=F("x") - 360), default=F("x"))
    found: QuerySet[Any] = rows.annotate(lon=turned)
    return found.filter(lon__gte=west, lon__lte=east, y__gte=south, y__lte=north)


def each(rows: QuerySet[Any], *, box: Box) -> list[Spot]:
    """The worst of `located` in this box, MOST_EACH at most. One query."""
    found = inside(rows, box).order_by("look", natural("callsign"), "sn").values_list("pk", "lon", "y", "look")
    return [Spot(pk, x, y, Look(look)) for pk, x, y, look in found[:MOST_EACH]]


def together(rows: QuerySet[Any], *, box: Box, zoom: float) -> tuple[list[dict[str, Any]], list[Spot]]:
    """Those of `located` in this box: near ones as Features with their number, and all that have none near. One query.

    Near are those in one cell of a grid, which stays where it is when the map moves, and those beside its border.
    """
    west, south, east, north = box
    size = max(360 * SPACING / (TILE * 2**zoom), max(east - west, north - south) / MOST_COLUMNS)
    cells = inside(rows, box).order_by().values("look", column=Floor(F("lon") / size), row=Floor(F("y") / size))
    counted = cells.annotate(
        count=Count("pk"), one=Min("pk"), mean_x=Avg("lon"), mean_y=Avg("y"),
        w=Min("lon"), s=Min("y"), e=Max("lon"), n=Max("y"),
    )  # fmt: skip
    by_cell = defaultdict(list)
    for part in counted:
        by_cell[int(part["column"]), int(part["row"])].append(part)
    features, alone = [], []
    for cell, place, parts in _apart(by_cell, size):
        [first, *others] = parts
        if first["count"] == 1 and not others:
            alone.append(Spot(first["one"], first["w"], first["s"], Look(first["look"])))
        else:
            features.append(_group(cell, place, parts))
    return features, alone


def _apart(by_cell: Mapping[Cell, list[Part]], size: float) -> Iterator[tuple[Cell, tuple[float, float], list[Part]]]:
    """Each cell with the middle of its devices; those too near it across the border of its cell join it."""
    counts = {cell: sum(part["count"] for part in parts) for cell, parts in by_cell.items()}
    places = {
        cell: (
            sum(part["mean_x"] * part["count"] for part in parts) / counts[cell],
            sum(part["mean_y"] * part["count"] for part in parts) / counts[cell],
        )
        for cell, parts in by_cell.items()
    }
    left = dict(by_cell)
    for cell in sorted(by_cell, key=lambda cell: (-counts[cell], cell)):
        if cell not in left:
            continue
        parts, (x, y) = left.pop(cell), places[cell]
        for other in ((cell[0] + right, cell[1] + up) for right in (-1, 0, 1) for up in (-1, 0, 1)):
            if other in left and max(abs(places[other][0] - x), abs(places[other][1] - y)) < TOO_NEAR * size:
                parts = parts + left.pop(other)
        yield cell, (x, y), parts


def _group(cell: Cell, place: tuple[float, float], parts: list[Part]) -> dict[str, Any]:
    looks: Counter[Look] = Counter()
    for part in parts:
        looks[Look(part["look"])] += part["count"]
    worst = min(looks)
    return {
        "type": "Feature",
        "id": f"group-{cell[0]}-{cell[1]}",
        "geometry": {"type": "Point", "coordinates": [round(degrees, 9) for degrees in place]},
        "properties": {
            "kind": "group",
            "count": looks.total(),
            "state": worst.word,
            "state_text": str(worst.label),
            "states": {look.word: looks[look] for look in sorted(looks)},
            "box": [
                min(part["w"] for part in parts), min(part["s"] for part in parts),
                max(part["e"] for part in parts), max(part["n"] for part in parts),
            ],
        },
    }  # fmt: skip


def feature(spot: Spot, device: Device, properties: Mapping[str, object]) -> dict[str, Any]:
    """A device as a Feature with these properties beside its own."""
    state = getattr(device, "state", None)
    return {
        "type": "Feature",
        "id": f"device-{device.pk}",
        "geometry": {"type": "Point", "coordinates": [spot.x, spot.y]},
        "properties": {
            "kind": "device",
            "sn": device.sn,
            "callsign": device.callsign,
            "is_aircraft": device.is_aircraft,
            "product": device.model_name,
            "organization": device.organization.name if device.organization else None,
            "site": device.site_name,
            "state": spot.look.word,
            "state_text": str(spot.look.label),
            "reported": state is not None and state.latitude is not None,
            **properties,
        },
    }
