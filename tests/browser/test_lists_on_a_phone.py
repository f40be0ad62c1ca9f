"""At 390 px: each row of a list is a card that shows all of itself; other tables scroll, and say so."""

import pytest

from devices.models import Device
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

FADES = """(table) => ["--more-before", "--more-after"].map((name) => getComputedStyle(table).getPropertyValue(name))"""


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


@pytest.mark.usefixtures("world")
def test_a_table_fades_at_the_edge_that_has_more(page, sign_in, alice):
    sign_in(alice)
    page.goto(f"/admin/devices/device/{Device.objects.get(sn='HARBOURDOCK').pk}/change/")
    table = page.locator("#journal .table-scroll")
    assert table.evaluate(FADES) == ["0px", "0px"]
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"(table) => ({FADES})(table)[1] === '48px'", arg=table.element_handle())
    table.evaluate("(table) => table.scrollTo(1000, 0)")
    page.wait_for_function(f"(table) => ({FADES})(table)[1] === '0px'", arg=table.element_handle())
    assert table.evaluate(FADES) == ["48px", "0px"]
