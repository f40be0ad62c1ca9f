"""What scripts say, with each translation in brackets, theirs and the server's: all else that is shown must be data."""

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceState
from mqtt_bridge.models import Heartbeat
from tests.licenses.lists import SEVEN, store
from tests.organizations.language.test_marking import WORD
from tests.organizations.language.test_pages import bracketed, data, unmarked  # noqa: F401  (a fixture)
from tests.world import *  # noqa: F403  (the fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
INTERVAL = 5_000  # ms between two refreshes
# Appended to the catalogue of scripts; values that are put into a text are outside of the brackets.
BRACKETS = """
for (const name of ["gettext", "ngettext", "pgettext", "npgettext"]) {
  const translate = window[name];
  const isValue = /^(%\\(\\w+\\)s|%s|\\{\\w+\\})$/;
  window[name] = (...given) => translate(...given).split(/(%\\(\\w+\\)s|%s|\\{\\w+\\})/)
    .map((part) => (part && !isValue.test(part) ? `⟦${part}⟧` : part)).join("");
}
"""

SEEN = """() => {
  const page = document.documentElement.cloneNode(true);
  for (const hidden of page.querySelectorAll(".hidden")) hidden.remove();
  return page.outerHTML;
}"""
OTHERS = re.compile(r"\d (AM|PM)|China|HARBOUR")  # the browser's time, a country of Unicode's list, what is typed


class Crawl:
    """Opens pages, and collects the words on them that are neither in brackets nor data."""

    def __init__(self, page):
        self.page, self.known = page, data()
        self.found, self.sockets = [], []
        page.route_web_socket("**/ws/**", lambda socket: self.sockets.append(socket))
        page.route("**/admin/jsi18n/**", self._bracket)

    def _bracket(self, route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + BRACKETS)

    def open(self, address):
        self.page.goto(f"/admin/{address}")

    def read(self, place, text=""):
        """Wait until something is there, and says this; then read all that is shown."""
        self.page.locator(place, has_text=text).first.wait_for()
        words = [OTHERS.sub(" ", text) for text in unmarked(self.page.evaluate(SEEN), self.known)]
        self.found += [f"{self.page.url} {text}" for text in words if WORD.search(text)]


@pytest.fixture
def crawl(page, sign_in, staff, world, bracketed):  # noqa: F811
    """The world's docks are online and have a place; the page's clock can be moved on."""
    now = timezone.now()
    DeviceState.objects.update(online=True, last_seen=now, latitude=22.58, longitude=113.93)
    Heartbeat.objects.update(beat_at=now + timedelta(hours=1))
    store(Device.objects.get(sn="HARBOURDOCK"), SEVEN)
    page.clock.install()
    sign_in(staff)
    return Crawl(page)


def follow_a_dock(crawl, dock):
    crawl.open(f"devices/device/{dock.pk}/change/")
    crawl.read("[data-live-word]", "⟦connecting…⟧")
    crawl.sockets[-1].send(json.dumps({"type": "snapshot", "is_complete": True, "service_calls": []}))
    crawl.read("[data-live-word]", "⟦live⟧")
    crawl.sockets[-1].close(code=4401)
    crawl.read("[data-live-word]", "⟦not live since")
    crawl.page.route("**/commands/?fragment*", lambda route: route.abort())
    crawl.page.click("#command-read-dock button")
    crawl.read("[data-live-word]", "⟦it is unknown whether")


def test_scripts_say_only_what_is_translated(crawl, complaints):
    complaints.allow(".*/commands/.fragment=? net::ERR_FAILED")
    page, dock = crawl.page, Device.objects.get(sn="HARBOURDOCK")
    crawl.open("devices/device/")
    page.clock.fast_forward(INTERVAL)
    crawl.read("[data-refreshed]", "⟦Updated")
    page.check("#action-toggle")
    crawl.read(".action-counter", "⟦")
    page.focus(".search-box input[type=search]")
    page.keyboard.type("HARBOUR")
    page.clock.fast_forward(1_000)
    crawl.read(".search-found a")

    follow_a_dock(crawl, dock)

    crawl.open("organizations/organizationapikey/add/")
    page.fill("#id_name", "HARBOUR")
    page.select_option("#id_organization", str(dock.organization_id))
    page.click("input[name=_save]")
    page.wait_for_selector("[data-copy=key]")
    page.wait_for_load_state()  # its script has begun
    page.click("[data-copy=key]")
    crawl.read("[data-copy=key]", re.compile("⟦(Copied|Selected)⟧"))  # a browser may forbid to copy

    crawl.open("organizations/bindingcode/add/")
    page.click(".datetimeshortcuts a >> nth=1")
    crawl.read(".calendarbox caption")
    page.click(".datetimeshortcuts a >> nth=3")
    crawl.read(".clockbox a")

    crawl.open("licenses/unlocklicense/map/")
    page.click(".map-entry button >> nth=0")
    crawl.read(".leaflet-popup")

    crawl.open("devices/device/map/")
    page.locator(".leaflet-marker-icon").first.click()
    crawl.read(".leaflet-popup")
    assert crawl.found == []
