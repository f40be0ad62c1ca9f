"""Licenses as GeoJSON, whatever a dock may have sent."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from devices.models import Device, DeviceState
from devices.presence import Watch
from licenses import geography
from licenses.geography import collection, dock_feature, feature, shape_of
from licenses.models import Inventory, LicenseList, UnlockLicense
from tests.licenses.lists import SEVEN, license_, store
from tests.licenses.test_wording import any_details

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WATCH = Watch(NOW, bridge_alive=True)


def made(kind, details, **fields):
    device = Device(pk=1, sn="DOCK0001", model_key="3-2-0", callsign="Pier 7")
    return UnlockLicense(pk=5, device=device, device_model_domain=0, license_id=1, type=kind, details=details, **fields)


def corners(*places):
    return {"points": [{"latitude": latitude, "longitude": longitude} for longitude, latitude in places]}


def area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2


def check(told):
    """Whether this is a Feature of RFC 7946, all of it JSON; a polygon may go on beyond 180 degrees."""
    json.dumps(told, allow_nan=False)
    assert told["type"] == "Feature"
    geometry = told["geometry"]
    if geometry is None:
        return
    assert set(geometry) == {"type", "coordinates"}
    if geometry["type"] == "Point":
        longitude, latitude = geometry["coordinates"]
        assert -180 <= longitude <= 180
        assert -90 <= latitude <= 90
        return
    assert geometry["type"] == "Polygon"
    [ring] = geometry["coordinates"]
    assert len(ring) >= 4
    assert ring[0] == ring[-1]
    assert area(ring) > -1e-9  # what rounding leaves
    assert -180 <= min(longitude for longitude, _ in ring) < 180
    assert (max(longitude for longitude, _ in ring) > 180) is ("crosses_antimeridian" in told["properties"])
    assert all(abs(x2 - x1) <= 180 for (x1, _), (x2, _) in pairwise(ring))
    assert all(-90 <= latitude <= 90 for _, latitude in ring)


# --- shapes ------------------------------------------------------------------------------------------


def test_circle_is_a_point_with_a_radius():
    told = feature(made(1, {"latitude": 22.60309, "longitude": 113.947815, "radius": 1581, "height": 500}), now=NOW)
    assert told["geometry"] == {"type": "Point", "coordinates": [113.947815, 22.60309]}
    assert (told["properties"]["radius"], told["properties"]["height"]) == (1581, 500)
    assert told["properties"]["problem"] == ""


def test_circle_of_radius_zero_is_kept():
    shape = shape_of(made(1, {"latitude": 1, "longitude": 2, "radius": 0}))
    assert (shape.geometry["coordinates"], shape.properties, shape.problem) == ([2, 1], {"radius": 0}, "")


@pytest.mark.parametrize("radius", [-1, 10**9, None, "wide", float("inf")])
def test_circle_of_an_unusable_radius_is_a_point_with_the_reason(radius):
    shape = shape_of(made(1, {"latitude": 1, "longitude": 2, "radius": radius}))
    assert shape.geometry["type"] == "Point"
    assert shape.properties == {"radius": None}
    assert shape.problem.startswith("Invalid radius: ")


@pytest.mark.parametrize("place", [(90.1, 0), (0, 180.1), (None, 0), ("north", 0), (True, 0), (float("nan"), 0)])
def test_place_that_is_none_has_no_geometry_but_a_reason(place):
    details = {"latitude": place[0], "longitude": place[1], "radius": 5}
    shape = shape_of(made(1, details))
    assert shape.geometry is None
    assert shape.problem.startswith("Invalid coordinates: ")
    with translation.override("zh-hans"):
        assert shape_of(made(1, details)).problem.startswith("坐标无效")


@pytest.mark.parametrize("order", [1, -1])
def test_polygon_is_closed_and_runs_counterclockwise(order):
    square = [(0, 0), (2, 0), (2, 1), (0, 1)][::order]
    [ring] = shape_of(made(4, corners(*square))).geometry["coordinates"]
    assert (ring[0], len(ring)) == (ring[-1], 5)
    assert area(ring) == 2


def test_polygon_that_is_closed_already_is_not_closed_twice():
    [ring] = shape_of(made(4, corners((0, 0), (2, 0), (2, 1), (2, 1), (0, 0)))).geometry["coordinates"]
    assert len(ring) == 4


def test_polygon_with_a_corner_outside_the_range_names_it():
    shape = shape_of(made(4, corners((0, 0), (2, 0), (200, 1))))
    assert (shape.geometry, shape.problem) == (None, "Corner 3: Invalid coordinates: 1, 200.")


@pytest.mark.parametrize("details", [{}, {"points": []}, {"points": "x"}, corners((0, 0), (1, 1), (0, 0))])
def test_polygon_of_too_few_corners_has_no_geometry(details):
    shape = shape_of(made(4, details))
    assert shape.geometry is None
    assert "needs at least three corners" in shape.problem or "Corner" in shape.problem


@pytest.mark.parametrize("first", range(4))
def test_polygon_across_the_antimeridian_is_one_and_goes_on(first):
    places = [(179, 0), (-179, 0), (-179, 1), (179, 1)]
    shape = shape_of(made(4, corners(*places[first:], *places[:first])))
    assert shape.properties == {"crosses_antimeridian": True}
    [ring] = shape.geometry["coordinates"]
    assert set(ring) == {(179, 0), (181, 0), (181, 1), (179, 1)}
    assert area(ring) == 2


def test_polygon_that_touches_the_antimeridian_does_not_cross_it():
    told = feature(made(4, corners((180, 0), (-179, 0), (-179, 1))), now=NOW)
    check(told)
    assert "crosses_antimeridian" not in told["properties"]
    told = feature(made(4, corners((179, 0), (-180, 0), (-180, 1), (179, 1))), now=NOW)
    check(told)
    assert [area(ring) for ring in told["geometry"]["coordinates"]] == [1]


def test_polygon_around_a_pole_has_no_geometry():
    shape = shape_of(made(4, corners((0, 80), (90, 80), (180, 80), (-90, 80))))
    assert shape.geometry is None
    assert "pole" in shape.problem


def test_polygon_of_ten_thousand_corners_is_kept():
    places = [(100 + number / 10_000, (number % 7) / 10) for number in range(10_000)]
    [ring] = shape_of(made(4, corners(*places))).geometry["coordinates"]
    assert len(ring) == 10_001


def test_country_is_a_number_and_a_name():
    with translation.override("zh-hans"):
        shape = shape_of(made(2, {"country_number": 156, "height": 500}))
    assert (shape.geometry, shape.properties) == (None, {"country": 156, "country_text": "中国"})
    assert shape_of(made(2, {"country_number": -5})).problem == "Not a country number: -5."


def test_areas_and_levels_are_listed():
    assert shape_of(made(0, {"area_ids": [115001769, 8724]})).properties == {"area_ids": [115001769, 8724]}
    assert shape_of(made(6, {"level": 1})).properties == {"level": 1}
    assert shape_of(made(5, {})) == (None, {}, "")
    assert shape_of(made(77, {"latitude": 1, "longitude": 1})).geometry is None


@given(st.integers(-1, 8) | st.none(), any_details)
def test_no_details_make_an_unusable_feature(kind, details):
    check(feature(made(kind, details), now=NOW))


degrees = st.integers(-180, 180) | st.floats(-180, 180)


@given(st.lists(st.tuples(degrees, degrees.map(lambda value: value / 2)), min_size=3, max_size=12))
def test_every_polygon_is_one_or_says_why_not(places):
    told = feature(made(4, corners(*places)), now=NOW)
    check(told)
    assert (told["geometry"] is None) == bool(told["properties"]["problem"])


# --- properties ----------------------------------------------------------------------------------------


def test_a_feature_says_all_about_its_license():
    begin, end = datetime(2023, 10, 10, 14, 28, 35, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
    row = made(3, {"height": 65535}, name="Tower", enabled=True, begin_time=begin, end_time=end, device_sn="DRONE0001")
    properties = feature(row, now=NOW)["properties"]
    assert properties["begin_time"] == "2023-10-10T14:28:35Z"
    assert properties["end_time"] == "2300-01-01T00:00:00Z"
    assert (properties["state"], properties["state_text"], properties["enabled"]) == ("in_force", "in force", True)
    assert (properties["sn"], properties["callsign"], properties["device_sn"]) == ("DOCK0001", "Pier 7", "DRONE0001")
    assert (properties["inventory"], properties["inventory_text"]) == (0, "imported in the aircraft")
    assert (properties["height"], properties["height_text"]) == (65535, "up to 65535 m")
    assert (properties["type"], properties["type_text"], properties["name"]) == (3, "Height limit", "Tower")


def test_a_dock_is_where_its_telemetry_says():
    device = Device(pk=3, sn="DOCK0001", callsign="Pier 7", model_key="3-2-0")
    device.state = DeviceState(device=device, latitude=53.5, longitude=9.9, online=True, last_seen=NOW)
    with translation.override("zh-hans"):
        told = dock_feature(device, watch=WATCH)
    check(told)
    assert told["geometry"]["coordinates"] == [9.9, 53.5]
    assert (told["properties"]["presence"], told["properties"]["presence_text"]) == ("online", "在线")
    for latitude in (None, 91):
        device.state.latitude = latitude
        told = dock_feature(device, watch=WATCH)
        assert (told["geometry"], told["properties"]["problem"]) == (None, "The dock has not reported its position.")


# --- collections ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_collection_has_the_docks_and_the_licenses(dock):
    store(dock, SEVEN)
    told = collection(UnlockLicense.objects.order_by("license_id"), watch=Watch(timezone.now(), True))
    kinds = [one["properties"]["kind"] for one in told["features"]]
    assert kinds == ["dock"] + ["license"] * 7
    assert (told["type"], told["total"], told["next_offset"]) == ("FeatureCollection", 7, None)
    for one in told["features"]:
        check(one)


@pytest.mark.parametrize(
    ("kind", "details", "box"),
    [
        (1, {"latitude": 0, "longitude": 10, "radius": 111_320}, (9, -1, 11, 1)),
        (1, {"latitude": 60, "longitude": 10, "radius": 111_320}, (8, 59, 12, 61)),
        (1, {"latitude": 5, "longitude": 10, "radius": "?"}, (10, 5, 10, 5)),
        (1, {"latitude": 90, "longitude": 10, "radius": 1000}, (1, 90, 19, 90)),
        (1, {"latitude": 91, "longitude": 10, "radius": 1}, (None,) * 4),
        (
            4,
            {"points": [{"latitude": y, "longitude": x} for x, y in ((179, 1), (-179, 2), (-178, 3))]},
            (179, 1, 182, 3),
        ),
        (2, {"country_number": 156}, (None,) * 4),
        (0, None, (None,) * 4),
    ],
)
def test_the_box_around_a_place(kind, details, box):
    found = geography.box_of(UnlockLicense(type=kind, details=details))
    assert found == box if None in box else found == pytest.approx(box, abs=0.1)


@pytest.mark.django_db
def test_a_collection_says_how_old_it_is(dock, settings):
    store(dock, [license_(5, {}, 1)])
    store(dock, [license_(5, {}, 1)], Inventory.DOCK)
    old = timezone.now() - timedelta(hours=settings.LICENSE_STALE_HOURS + 1)
    LicenseList.objects.filter(device_model_domain=Inventory.DOCK).update(fetched_at=old)
    UnlockLicense.objects.filter(device_model_domain=Inventory.DOCK).update(seen_at=old)
    later = LicenseList.objects.get(device_model_domain=Inventory.DOCK)
    later.pk, later.call, later.complete = None, None, False  # says nothing of the licenses that it lacks
    later.asked_at = later.fetched_at = timezone.now()
    later.save(force_insert=True)
    told = collection(UnlockLicense.objects.order_by("device_model_domain"), watch=Watch(timezone.now(), True))
    ages = [one["properties"]["stale"] for one in told["features"] if one["properties"]["kind"] == "license"]
    assert ages == [False, True]
    assert told["features"][-1]["properties"]["as_of"] == old.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.django_db
def test_a_collection_comes_in_parts(dock, monkeypatch):
    store(dock, [license_(5, {}, number) for number in range(5)])
    rows = UnlockLicense.objects.order_by("license_id")
    first = collection(rows, watch=WATCH, limit=2)
    assert ([one["properties"].get("license_id") for one in first["features"]], first["next_offset"]) == (
        [None, 0, 1],
        2,
    )
    last = collection(rows, watch=WATCH, offset=4, limit=2)
    assert (last["features"][-1]["properties"]["license_id"], last["next_offset"]) == (4, None)
    monkeypatch.setattr(geography, "CORNERS", 2)
    assert collection(rows, watch=WATCH)["next_offset"] == 3


@pytest.mark.django_db
def test_a_collection_costs_a_constant_number_of_queries(dock, organization):
    counts = []
    for number in (1, 30):
        for key in range(number):
            other = Device.objects.create(sn=f"D{number}X{key}", model_key="3-2-0", organization=organization)
            DeviceState.objects.create(device=other)
            UnlockLicense.objects.create(device=other, device_model_domain=0, license_id=key, type=5)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            collection(UnlockLicense.objects.order_by("pk"), watch=WATCH)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 5
