"""The map of the docks in a browser: marks, groups, popups and licenses, by mouse and by keyboard."""

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from devices.models import Device, DeviceState
from licenses.geography import box_of
from licenses.models import UnlockLicense
from mqtt_bridge.models import Heartbeat

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MAP = "/admin/devices/device/map/"


@pytest.fixture
def fleet(organization):
    """Five docks near each other, one of them offline, and one far away with a license."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)
    places = [(113.9 + number / 100, 22.5) for number in range(5)] + [(9.9, 53.5)]
    for number, (x, y) in enumerate(places):
        dock = Device.objects.create(
            sn=f"DOCK{number}", model_key="3-2-0", organization=organization, callsign=f"Pier {number}"
        )
        DeviceState.objects.create(device=dock, online=number != 2, last_seen=now, latitude=y, longitude=x)
    license_ = UnlockLicense(
        device=dock, device_model_domain=3, license_id=1, type=1, name="Harbour", enabled=True,
        details={"latitude": y, "longitude": x, "radius": 900},
    )  # fmt: skip
    license_.west, license_.south, license_.east, license_.north = box_of(license_)
    license_.save()


def show(page, width=1280):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(MAP)
    page.wait_for_selector(".fleet-icon, [data-state=failed]")


def test_docks_come_together_and_apart_and_say_what_they_are(page, sign_in, alice, fleet):
    sign_in(alice)
    show(page)
    assert page.inner_text("[data-status]") == "6 devices on the map"
    assert page.get_attribute(".fleet-group", "aria-label") == "5 devices, the worst: offline"
    page.locator(".fleet-group").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".fleet-device")).to_have_count(5)
    page.locator("[aria-label='Pier 2, offline']").focus()
    page.keyboard.press("Enter")
    words = page.inner_text(".leaflet-popup")
    for said in ("Pier 2 (DOCK2)", "offline", "Harbour Survey", "DJI Dock 2"):
        assert said in words
    DeviceState.objects.filter(device__sn="DOCK3").update(online=False)
    page.wait_for_selector("[aria-label='Pier 3, offline']", timeout=30_000)  # the page follows by itself
    assert "Pier 2 (DOCK2)" in page.inner_text(".leaflet-popup")  # and leaves open what is read


def test_licenses_are_a_layer_on_a_phone_too(page, sign_in, alice, fleet):
    sign_in(alice)
    show(page, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("path.leaflet-interactive").count() == 0
    page.locator("[data-show-licenses]").check()
    page.locator("path.leaflet-interactive").first.wait_for()
    page.locator("[data-show-licenses]").uncheck()
    expect(page.locator("path.leaflet-interactive")).to_have_count(0)
