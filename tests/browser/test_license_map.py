"""The license map in a browser: what DJI's example and odd licenses look like, on a desk and on a phone."""

import os
from pathlib import Path

import pytest
from django.utils import timezone

from devices.models import DeviceState
from mqtt_bridge.models import Heartbeat
from tests.licenses.lists import SEVEN, store

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
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

    def show(user, query="", *, language="en", width=1280, dark=False):
        page.set_viewport_size({"width": width, "height": 900})
        page.set_extra_http_headers({"Accept-Language": language})
        page.emulate_media(color_scheme="dark" if dark else "light")
        sign_in(user)
        page.goto(MAP + query)
        page.wait_for_selector(".map-entry, [data-state=failed]")
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
