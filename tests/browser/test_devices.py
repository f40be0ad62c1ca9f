"""The pages of devices as an operator uses them: they refresh themselves, and release asks first."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState
from mqtt_bridge.models import Exchange, Heartbeat, PassingEvent
from organizations.models import AuditEvent
from organizations.people.models import UserSession
from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LIST = "/admin/devices/device/"
INTERVAL = 5_000  # ms between two refreshes


@pytest.fixture(autouse=True)
def _clock(page):
    """The page's clock runs, and `clock.fast_forward` moves it on."""
    page.clock.install()


@pytest.fixture
def bridge(db, monkeypatch):
    monkeypatch.setattr(Heartbeat, "STALE_AFTER", timedelta(minutes=5))
    now = timezone.now()
    return Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


def lose(dock):
    DeviceState.objects.filter(device=dock).update(online=False)


@pytest.mark.usefixtures("bridge")
def test_the_list_refreshes_itself_and_keeps_its_filter(page, sign_in, alice, dock, aircraft):
    sign_in(alice)
    page.goto(f"{LIST}?kind=dock")
    page.wait_for_selector("#result_list .presence-online")
    lose(dock)
    page.clock.fast_forward(INTERVAL)
    page.wait_for_selector("#result_list .presence-offline")
    assert page.locator("#result_list tbody tr").count() == 1
    assert "kind=dock" in page.url
    assert page.locator("[data-refreshed]").inner_text().startswith("Updated")


def test_the_choices_of_a_long_filter_are_searched(page, sign_in, alice):
    sign_in(alice)
    page.goto(LIST)
    field = page.get_by_role("searchbox", name="Search the choices of product")
    field.fill("no such product")
    assert page.get_by_text("No choice matches.").is_visible()
    field.fill("dock 3")
    assert page.locator("[data-filter-title=product] li:visible").all_inner_texts() == ["DJI Dock 3"]
    field.press("Enter")
    page.wait_for_url(f"**{LIST}?product=3-3-0")


@pytest.mark.usefixtures("bridge")
def test_the_list_waits_while_rows_are_selected_and_actions_work_after_a_refresh(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto(LIST)
    page.check("input.action-select")
    lose(dock)
    page.clock.fast_forward(INTERVAL)
    page.wait_for_timeout(500)
    assert page.locator("#result_list .presence-online").count() == 1
    page.uncheck("input.action-select")
    page.click("h1")  # leave the table
    page.clock.fast_forward(INTERVAL)
    page.wait_for_selector("#result_list .presence-offline")
    page.check("input.action-select")
    assert page.locator(".action-counter").inner_text() == "1 of 1 selected"
    page.select_option("select[name=action]", "disable_selected")
    page.click("button[name=index]")
    page.wait_for_selector(".messagelist .success")
    assert not Device.objects.get(pk=dock.pk).is_enabled


def test_a_list_that_cannot_be_refreshed_says_so(page, sign_in, alice, dock, complaints):
    sign_in(alice)
    page.goto(LIST)
    page.context.clear_cookies()
    page.clock.fast_forward(INTERVAL)
    page.wait_for_selector("[data-refreshed].stale")
    complaints.want(f".*{LIST}")  # the refused redirect to the sign-in page


@pytest.mark.usefixtures("bridge")
def test_the_page_of_a_dock_follows_its_state(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto(f"{LIST}{dock.pk}/change/")
    page.fill("#id_callsign", "half typed")
    page.wait_for_selector("#state-panel .presence-online")
    lose(dock)
    page.clock.fast_forward(INTERVAL)
    page.wait_for_selector("#state-panel .presence-offline")
    assert page.input_value("#id_callsign") == "half typed"


def test_releasing_asks_first_and_takes_the_aircraft_too(page, sign_in, alice, dock, aircraft):
    sign_in(alice)
    page.goto(f"{LIST}{dock.pk}/change/")
    page.click("text=Release from Harbour Survey")
    assert page.is_checked("#id_with_aircraft")
    assert "Gull" in page.inner_text("#content")
    page.click("text=Release the selected devices")
    page.wait_for_selector(".messagelist .success")
    assert not Device.objects.exclude(organization=None).exists()


def test_hostile_text_runs_nothing(page, sign_in, alice, dock):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    Device.objects.filter(pk=dock.pk).update(callsign=evil)
    row = Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        channel="requests",
        method="config",
        received_at=timezone.now(),
        outcome="answered",
        reason=evil,
        payload=evil,
        reply=evil,
    )
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    sign_in(alice)
    PassingEvent.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        method="hms",
        payload=evil,
        count=1,
        first_at=timezone.now(),
        last_at=timezone.now(),
    )
    AuditEvent.objects.create(
        organization=dock.organization, action="adopt", object_type="device", object_name=evil, through="bridge"
    )
    for url in (
        LIST,
        f"{LIST}{dock.pk}/change/",
        f"{LIST}{dock.pk}/commands/",
        f"{LIST}credentials/?devices={dock.pk}&deed=issue",
        f"{LIST}release/?devices={dock.pk}",
        "/admin/devices/dockconnection/",
        f"/admin/mqtt_bridge/exchange/{row.pk}/change/",
        "/admin/organizations/auditevent/",
    ):
        page.goto(url)
        assert "onerror" in page.inner_text("body"), url
    page.goto(f"{LIST}credentials/?devices={dock.pk}&deed=issue")
    page.locator("#content input[type=submit], #content button[type=submit]").first.click()
    page.wait_for_selector(".sheet")
    assert "onerror" in page.inner_text("body")
    assert dialogs == []


