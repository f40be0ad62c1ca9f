"""The world's outline: what is vendored, and how it is made."""

import json
from itertools import pairwise

from licenses.outline import halves, outline
from licenses.wording import country_name
from tests.stack import ROOT

FILE = ROOT / "static/licenses/outline/world.json"
# Two squares that share a border; the left one runs clockwise, the right one has a hole too small to draw.
TOPOLOGY = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.5], "translate": [10, 20]},
    "arcs": [
        [[4, 0], [0, 2], [0, 2]],  # the border, upwards
        [[4, 4], [-4, 0], [0, -4], [4, 0]],
        [[4, 4], [4, 0], [0, -4], [-4, 0]],
        [[5, 1], [0, 0], [0, 0], [0, 0]],
    ],
    "objects": {
        "countries": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "id": "036", "properties": {"name": "Left"}, "arcs": [[0, 1]]},
                {"type": "MultiPolygon", "properties": {"name": "Right"}, "arcs": [[[0, 2], [3]]]},
            ],
        }
    },
}


def area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2


def test_topology_becomes_features():
    left, right = outline(TOPOLOGY)["features"]
    assert (left["id"], left["properties"]) == (36, {"name": "Left"})
    assert "id" not in right
    for country in (left, right):
        [[ring]] = country["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert area(ring) == 4
    assert {(12.0, 20.0), (12.0, 22.0)} <= set(left["geometry"]["coordinates"][0][0])
    assert len(left["geometry"]["coordinates"][0][0]) == 5  # the border's middle is gone


def test_a_country_across_the_antimeridian_has_a_part_on_each_side():
    ring = [(178.0, 60.0), (-179.0, 60.0), (-179.0, 66.0), (178.0, 66.0), (178.0, 60.0)]
    [[east], [west]] = halves([ring])
    assert sorted(set(east)) == [(178.0, 60.0), (178.0, 66.0), (180.0, 60.0), (180.0, 66.0)]
    assert sorted(set(west)) == [(-180.0, 60.0), (-180.0, 66.0), (-179.0, 60.0), (-179.0, 66.0)]
    assert (east[0], west[0]) == (east[-1], west[-1])


def test_the_vendored_outline_is_small_and_whole():
    assert FILE.stat().st_size <= 250_000
    world = json.loads(FILE.read_text())
    numbers = [country["id"] for country in world["features"] if "id" in country]
    assert all(country_name(number, "en") != str(number) for number in numbers)
    assert {4, 36, 156, 242, 276, 344, 643, 702, 840} <= set(numbers)
    for country in world["features"]:
        assert country["geometry"]["coordinates"]
        for outer, *_holes in country["geometry"]["coordinates"]:
            assert len(outer) >= 4
            assert outer[0] == outer[-1]
            assert area(outer) >= 0
            assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in outer)
            assert all(abs(x2 - x1) <= 180 for (x1, _), (x2, _) in pairwise(outer))  # no line around the world
