"""The start page in a browser: it follows what happens, and so does the banner of every page."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import DeviceState
from mqtt_bridge.models import Heartbeat
from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _clock(page):
    """The page's clock runs, and `clock.fast_forward` moves it on."""
    page.clock.install()


@pytest.fixture
def bridge(db, monkeypatch):
    monkeypatch.setattr(Heartbeat, "STALE_AFTER", timedelta(minutes=5))
    now = timezone.now()
    return Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.mark.usefixtures("bridge")
def test_an_open_start_page_shows_a_dock_that_is_killed_until_somebody_acknowledges_it(
    page, sign_in, alice, dock, settings
):
    settings.DJI_APP_ID = settings.DJI_APP_KEY = settings.DJI_APP_LICENSE = "x"
    sign_in(alice)
    page.goto("/admin/")
    page.wait_for_selector(".all-well")
    long_ago = timezone.now() - timedelta(days=20)
    DeviceState.objects.filter(device=dock).update(online=False, last_seen=long_ago)
    page.clock.fast_forward(5_000)
    page.wait_for_selector("#needs >> text=1 dock is offline")
    assert page.inner_text(".tile.bad strong") == "1"
    assert page.inner_text("#gone-offline td a") == str(dock)
    assert too_wide(page, 390, 1440) == []
    assert page.inner_text("[data-refreshed]").startswith("As of ")
    page.click("#needs li.critical a.acknowledge")
    page.fill("#id_reason", "no power until Friday")
    page.click("input[type=submit]")
    page.wait_for_selector("#acknowledged >> text=no power until Friday")
    assert too_wide(page, 1440, 390) == []
    page.click("#acknowledged button")
    page.wait_for_selector("#needs >> text=1 dock is offline")


def test_a_page_that_does_not_refresh_itself_says_that_the_bridge_is_gone_or_the_server(
    page, sign_in, alice, bridge, complaints
):
    sign_in(alice)
    page.goto("/admin/organizations/bindingcode/add/")
    page.fill("#id_label", "half typed")
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(hours=1))
    page.clock.fast_forward(15_000)
    page.wait_for_selector("text=No connection to the docks.")
    Heartbeat.objects.update(beat_at=timezone.now())
    page.clock.fast_forward(15_000)
    page.wait_for_selector(".bridge-banner", state="detached")
    page.context.clear_cookies()
    for _ in range(2):
        with page.expect_event("requestfailed"):
            page.clock.fast_forward(15_000)
    page.wait_for_selector("text=This server does not answer, or you are signed out")
    assert page.input_value("#id_label") == "half typed"
    complaints.want(".*/admin/bridge/")