def test_hostile_browser_name_runs_nothing_on_the_page_of_sessions(page, sign_in, alice):
    sign_in(alice)
    UserSession.objects.update(browser="<img src=x onerror=alert(2)>")
    page.goto("/sessions/")
    assert "onerror" in page.inner_text("body")


def test_nothing_is_wider_than_the_screen(page, sign_in, alice, dock):
    Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        channel="requests",
        method="config",
        received_at=timezone.now(),
        outcome="answered",
        payload='{"text": "' + "x" * 2000 + '"}',
    )
    sign_in(alice)
    journal = "/admin/mqtt_bridge/exchange/"
    for url in (LIST, f"{LIST}{dock.pk}/change/", journal, f"{journal}{Exchange.objects.get().pk}/change/"):
        page.goto(url)
        assert too_wide(page, 1440, 390) == [], url


def test_on_a_wide_screen_lines_can_be_read_and_columns_stay_near(page, sign_in, staff, dock):
    sign_in(staff)
    page.set_viewport_size({"width": 1920, "height": 900})
    for place in ("clear-out/", f"retire/?devices={dock.pk}", f"grouping/?devices={dock.pk}", f"{dock.pk}/change/"):
        page.goto(f"{LIST}{place}")
        wide = page.locator("#content p, #content .devices-chosen").evaluate_all(
            "all => all.filter((one) => one.clientWidth > 84 * 16).map((one) => one.textContent.slice(0, 80))"
        )
        assert wide == [], place


def test_one_box_chooses_all_that_are_unclaimed(page, sign_in, staff, dock, aircraft):
    Device.objects.update(organization=None)
    sign_in(staff)
    page.goto("/admin/devices/device/inbox/")
    page.get_by_role("checkbox", name="Choose all").check()
    assert page.locator("tbody input:checked").count() == page.locator("tbody input").count() > 0


@pytest.mark.usefixtures("bridge")
def test_the_list_fits_a_laptop_with_all_its_columns(page, sign_in, staff, dock, aircraft):
    for device, name in ((dock, "DEMODOCK00001"), (aircraft, "DEMODOCK00001A")):
        Device.objects.filter(pk=device.pk).update(sn=name, callsign=f"Aircraft {name}", is_enabled=False)
    DeviceState.objects.filter(device=dock).update(firmware_version="10.01.16.03", clock_skew_ms=900_000)
    sign_in(staff)
    page.goto(LIST)
    table = page.locator("#changelist .results")
    assert table.evaluate("element => element.scrollWidth - element.clientWidth") == 0
