"""A person sets up a second factor, signs in with it, and ends sessions."""

import re

import pytest

from organizations.models import Organization
from organizations.people import second_factor
from tests.browser.pages import too_wide
from tests.oidc_provider import Provider
from tests.organizations.people.sign_in import PASSWORD, App, with_second_factor

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browser_of(new_page, live_server, complaints):
    """browser_of(user) is an empty page of somebody's own browser."""
    complaints.allow("WebSocket connection to ", f"{live_server.url}/ws/")
    return lambda user=None: new_page(live_server.url, user)


def give_password(page, name, path="/admin/"):
    page.goto(path)
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")


def give_code(page, code, button="input[type=submit]"):
    page.fill("#id_code", code)
    page.click(button)


def codes_on(page):
    return page.inner_text("#codes").split()


def test_set_up_then_sign_in_with_a_code_and_a_recovery_code(browser_of, alice):
    page, other = browser_of(alice), browser_of(alice)
    page.goto("/admin/")
    page.click("#user-tools >> text=Second factor")
    page.click("text=Set it up")
    assert page.locator("figure svg.qr path").count() == 1
    assert too_wide(page, 390, 1280) == []
    code = App(page.inner_text("#key")).code()
    give_code(page, code, "input.default")
    codes = codes_on(page)
    assert len(codes) == 10
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.eval_on_selector("#codes", "shown => shown.scrollWidth <= shown.clientWidth")  # none is cut off
    page.click("text=I have kept them")
    assert "10 recovery codes left" in page.inner_text("#content")
    other.goto("/admin/")
    other.wait_for_selector("#id_password")  # its session has ended

    give_password(other, "alice", "/admin/devices/device/")
    give_code(other, code)
    other.wait_for_selector("text=This code is wrong, or was used before.")
    give_code(other, codes[0])
    other.wait_for_selector("h1 >> text=Devices")
    other.click("#user-tools >> text=Second factor")
    give_code(other, codes[1], "text=Turn off")
    other.wait_for_selector("text=Whoever knows your password can sign in as you.")


def test_who_needs_one_is_led_to_it(browser_of, alice):
    Organization.objects.update(second_factor_required=True)
    page = browser_of(alice)
    page.goto("/admin/")
    page.wait_for_selector("text=You need a second factor here. Set it up to go on.")
    give_code(page, App(page.inner_text("#key")).code(), "input.default")
    assert len(codes_on(page)) == 10
    page.click("text=I have kept them")
    page.wait_for_selector("h1 >> text=What needs me now?")
    page.click("#user-tools >> text=Second factor")
    assert page.locator("text=Turn off").count() == 0
    assert second_factor.find(alice) is not None


def test_a_person_ends_all_other_sessions(browser_of, alice):
    app, _ = with_second_factor(alice)
    page, other = browser_of(), browser_of(alice)
    give_password(page, "alice")
    give_code(page, app.code())
    page.click("#user-tools >> text=Sessions")
    page.wait_for_selector("text=End all others")
    assert page.locator("table.inside tbody tr, table.inside > tr").count() == 2
    assert re.search(r"Chrome on Linux\s+this one\s+127\.0\.0\.1", page.inner_text("table.inside"))
    assert too_wide(page, 390, 1280) == []
    page.click("text=End all others")
    page.wait_for_selector("text=1 other session ended.")
    other.goto("/admin/")
    other.wait_for_selector("#id_password")


def test_the_way_to_the_identity_provider_and_back(browser_of, alice, settings, live_server, monkeypatch):
    """Our content security policy lets a browser go there."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    provider = Provider()
    settings.OIDC_ISSUER, settings.OIDC_NAME = provider.issuer, "Harbour ID"
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = provider.CLIENT
    settings.PUBLIC_URL = live_server.url
    page = browser_of()
    page.goto("/admin/devices/device/")
    page.click("text=Sign in with Harbour ID")
    page.wait_for_selector("h1 >> text=Devices")
    provider.close()
