"""Licenses in a browser: switched from the list to the dock's confirmation, compared after an update, on any screen."""

import pytest
from django.utils import timezone

from devices.models import ServiceCall
from licenses.models import Inventory, LicenseList, UnlockLicense
from organizations.models import Organization
from tests.browser.pages import too_wide
from tests.browser.test_commands import _bridge, answer, open_call  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LIST = "/admin/licenses/unlocklicense/"


def told(key, *, enabled=True, end=2_145_916_800):
    """A license as a dock tells it."""
    common = {"license_id": key, "name": f"license {key}", "type": 6, "enabled": enabled, "device_sn": "DRONE0001"}
    return {"common_fields": common | {"begin_time": 1_700_000_000, "end_time": end}, "rid_unlock": {"level": 1}}


@pytest.fixture
def license_(dock):
    """License 5 in the aircraft, by a list that was just read."""
    now = timezone.now()
    LicenseList.objects.create(device=dock, device_model_domain=0, complete=True, count=1, fetched_at=now)
    return UnlockLicense.objects.create(
        device=dock, device_model_domain=Inventory.AIRCRAFT, license_id=5, name="license 5", enabled=True, type=6
    )


def tell(licenses, domain=0, **fields):
    """Answer the open call for a list."""
    call = open_call()
    assert call.data["device_model_domain"] == domain
    answer(call, {"result": 0, "device_model_domain": domain, "licenses": licenses, **fields})


def test_a_switch_from_the_list_is_pending_until_the_dock_confirms_it(visit, alice, license_):
    page = visit(alice, LIST)
    page.click("#result_list button.switch")
    page.click("input[value='Switch off']")
    page.wait_for_selector("#result_list >> text=switching off…")
    assert page.locator("#result_list .switched").inner_text() == "on"
    assert page.locator("button.switch").count() == 0
    answer(open_call(), {"result": 0})
    tell([told(5, enabled=False)])
    page.wait_for_selector("#result_list .switched-off", timeout=60_000)
    assert page.locator("text=switching off…").count() == 0
    assert page.locator("button.switch").inner_text() == "Switch on"


def test_a_refused_switch_is_told_on_the_open_page_with_its_reason(visit, alice, license_):
    page = visit(alice, f"{LIST}{license_.pk}/change/")
    page.fill("#id_note", "half typed")
    page.click("#license-now button >> text=Switch off")
    page.click("input[value='Switch off']")
    page.wait_for_selector("#license-now >> text=switching off…")
    page.fill("#id_note", "half typed")
    answer(open_call(), {"result": 325012})
    page.wait_for_selector("#license-now >> text=not switched off: failed: the aircraft is not connected")
    assert page.locator("#license-now .switched").inner_text() == "on"
    assert page.input_value("#id_note") == "half typed"


def test_the_comparison_follows_an_update(visit, alice, dock, license_):
    page = visit(alice, f"/admin/devices/device/{dock.pk}/change/")
    assert page.is_visible("#licenses-now >> text=Not known")
    page.click("#command-update button")
    page.wait_for_selector("#commands-calls >> text=waiting to be sent")
    answer(open_call(), {"result": 0})
    for call in ServiceCall.objects.filter(status="queued").order_by("created"):
        domain = call.data["device_model_domain"]
        ServiceCall.objects.filter(pk=call.pk).update(status="sent", sent=timezone.now())
        licenses = [told(5), told(6)] if domain else [told(5)]
        answer(call, {"result": 0, "device_model_domain": domain, "consistence": True, "licenses": licenses})
    page.wait_for_selector("#licenses-now >> text=1 of 2 licenses differ.", timeout=60_000)
    assert page.is_visible("#licenses-now >> text=not imported in the aircraft")
    assert page.is_visible("#licenses-now >> text=The two disagree.")


def test_no_page_is_wider_than_the_screen(visit, alice, dock, license_):
    whole = {"name": "Sondergenehmigung Flughafen Hamburg-Fuhlsbüttel", "device_sn": "1581F6QWD242200WMQ7A"}
    UnlockLicense.objects.update(**whole, user_only=True, type=0)
    Organization.objects.update(name="Vermessungs- und Katasterverwaltung Mittelrhein")
    page = visit(alice, LIST)
    table = page.locator("#changelist .results")
    assert table.evaluate("element => element.scrollWidth - element.clientWidth") == 0  # all columns are seen
    for path in (LIST, f"{LIST}timeline/", f"{LIST}{license_.pk}/change/", f"{LIST}dock/{dock.pk}/"):
        page.goto(path)
        assert too_wide(page, 1280, 390) == [], path
        assert page.locator("#content [style]").count() == 0
