"""The pictures of the guide, in each of its languages, from a demo that has just started.

    MQTT_AUTH_SECRET=a-secret-of-the-demo-alone-0123456789-0123456789 DOCK_MQTT_URL=ssl://docks.example.com:8883 \
        DOCK_ENROLMENT_URL=ssl://docks.example.com:8884 make demo ARGS="--docks 6 --data /tmp/pictures"
    python -m tests.browser.pictures http://127.0.0.1:8000 [NAME ...]
"""

import os
import re
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from cloudapi.embedded import programs

FOLDER = Path(__file__).parents[2] / "docs/images"
PLACES = {"": ("en-GB", "Europe/Berlin"), ".zh": ("zh-CN", "Asia/Shanghai")}
DOCK = "/admin/devices/device/?q=DEMODOCK00001"


def dock(page: Page) -> None:
    page.goto(DOCK)
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_url("**/change/**")


def connections(page: Page) -> None:
    """Two docks have an account of their own, at the latest after the first language."""
    page.goto("/admin/devices/dockconnection/")
    for row in page.locator("#result_list .action-select").all()[1:3]:
        row.check()
    page.select_option("select[name=action]", "issue_credentials")
    with page.expect_navigation():
        page.click("button[name=index]")
    if page.locator("form[action*=credentials]").count():
        page.click("form[action*=credentials] [type=submit]")
        page.wait_for_selector(".sheet")
    page.goto("/admin/devices/dockconnection/")


def sheet(page: Page) -> None:
    page.goto("/admin/organizations/organization/1/change/")
    page.fill("#id_time_zone", "Asia/Shanghai")
    page.click("[name=_continue]")
    page.goto("/admin/organizations/bindingcode/add/?organization=1&label=Pier 7")
    page.click("[name=_save]")
    page.wait_for_selector(".sheet")


def commands(page: Page) -> None:
    """The licenses are read, for the map; DJI wants a verification code of this account."""
    dock(page)
    page.goto(re.sub("/change/.*", "/commands/", page.url))
    for name in ("read-dock", "read-aircraft"):
        page.click(f"#command-{name} button")
        page.wait_for_timeout(3000)
    page.eval_on_selector("#details-login", "details => { details.open = true; }")
    page.fill("#details-login [name=username]", "pilot@example.org")
    page.fill("#details-login [name=password]", "a password")
    page.click("#details-login [type=submit]")
    page.wait_for_timeout(4000)
    page.reload()


def batch(page: Page) -> None:
    page.goto("/admin/devices/device/")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "read_dock_selected")
    page.click("button[name=index]")
    page.wait_for_selector(".batch-form")


PICTURES = {
    "sheet": (sheet, 860),
    "device": (dock, 800),
    "connections": (connections, 800),
    "commands": (commands, 900),
    "batch": (batch, 760),
    "map": (lambda page: page.goto("/admin/licenses/unlocklicense/map/?device__sn=DEMODOCK00001"), 900),
    "fleet": (lambda page: page.goto("/admin/devices/device/map/"), 800),
    "start": (lambda page: page.goto("/admin/"), 800),  # last: it shows what the others left
}


def take(address: str, names: list[str]) -> None:
    chromium = programs.find("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium.path),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            env=os.environ | chromium.env,
        )
        for ending, (locale, zone) in PLACES.items():
            page = browser.new_page(base_url=address, locale=locale, timezone_id=zone)
            page.goto("/admin/login/")
            page.fill("#id_username", "admin")
            page.fill("#id_password", "demo-demo")
            page.click("[type=submit]")
            page.wait_for_selector("#logout-form")
            for name in names or PICTURES:
                show, height = PICTURES[name]
                page.set_viewport_size({"width": 1280, "height": height})
                show(page)
                page.wait_for_timeout(2000)  # what follows by itself has arrived
                page.screenshot(path=FOLDER / f"{name}{ending}.png")


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2:])
