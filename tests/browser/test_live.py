"""The browser's module that follows a WebSocket, in Chromium, under the site's content security policy."""

import signal

import pytest
from django.test import Client

from devices.live import broadcast
from devices.models import Device
from tests.devices.calls.cases import advance, make_call
from tests.web import running_web

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

UNREACHABLE = "WebSocket connection to "
FOLLOW = """
async (path) => {
  const { connect } = await import("/static/devices/live.js");
  window.log = [];
  window.states = [];
  window.follower = connect({
    path,
    onSnapshot: (snapshot) => window.log.push(snapshot),
    onFrame: (frame) => window.log.push(frame),
    onState: (state) => window.states.push(state),
  });
}
"""


@pytest.fixture(scope="module")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


class Page:
    """A page of the admin on which the module follows a socket."""

    def __init__(self, page, path):
        self.page = page
        page.goto("/admin/")
        page.evaluate(FOLLOW, path)

    def wait(self, condition):
        # not wait_for_function: that wants `unsafe-eval`, which the policy forbids
        for _ in range(600):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{condition} never came true: {self.states()}, {self.kinds()}")

    def kinds(self):
        return self.page.evaluate("window.log.map((frame) => frame.type)")

    def states(self):
        return self.page.evaluate("window.states.map((state) => state.name)")

    def last(self, name):
        return self.page.evaluate(f"window.{name}.at(-1)")


@pytest.fixture
def client_of_alice(alice):
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def follow(browser, web, client_of_alice, complaints):
    """follow(path) opens a page whose clock may be moved on, signed in as Alice."""
    context = browser.new_context(base_url=f"http://{web.host}")
    cookie = client_of_alice.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": f"http://{web.host}"}])

    def open_page(path):
        page = context.new_page()
        page.clock.install()
        complaints.watch(page)
        return Page(page, path)

    yield open_page
    context.close()


@pytest.fixture
def page(follow, dock):
    page = follow(f"/ws/devices/{dock.sn}/")
    page.wait("window.states.at(-1)?.name === 'live'")
    return page


def test_a_page_shows_a_snapshot_and_then_each_change_under_the_policy(page, dock):
    assert (page.kinds(), page.states()) == (["snapshot"], ["connecting", "live"])
    call = make_call(dock)
    broadcast.tell_calls([call])
    for percent in (10, 90):
        advance(call, status="in_progress", percent=percent)
    page.wait("window.log.length === 4")
    assert page.last("log")["text"] == "The dock works on it: 90 %."


def test_a_gap_is_handed_on_and_fetched_anew(page, dock):
    call = make_call(dock)
    broadcast.tell_calls([call])
    call.version += 1  # of which nobody was told
    advance(call, status="sent")
    page.wait("window.log.length === 4")
    assert page.kinds() == ["snapshot", "service_call", "service_call", "snapshot"]
    assert page.last("log")["service_calls"][0]["version"] == 3


def test_what_is_older_than_what_is_known_is_not_handed_on(page, dock):
    call = make_call(dock)
    broadcast.tell_calls([call])
    advance(call, status="sent")
    call.version = 1
    broadcast.tell_calls([call, call])
    broadcast.tell_account(dock)
    page.wait("window.log.at(-1).type === 'snapshot' && window.log.length > 1")
    assert page.kinds() == ["snapshot", "service_call", "service_call", "account", "snapshot"]


def test_a_hint_brings_a_snapshot_by_itself(page, dock):
    Device.objects.update(callsign="Pier 8")
    broadcast.tell_device([dock])
    page.wait("window.log.at(-1).device?.callsign === 'Pier 8'")
    assert page.kinds() == ["snapshot", "device", "snapshot"]


def test_what_was_lost_is_fetched_within_30_seconds(page, dock):
    make_call(dock)  # of which nobody was told
    page.page.clock.fast_forward(21_000)
    page.wait("window.log.at(-1).service_calls?.length === 1")
    assert set(page.states()) == {"connecting", "live"}


def test_a_restarted_server_is_lost_and_found_with_what_happened_meanwhile(page, web, dock, complaints):
    complaints.allow(UNREACHABLE)
    web.close()
    page.wait("window.states.at(-1).name === 'lost'")
    assert page.last("states")["since"] is not None
    assert not page.last("states")["final"]
    make_call(dock)
    web.start(web.host.rsplit(":", 1)[1])
    page.wait("window.states.at(-1).name === 'live'")
    assert len(page.last("log")["service_calls"]) == 1


def test_a_server_that_hangs_is_not_shown_as_live(page, web, complaints):
    complaints.allow(UNREACHABLE)
    web.process.send_signal(signal.SIGSTOP)
    try:
        page.page.clock.fast_forward(21_000)
        page.page.clock.fast_forward(8_500)
        page.wait("window.states.at(-1).name === 'lost'")
    finally:
        web.process.send_signal(signal.SIGCONT)
    page.page.clock.fast_forward(20_000)
    page.wait("window.states.at(-1).name === 'live'")


def test_who_signs_out_elsewhere_is_told_so_and_left_alone(page, client_of_alice, complaints):
    client_of_alice.logout()
    page.wait("window.states.at(-1).final")
    assert "signed out" in page.last("states")["reason"]
    told = page.states()
    complaints.allow(".*/admin/(bridge/)? net::ERR_FAILED")  # what the page fetches anew is sent to the sign-in
    page.page.clock.fast_forward(60_000)
    assert page.states() == told


def test_a_page_about_nothing_says_so(follow):
    page = follow("/ws/devices/UNKNOWN/")
    page.wait("window.states.at(-1)?.final")
    assert page.states() == ["connecting", "lost"]


def test_a_closed_follower_says_nothing_more(page, dock):
    page.page.evaluate("window.follower.close()")
    advance(make_call(dock))
    page.page.clock.fast_forward(60_000)
    page.page.wait_for_timeout(500)
    assert (page.kinds(), page.states()) == (["snapshot"], ["connecting", "live"])
