"""The guide, as somebody searches it who does not know where to look."""

import pytest

from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_search_keeps_the_parts_with_every_word_and_a_link_shows_the_others_again(page, sign_in, bob):
    sign_in(bob)
    page.goto("/admin/help/")
    titles = page.locator(".help-page nav li:visible")
    everything = titles.count()
    page.get_by_label("Search the guide").fill("enrolment  SHEET")
    assert titles.all_inner_texts() == ["Onboard a dock", "Many docks at once", "Accounts of the broker"]
    assert page.locator(".help-page [role=status]").inner_text() == "3 parts found"
    assert page.locator("article h2:visible").all_inner_texts() == ["Onboard a dock", "Accounts of the broker"]
    page.get_by_label("Search the guide").fill("phone")
    page.goto("/admin/help/#retire-a-device")
    assert titles.count() == everything
    assert page.locator("#retire-a-device").is_visible()
    assert too_wide(page, 1280, 390) == []


def test_a_question_mark_opens_its_part(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto(f"/admin/devices/device/{dock.pk}/change/")
    page.get_by_role("link", name="Help: Onboarding").click()
    page.wait_for_url("**/admin/help/#if-it-does-not-bind")
    assert page.locator("#if-it-does-not-bind").is_visible()
