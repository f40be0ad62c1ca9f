"""The lists of every day at 390 px: each row is a card that shows all of itself, below a header of three lines."""

import pytest

from tests.world import *  # noqa: F403  (the fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LISTS = (
    "devices/device", "devices/servicecall", "licenses/unlocklicense", "devices/servicecallbatch",
    "devices/dockconnection", "mqtt_bridge/exchange",
)  # fmt: skip
OUTSIDE = """() => [document.documentElement.scrollWidth,
  ...[...document.querySelectorAll(".results, .results *")].map((part) => part.getBoundingClientRect().right)]
  .filter((right) => right > 390).length"""
OF_A_CELL = "document.querySelector('#result_list .field-owner, #result_list .field-method')"
NAME = f"getComputedStyle({OF_A_CELL}, '::before').content"


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("language", "names"), [("en", ("Organization", "Method")), ("zh-CN", ("组织", "方法"))])
def test_no_row_of_a_list_goes_beyond_the_screen(page, sign_in, alice, language, names):
    page.set_viewport_size({"width": 390, "height": 844})
    page.set_extra_http_headers({"Accept-Language": language})
    sign_in(alice)
    for place in LISTS:
        page.goto(f"/admin/{place}/")
        assert page.locator("#result_list tbody tr").count() > 0, place
        assert page.evaluate(OUTSIDE) == 0, place
        assert page.locator("#header").bounding_box()["height"] < 130, place
        if place in ("devices/device", "mqtt_bridge/exchange"):
            assert page.evaluate(NAME).strip('"') in names, place
