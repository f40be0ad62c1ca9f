"""The admin in a browser, as an operator uses it."""

import re

import pytest

from organizations.models import Organization
from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

QR = ".sheet [lang=en] svg.qr path"


def issue(page, organization, label="North gate"):
    page.goto("/admin/organizations/bindingcode/add/")
    page.select_option("#id_organization", label=organization)
    page.fill("#id_label", label)
    page.click("input[name=_save]")
    page.wait_for_selector(".sheet")


@pytest.mark.usefixtures("organization")
def test_a_second_click_on_a_button_that_posts_sends_nothing(page, sign_in, alice):
    sign_in(alice)
    page.goto("/admin/devices/site/add/")
    page.select_option("#id_organization", label="Harbour Survey (12345678)")
    page.fill("#id_name", "North")
    held = []
    page.route("**/site/add/", lambda route: held.append(route))
    page.evaluate(
        "for (const at of [0, 200]) setTimeout(() => document.querySelector('input[name=_save]').click(), at)"
    )
    page.wait_for_timeout(600)
    assert len(held) == 1
    held[0].continue_()
    page.wait_for_selector(".messagelist .success")


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_qr_code_is_black_on_white_in_both_modes(page, sign_in, alice, scheme):
    page.emulate_media(color_scheme=scheme)
    sign_in(alice)
    issue(page, "Harbour Survey (12345678)")
    box = page.locator(QR).bounding_box()
    assert box["width"] > 100
    fill = "element => getComputedStyle(element).fill"
    assert page.eval_on_selector(QR, fill) == "rgb(0, 0, 0)"
    assert page.eval_on_selector(".sheet svg.qr rect", fill) == "rgb(255, 255, 255)"


@pytest.mark.usefixtures("organization")
def test_print_prints_the_sheet_alone(page, sign_in, alice):
    page.add_init_script("window.print = () => { window.printed = true; }")
    sign_in(alice)
    issue(page, "Harbour Survey (12345678)")
    page.click("[data-print]")
    assert page.evaluate("window.printed") is True
    page.emulate_media(media="print")
    assert page.is_visible(".sheet")
    for chrome in ("#header", "#nav-sidebar", ".messagelist", "[data-print]"):
        assert not page.is_visible(chrome)


def test_a_sheet_is_printed_in_the_language_of_the_technician(page, sign_in, alice, organization):
    Organization.objects.update(time_zone="Asia/Shanghai")
    sign_in(alice)
    issue(page, "Harbour Survey (12345678)")
    assert "Connect a dock to Harbour Survey" in page.inner_text(".sheet")
    [code] = re.findall(r"Device binding code\s+(\S+)", page.inner_text(".sheet"))
    page.get_by_label("简体中文").check()
    page.emulate_media(media="print")
    text = page.inner_text(".sheet")
    assert "Connect a dock" not in text
    assert re.search(rf"设备绑定码\s+Device binding code\s+{code}", text)
    assert re.search(r"有效期至 \d{4}-\d\d-\d\d \d\d:\d\d UTC\+8", text)
    assert "绑定失败（210231） Binding failed (210231)" in text


@pytest.mark.usefixtures("dock")
def test_the_dashboard_fits_a_phone(page, sign_in, alice):
    sign_in(alice)
    page.goto("/admin/")
    assert page.is_visible(".bridge-banner")
    assert too_wide(page, 390) == []


def test_a_wide_screen_is_used_and_a_form_stays_together(page, sign_in, staff, alice, organization, code):
    page.set_viewport_size({"width": 1920, "height": 1000})
    sign_in(staff)
    page.goto(f"/admin/organizations/organization/{organization.pk}/change/")
    members, codes = (page.locator(f".field-{name}").bounding_box() for name in ("members", "binding_codes"))
    assert codes["x"] > members["x"] + 800
    assert codes["y"] == members["y"]
    page.goto(f"/admin/auth/user/{alice.pk}/change/")
    assert page.locator(".deletelink").bounding_box()["x"] < 1400


@pytest.mark.usefixtures("bob")
def test_lists_and_forms_break_no_policy(page, sign_in, staff, code):
    sign_in(staff)
    for path in (
        "organizations/organization/",
        "organizations/bindingcode/",
        f"organizations/bindingcode/{code[0].pk}/change/",
        "organizations/invitation/add/",
        "organizations/auditevent/",
        "auth/user/add/",
    ):
        page.goto(f"/admin/{path}")
        assert page.is_visible("#content")


def test_an_inline_script_would_be_reported(page, sign_in, alice, complaints):
    sign_in(alice)
    page.goto("/admin/")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.x = 1'}))"
    )
    assert page.evaluate("window.x") is None
    complaints.want(".*Content Security Policy")


def pasted(page):
    """What the keyboard pastes."""
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").last.press("Control+V")
    return page.locator("textarea").last.input_value()


@pytest.mark.usefixtures("organization")
def test_a_new_api_key_is_copied_with_the_line_to_try_it(page, sign_in, alice):
    sign_in(alice)
    page.goto("/admin/organizations/organizationapikey/add/")
    page.fill("#id_name", "ERP")
    page.click("input[name=_save]")
    page.click("[data-copy=key] >> text=Copy")
    page.wait_for_selector("[data-copy=key] >> text=Copied")
    key = pasted(page)
    assert key == page.inner_text("#key")
    page.click("[data-copy=try] >> text=Copy")
    page.wait_for_selector("[data-copy=try] >> text=Copied")
    assert f"Authorization: Api-Key {key}" in pasted(page)
    assert too_wide(page, 1280, 390) == []


@pytest.mark.usefixtures("organization")
def test_a_docks_secret_is_asked_for_shown_saved_and_gone(page, sign_in, alice, dock, settings):
    settings.MQTT_AUTH_SECRET, settings.DOCK_MQTT_URL = "s" * 50, "ssl://mqtt.example.org:8883"
    sign_in(alice)
    page.goto(f"/admin/devices/device/{dock.pk}/change/")
    page.click("text=Give it its own account")
    page.click("input[value='Issue and show']")
    [secret] = re.findall(r"MQTT password\s+((?:[a-z]{5}\s*){6})", page.inner_text(".sheet"))
    secret = re.sub(r"\s", "", secret)
    with page.expect_download() as download:
        page.click("text=Save as CSV")
    assert f"DOCK0001,DOCK0001,{secret}," in download.value.path().read_text()
    assert too_wide(page, 1280, 390) == []
    page.click("text=Done")
    page.wait_for_selector("#connection >> text=not used yet")
    assert secret not in page.content()
