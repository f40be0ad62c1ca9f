"""The search of everything, as an operator uses it with the keyboard alone."""

import pytest

from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_key_opens_the_search_and_arrow_keys_walk_through_what_it_finds(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto("/admin/search/")
    page.locator("h1").click()  # away from any field
    page.keyboard.press("/")
    page.keyboard.type("ck00/")  # in a field it is a letter
    assert page.locator(".search-box input[type=search]").first.input_value() == "ck00/"
    page.keyboard.press("Backspace")
    page.wait_for_selector(".search-found a >> text=Pier 7 (DOCK0001)")
    assert too_wide(page, 1280, 390) == []
    parts = page.locator("#header .search-found :is(a, h2)")
    assert "rgb(255, 255, 255)" not in parts.evaluate_all("all => all.map(part => getComputedStyle(part).color)")
    page.keyboard.press("Escape")
    assert page.locator(".search-found").first.is_hidden()
    page.keyboard.type("0")
    page.wait_for_selector(".search-found:visible")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/admin/devices/device/{dock.pk}/change/")


def test_enter_opens_the_page_of_all_that_is_found(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto("/admin/search/")
    page.keyboard.press("/")
    page.keyboard.type("Pier")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/search/?q=Pier")
    assert page.locator(".module h2").all_inner_texts() == ["Devices"]
