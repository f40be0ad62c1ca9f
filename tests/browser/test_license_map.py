"""The license map in a browser: what DJI's example and odd licenses look like, on a desk and on a phone."""

import os
from itertools import combinations
from pathlib import Path

import pytest
from django.utils import timezone

from devices.models import DeviceState
from licenses.geography import box_of
from licenses.models import UnlockLicense
from mqtt_bridge.models import Heartbeat
from tests.licenses.lists import SEVEN, license_, store

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).parents[2]
MAP = "/admin/licenses/unlocklicense/map/"
PICTURES = os.environ.get("PICTURES")  # a folder for those who want to look


@pytest.fixture
def seven(dock):
    """DJI's example, in the aircraft; the dock stands beside its circle and its polygon."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)
    DeviceState.objects.filter(device=dock).update(latitude=22.58, longitude=113.93)
    store(dock, SEVEN)
    return dock


@pytest.fixture
def show(page, sign_in):
    """show(user, query, language, width) opens the map and waits until it is drawn."""

    def show(user, query="", *, language="en", width=1280, dark=False, until=".map-entry"):
        page.set_viewport_size({"width": width, "height": 900})
        page.set_extra_http_headers({"Accept-Language": language})
        page.emulate_media(color_scheme="dark" if dark else "light")
        sign_in(user)
        page.goto(MAP + query)
        page.wait_for_selector(f"{until}, [data-state=failed]")
        page.wait_for_function("!/…/.test(document.querySelector('[data-status]').textContent)")
        return page

    return show


def picture(page, name):
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def test_the_example_is_on_the_map(show, alice, seven):
    page = show(alice)
    picture(page, "seven")
    assert page.inner_text("[data-status]") == "7 licenses"
    assert page.locator(".map-entry").count() == 7
    assert "radius 1581 m, up to 500 m" in page.inner_text(".map-canvas")
    assert page.locator(".dock-online").inner_text() == "Pier 7 · online"
    words = page.inner_text(".map-list")
    for said in ("Country: China, up to 500 m", "RID exemption: EU", "2038-01-01", "22.60309, 113.947815"):
        assert said in words
    page.click("[data-fit]")
    assert "China, up to 500 m" in page.inner_text(".map-canvas")
    picture(page, "seven-all")


def test_the_example_in_chinese(show, alice, seven):
    page = show(alice, language="zh-CN,zh;q=0.9")
    picture(page, "seven-zh")
    assert page.inner_text("[data-status]") == "7 个解禁证书"
    words = page.inner_text("#license-map")
    for said in ("国家/地区：中国，限高 500 米", "RID 豁免：欧盟", "半径 1581 米, 限高 500 米", "Pier 7 · 在线"):
        assert said in words


def test_list_and_map_point_at_each_other(show, alice, seven):
    page = show(alice)
    page.click(".map-entry:has-text('圆形') button")
    assert "Custom circle of 1581 m" in page.inner_text(".leaflet-popup")
    assert page.locator(".map-entry[aria-current]").count() == 1
    picture(page, "selected")
    page.click(".map-entry:has-text('RID') button")
    assert "Pier 7" in page.inner_text(".leaflet-popup")  # it has no place, but its dock has one
    page.keyboard.press("Escape")
    page.click("[data-fit]")
    page.locator("path.leaflet-interactive").first.click(force=True)
    page.wait_for_selector(".leaflet-popup")
    assert "China" in page.inner_text(".map-entry[aria-current]") or page.locator(".map-entry[aria-current]").count()


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(show, alice, seven, dark):
    page = show(alice, width=390, dark=dark)
    picture(page, f"phone{'-dark' * dark}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click(".map-entry:has-text('多边形') button")
    assert page.locator(".leaflet-popup").is_visible()
    assert page.evaluate("document.querySelector('.map-canvas').getBoundingClientRect().bottom") <= 901
    picture(page, f"phone-selected{'-dark' * dark}")


def test_odd_licenses_do_no_harm(show, alice, seven):
    far = {"latitude": 10**6, "longitude": 5, "radius": 50, "height": 65535}
    corners = [(-16.0, 179.0), (-16.0, -179.0), (-18.0, -179.5), (-18.0, 179.5)]
    across = {"points": [{"latitude": latitude, "longitude": longitude} for latitude, longitude in corners]}
    point = {"latitude": -17.0, "longitude": 178.0, "radius": 0, "height": 65535}
    evil = '"><img src=x onerror=alert(1)>'
    licenses = [
        license_(1, far, 1),
        license_(4, across, 2, evil),
        license_(1, point, 3),
        license_(2, {"country_number": 999}, 4),
        license_(77, {"new": [evil]}, 5),
        license_(1, {"latitude": "x", "longitude": None}, 2**62 + 1, begin_time=4_000_000_000, end_time=9_999_999_999),
        license_(2, {"country_number": 242, "height": 65535}, 7, enabled=None),
        license_(1, {"latitude": -17.5, "longitude": 177.0, "radius": 30000}, 8, end_time=1_700_000_001),
    ]
    store(seven, licenses)
    page = show(alice)
    picture(page, "odd")
    assert page.inner_text("[data-status]") == "8 licenses"
    words = page.inner_text(".map-list")
    for said in ("Invalid coordinates", "up to 65535 m", "Country: 999", "type 77", str(2**62 + 1), "2286-11-20", evil):
        assert said in words
    page.click(".map-entry:has-text('of 4 corners') button")
    page.wait_for_selector(".leaflet-popup")
    picture(page, "antimeridian")


@pytest.mark.turns(4)
def test_sixteen_thousand_licenses_are_shown_in_groups_and_one_by_one_from_near(show, alice, seven):
    rows = [
        UnlockLicense(
            device=seven,
            device_model_domain=3,
            license_id=number,
            name=f"Site {number}",
            type=1,
            enabled=bool(number % 3),
            details={"latitude": 20 + number % 100 / 5, "longitude": 90 + number / 400, "radius": 900, "height": 120},
        )
        for number in range(16_000)
    ]
    for row in rows:
        row.west, row.south, row.east, row.north = box_of(row)
    UnlockLicense.objects.bulk_create(rows, batch_size=4000)
    page = show(alice, "?device_model_domain__exact=3", until=".license-group")
    assert page.inner_text("[data-status]") == "16000 licenses in groups: zoom in to see each"
    page.wait_for_selector(".license-group >> nth=20")  # those of this view
    picture(page, "groups")
    places = [group.bounding_box() for group in page.locator(".license-group").all()]
    assert len(places) < 600
    assert not [1 for a, b in combinations(places, 2) if abs(a["x"] - b["x"]) < 20 and abs(a["y"] - b["y"]) < 20]
    while not page.locator(".map-entry").count():
        with page.expect_response("**/geojson/**"):
            page.locator(".license-group").first.click(force=True)
        page.wait_for_timeout(200)
    shown = int(page.inner_text("[data-status]").removesuffix(" licenses here"))
    assert 0 < shown <= 1000
    assert page.locator(".map-entry").count() == min(shown, 200)
    picture(page, "near")


def test_tiles_are_loaded_from_where_the_settings_say(show, page, alice, seven, settings):
    origin = "https://tile.example.org"
    settings.MAP_TILE_URL = f"{origin}/{{z}}/{{x}}/{{y}}.png"
    settings.MAP_TILE_ATTRIBUTION = "Tiles <b>& co"
    policy = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": policy | {"img-src": [*policy["img-src"], origin]}}
    asked = []
    tile = (ROOT / "static/leaflet/images/layers.png").read_bytes()
    page.route(f"{origin}/**", lambda route: (asked.append(route.request.url), route.fulfill(body=tile)))
    page = show(alice)
    page.wait_for_selector(".leaflet-tile-loaded")
    assert asked
    assert page.inner_text(".leaflet-control-attribution") == "Tiles <b>& co"
