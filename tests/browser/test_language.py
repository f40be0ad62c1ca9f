"""A person switches to Chinese, and back."""

import pytest

from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# Whether two letters are drawn by a font: without one, both are the same box.
DRAWN = """letters => {
  const [one, other] = [...letters].map(letter => {
    const canvas = document.createElement("canvas");
    const drawing = canvas.getContext("2d");
    drawing.font = `40px ${getComputedStyle(document.body).fontFamily}`;
    drawing.fillText(letter, 10, 50);
    return canvas.toDataURL();
  });
  return one !== other;
}"""


def test_the_switch_in_the_header_changes_all_pages_and_back(page, live_server, sign_in, alice):
    page.goto(f"{live_server.url}/admin/login/")
    page.click("#branding >> text=简体中文")
    assert page.get_attribute("html", "lang") == "zh-hans"
    sign_in(alice)
    page.goto(f"{live_server.url}/admin/")
    assert page.evaluate("gettext('Choose') !== 'Choose'")
    assert page.evaluate(DRAWN, "机场")
    assert too_wide(page, 390, 1280) == []
    page.click("#user-tools >> text=个人设置")
    page.wait_for_selector("#id_time_zone")
    assert too_wide(page, 390, 1280) == []
    page.select_option("#id_time_zone", "Asia/Shanghai")
    page.click("input[type=submit]")
    page.wait_for_selector("text=已保存")
    page.click("#user-tools >> text=English")
    page.wait_for_selector("h1 >> text=Preferences")
    assert page.input_value("#id_time_zone") == "Asia/Shanghai"
