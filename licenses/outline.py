"""Makes the map's world outline: a small GeoJSON of countries out of the TopoJSON of the "world-atlas" package.

    python -m licenses.outline countries-50m.json static/licenses/world.json

TopoJSON keeps a border that two countries share once, as an arc: thinned there, it stays shared.
"""

import json
import sys
from itertools import accumulate, chain, groupby, pairwise
from pathlib import Path
from typing import Any

TOLERANCE = 0.11  # degrees that a border may move
SMALLEST = 0.2  # square degrees; a country keeps its largest part, however small
DECIMALS = 2

Point = tuple[float, float]


def outline(topology: dict[str, Any]) -> dict[str, object]:
    """A FeatureCollection; the id of a country is its ISO 3166-1 number without leading zeros, if it has a number."""
    (step_x, step_y), (left, bottom) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:  # in whole steps from point to point
        steps = accumulate(arc, lambda at, step: (at[0] + step[0], at[1] + step[1]))
        points = _thin([(left + x * step_x, bottom + y * step_y) for x, y in steps])
        arcs.append([(round(x, DECIMALS), round(y, DECIMALS)) for x, y in points])
    arcs += [arc[::-1] for arc in reversed(arcs)]  # so that arcs[~n] is arc n backwards
    features = []
    for country in topology["objects"]["countries"]["geometries"]:
        parts = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        rings = [
            [[point for point, _ in groupby(chain.from_iterable(arcs[number] for number in ring))] for ring in part]
            for part in parts
        ]
        features.append(
            {
                "type": "Feature",
                **({"id": int(country["id"])} if "id" in country else {}),
                "properties": {"name": country["properties"]["name"]},
                "geometry": {
                    "type": "MultiPolygon",
                    "coordinates": _worth_drawing([half for part in rings for half in halves(part)]),
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _thin(points: list[Point]) -> list[Point]:
    """Ramer's and Douglas and Peucker's algorithm; a closed arc keeps its farthest point as a second end."""
    if points[0] == points[-1] and len(points) > 3:
        far = max(range(len(points)), key=lambda place: _distance(points[place], points[0], points[0]))
        if not far:
            return points[:1]
        return _thin(points[: far + 1]) + _thin(points[far:])[1:]
    kept = {0, len(points) - 1}
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        far = max(range(first + 1, last), key=lambda place: _distance(points[place], points[first], points[last]))
        if _distance(points[far], points[first], points[last]) > TOLERANCE:
            kept.add(far)
            spans += [(first, far), (far, last)]
    return [points[place] for place in sorted(kept)]


def halves(part: list[list[Point]]) -> list[list[list[Point]]]:
    """A polygon across 180 degrees as one on each side (RFC 7946, 3.1.9); else a line is drawn around the world."""
    if all(abs(x2 - x1) <= 180 for (x1, _), (x2, _) in pairwise(part[0])):
        return [part]
    turned = [[(x + 360 if x < 0 else x, y) for x, y in ring] for ring in part]
    west = [_clipped([(360 - x, y) for x, y in ring]) for ring in turned]  # mirrored: west of the line, too
    return [
        [ring for ring in map(_clipped, turned) if ring],
        [[(round(-x, DECIMALS), y) for x, y in ring] for ring in west if ring],
    ]


def _clipped(ring: list[Point]) -> list[Point]:
    """What of it is west of 180 degrees; nothing may be left."""
    kept = []
    for (x1, y1), (x2, y2) in pairwise(ring):
        if x1 <= 180:
            kept.append((x1, y1))
        if (x1 - 180) * (x2 - 180) < 0:
            kept.append((180.0, round(y1 + (y2 - y1) * (180 - x1) / (x2 - x1), DECIMALS)))
    return [*kept, kept[0]] if kept else []


def _distance(point: Point, start: Point, end: Point) -> float:
    """From a point to a stretch, in degrees."""
    (x, y), (x1, y1), (x2, y2) = point, start, end
    dx, dy = x2 - x1, y2 - y1
    length = dx * dx + dy * dy
    along = max(0.0, min(1.0, ((x - x1) * dx + (y - y1) * dy) / length)) if length else 0.0
    return float(((x - x1 - along * dx) ** 2 + (y - y1 - along * dy) ** 2) ** 0.5)


def _worth_drawing(parts: list[list[list[Point]]]) -> list[list[list[Point]]]:
    largest = max(parts, key=lambda part: abs(_area(part[0])))
    kept = []
    for part in parts:
        outer, *holes = part
        if part is not largest and abs(_area(outer)) < SMALLEST:
            continue
        if len(outer) < 4:  # thinning left nothing of it: a square of a few kilometres
            x, y = outer[0]
            corners = ((0, 0), (0.03, 0), (0.03, 0.03), (0, 0.03), (0, 0))
            outer = [(round(x + dx, DECIMALS), round(y + dy, DECIMALS)) for dx, dy in corners]
        kept.append([_turned(outer, -1), *(_turned(hole, 1) for hole in holes if abs(_area(hole)) >= SMALLEST)])
    return kept


def _turned(ring: list[Point], clockwise: int) -> list[Point]:
    """Outer rings counterclockwise (-1), holes clockwise (1): RFC 7946."""
    return ring[::-1] if _area(ring) * clockwise > 0 else ring


def _area(ring: list[Point]) -> float:
    """In square degrees, positive counterclockwise."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    text = json.dumps(outline(json.loads(source.read_text())), ensure_ascii=False, separators=(",", ":"))
    target.write_text(text + "\n")
