"""Commands on real servers with simulated docks: from a click in Chromium to the last frame in its page."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import re
import signal
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import TimeoutError

from cloudapi.embedded import demo_data
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.faults import Faults
from tests.demo import free_port, running_demo
from tests.fault.load import run_in_loop
from tests.stack import Redis, running_stack, wait_for

pytestmark = pytest.mark.browser

USER, PASSWORD = "pilot@example.org", "canary-Tr0ub4dor"
SILENCE = 4  # seconds that a dock may say nothing about a switch
DOCKS = 10  # one for each test that wants one
BATCH = 20
PATIENCE = 60_000  # ms that a page may take for anything; a busy machine has more to do than this test
NEWEST = "#commands-calls .call >> nth=0"
LIVE = '[data-live-word][data-state="live"]'
PERCENTS = [10, 30, 50, 70, 90]
SETUP = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from devices.models import Device, DeviceState
from organizations.models import Membership, Organization

now, keys = timezone.now(), {}
for name, id, role in (
    ("alice", "12345678", "operator"), ("bob", "12345678", "viewer"), ("charlie", "87654321", "manager")
):
    user = get_user_model().objects.create_user(name, is_staff=True)
    Membership.objects.create(user=user, organization=Organization.objects.get(organization_id=id), role=role)
    client = Client()
    client.force_login(user)
    keys[name] = client.cookies["sessionid"].value
harbour = Organization.objects.get(organization_id="12345678")
for sn, is_enabled, seen in (("BATCH90001", True, now - timedelta(days=1)), ("BATCH90002", False, now)):
    dock = Device.objects.create(
        sn=sn, model_key="3-2-0", organization=harbour, bound_at=now, callsign=f"Dock {sn}", is_enabled=is_enabled
    )
    DeviceState.objects.create(device=dock, online=is_enabled is False, last_seen=seen)
print(json.dumps(keys))
"""
# What is in the page now is no proof of what was: `counts` has how many docks of a batch were done, one after another,
# and `isFirst` is gone if the page was loaded again.
WATCH = """
() => {
  window.isFirst = true;
  window.counts = [];
  const look = () => {
    const done = parseInt(document.querySelector(".batch-page [data-sentence]")?.innerText);
    if (done >= 0 && done !== window.counts.at(-1)) window.counts.push(done);
  };
  const everything = { subtree: true, childList: true, attributes: true };
  new MutationObserver(look).observe(document.querySelector("[data-live]"), everything);
}
"""
# Frames come quicker than this line lets the page fetch its parts.
SLOW_LINE = """
const quick = window.fetch;
window.fetch = async (...request) => {
  await new Promise((resume) => setTimeout(resume, 500));
  return quick(...request);
};
"""
# The first thing that a socket is told, or the code with which it is closed.
LISTEN = """
(path) => new Promise((end) => {
  const socket = new WebSocket(path);
  socket.onmessage = (event) => end(event.data);
  socket.onclose = (event) => end(event.code);
})
"""


# --- servers, docks, people ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    """Everything in processes of its own; `stack.web` serves pages, `stack.sessions` are of those signed in."""
    port = free_port()
    settings = {
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SERVICE_SILENCE": str(SILENCE),
        "DOCK_MQTT_URL": "tcp://127.0.0.1:1883",
    }
    folder, template = tmp_path_factory.mktemp("stack"), prepared("postgresql")
    with running_stack("postgresql", folder, template=template, redis=Redis(), **settings) as stack:
        stack.start_bridge(wait=False)
        stack.worker = stack.start_worker(wait=False)
        stack.sessions = json.loads(stack.manage("shell", "-v0", "-c", SETUP))
        stack.web = stack.start_web(port=port)
        wait_for(lambda: stack.ready() and stack.served())
        yield stack


@pytest.fixture(scope="module")
def spare_docks(stack):
    """Docks of Harbour that no test has used yet."""
    options = Options(reply_timeout=3.0, osd_rate=0.2, retry_delay=0.5, backoff=(0.1, 0.5))
    with stack.fleet(count=DOCKS, options=options, aircraft_on=True) as (fleet, loop):
        run_in_loop(fleet.onboarded(30), loop)
        yield list(fleet.docks)


@pytest.fixture
def dock(spare_docks):
    return spare_docks.pop()


@pytest.fixture
def batch_docks(stack):
    """BATCH docks that are online, beside the two that SETUP made."""
    options = Options(reply_timeout=3.0, osd_rate=0.2, retry_delay=0.5, backoff=(0.1, 0.5))
    with stack.fleet(count=BATCH, sn_prefix="BATCH", options=options, aircraft_on=True) as (fleet, loop):
        run_in_loop(fleet.onboarded(30), loop)
        yield fleet.docks


SPOKEN = re.compile("^(?!.*/static/)")  # what of the server is no file


class Visitors:
    """Browsers of people, and everything that the server says to them."""

    def __init__(self, browser, folder, complaints):
        self.browser = browser
        self.folder = folder
        self.contexts = []
        self.complaints = complaints
        self.frames = []

    def open(self, host, session=None, **options):
        """An empty page for who has this session."""
        archive = self.folder / f"{len(self.contexts)}.har"
        context = self.browser.new_context(
            base_url=f"http://{host}",
            **({"viewport": {"width": 1280, "height": 900}} | options),
            record_har_path=archive,
            record_har_content="embed",
            record_har_url_filter=SPOKEN,
        )
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        if session:
            context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://{host}"}])
        page = context.new_page()
        self.complaints.watch(page)
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: self.frames.append(str(frame))))
        return page

    def close(self):
        """Close all pages; returns the bodies of all answers they got."""
        self.complaints.is_closing = True
        while self.contexts:
            self.contexts.pop().close()
        return "\n".join(text for archive in self.folder.glob("*.har") for text in bodies(archive))


def bodies(archive):
    """The bodies of the answers in an HTTP archive."""
    for entry in json.loads(archive.read_text())["log"]["entries"]:
        content = entry["response"]["content"]
        text = content.get("text", "")
        yield base64.b64decode(text).decode(errors="replace") if content.get("encoding") == "base64" else text


@pytest.fixture
def visitors(browser, tmp_path, complaints):
    """At the end no page may have been told the password."""
    visitors = Visitors(browser, tmp_path, complaints)
    yield visitors
    said = visitors.close()
    assert PASSWORD not in said + "\n".join(visitors.frames)


@pytest.fixture
def visit(stack, visitors):
    """visit("alice", path) opens a page and waits until it is live, if it can be."""

    def visit(user, path, **options):
        page = visitors.open(stack.web.host, stack.sessions[user], **options)
        page.goto(path)
        if page.locator("[data-live]").count():
            page.wait_for_selector(LIVE)
            page.evaluate(WATCH)
        return page

    return visit


@pytest.fixture
def page(visit, stack, dock):
    """The dock's page, before Alice, who is an operator."""
    return visit("alice", page_of(stack, dock))


def page_of(stack, dock):
    [(key,)] = stack.rows(f"SELECT id FROM devices_device WHERE sn = '{dock.sn}'")
    return f"/admin/devices/device/{key}/change/"


def wait(page, text, *, where=NEWEST):
    """Wait for words; if they do not come, say what is there instead."""
    try:
        page.wait_for_selector(f"{where} >> text={text}")
    except TimeoutError as error:
        raise AssertionError(f"{text!r} is not in: {page.inner_text('#content')}") from error


def row(label):
    """The call with this label, wherever it stands: a switch and an update are followed by lists of their own."""
    return f"#commands-calls .call:has-text('{label}')"


def was_never_loaded_again(page):
    return page.evaluate("window.isFirst") is True


class Held(Faults):
    """A dock that answers nothing until the test lets it."""

    def __init__(self, names, let):
        super().__init__(names)
        self._let = let

    async def deliver(self, dock, command, answer):
        await asyncio.to_thread(self._let.wait, PATIENCE / 1000)
        await super().deliver(dock, command, answer)


class StepByStep(Faults):
    """A dock that reports each step of a login or logout when the test wants it: a slow page misses none."""

    def __init__(self):
        super().__init__([])
        self._wanted = threading.Semaphore(0)

    async def _send_events(self, dock, command, answer):
        for event in answer.events:
            await asyncio.to_thread(self._wanted.acquire, timeout=PATIENCE / 1000)
            await super()._send_events(dock, command, dataclasses.replace(answer, events=[event]))

    def rise(self, *pages):
        """Go to the end; every page must show every step on its way there."""
        for percent in PERCENTS:
            self._wanted.release()
            for page in pages:
                page.wait_for_selector(f".call progress[value='{percent}']")
        self._wanted.release()


def log_in(page, code=""):
    if not page.locator("#details-login[open]").count():
        page.click("#details-login summary")
    page.fill("#id_login_username", USER)
    page.fill("#id_login_password", PASSWORD)
    page.fill("#id_login_verification_code", code)
    page.click("#command-login button")


# --- every service -------------------------------------------------------------------------------


def test_the_newest_licenses_are_imported(page, dock):
    assert not dock.licenses.consistence
    page.click("#command-update button")
    wait(page, "Done.", where=row("Update licenses (newest)"))
    assert dock.licenses.consistence
    assert was_never_loaded_again(page)


def test_a_login_with_a_verification_code_and_a_logout(page, dock, visitors):
    log_in(page)
    wait(page, "verification required", where="#commands-account")
    link = page.locator("#commands-account a")
    assert link.get_attribute("href") == dock.account.verification_code_url
    assert link.get_attribute("rel") == "noopener noreferrer"
    wait(page, "Failed: DJI wants a verification code.")
    assert page.input_value("#id_login_password") == ""
    dock.faults = StepByStep()
    log_in(page, dock.account.code)
    dock.faults.rise(page)
    page.wait_for_selector(".account-logged_in")
    wait(page, "Done.")
    assert dock.account.username == USER
    page.click("#command-logout button")
    dock.faults.rise(page)
    page.wait_for_selector(".account-logged_out")
    assert dock.account.username == ""
    assert was_never_loaded_again(page)
    # What is no secret is found, so the search for the password, at the end of each test, works.
    assert USER in visitors.close()
    assert any(USER in frame for frame in visitors.frames)


# --- what goes wrong -----------------------------------------------------------------------------


def test_the_reason_of_a_refusal_is_shown_in_plain_words(page, dock):
    dock.aircraft_on = False
    page.click("#command-read-aircraft button")
    wait(page, "Failed: the aircraft is not connected (325012).")
    dock.faults = Faults(["rejected"])
    page.click("#command-logout button")
    wait(page, "Refused by the dock: the dock gives no reason.")
    assert was_never_loaded_again(page)


def test_a_dock_that_does_not_answer_is_given_up_and_asked_again(page, dock):
    dock.faults = Faults(["silent"])
    for end in ("no answer", "succeeded"):
        page.click("#details-switch summary")
        page.fill("#id_switch_license_id", str(dock.licenses.imported[0]["common_fields"]["license_id"]))
        page.select_option("#id_switch_enable", "on")
        page.click("#command-switch button")
        wait(page, end, where=row("Switch license"))
        dock.faults = Faults()
    wait(page, "whether it was done is unknown", where="#commands-calls")
    assert was_never_loaded_again(page)


# --- who sees what -------------------------------------------------------------------------------


def without_ages(text):
    return re.sub(r"\d+ (s|min) ago", "", text)


def test_two_operators_and_a_viewer_see_the_same_and_the_viewer_has_no_buttons(visit, stack, dock, page):
    other, viewer = (visit(user, page_of(stack, dock)) for user in ("alice", "bob"))
    dock.account.asks_for_code = False
    dock.faults = StepByStep()
    log_in(page)
    dock.faults.rise(page, other, viewer)
    for one in (page, other, viewer):
        one.wait_for_selector(".account-logged_in")
        wait(one, "Done.")
    assert without_ages(other.inner_text("#commands-calls")) == without_ages(viewer.inner_text("#commands-calls"))
    assert viewer.locator("#commands button").count() == 0
    assert page.locator("#commands button").count() > 0


def test_somebody_of_another_organization_gets_nothing(visit, visitors, complaints, stack, dock):
    call = stack.issue(dock.sn, "unlock_license_list", {"device_model_domain": 3})["id"]
    stranger = visit("charlie", "/admin/")
    page = page_of(stack, dock)
    commands = page.replace("/change/", "/commands/")
    complaints.want(f"{re.escape(f'http://{stack.web.host}{commands}')}$")  # a 404; from the others he is led away
    for path in (page, f"/admin/devices/servicecall/{call}/change/", commands):
        stranger.goto(path)
        assert dock.sn not in stranger.content().replace(path, "")
    assert stranger.evaluate(LISTEN, f"ws://{stack.web.host}/ws/devices/{dock.sn}/") == 4404
    assert dock.sn not in "".join(visitors.frames)


# --- many docks ----------------------------------------------------------------------------------


def choose_batch(page):
    """Choose all docks of the list, and what they are asked for."""
    page.goto("/admin/devices/device/?q=BATCH&kind=dock")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "read_dock_selected")
    page.click("button[name=index]")


def test_a_batch_tells_who_is_skipped_and_is_followed_to_its_end(visit, batch_docks):
    let = threading.Event()
    for place, dock in enumerate(batch_docks[1:]):
        dock.faults = Held([f"slow:{0.5 + place * 0.2}"], let)
    page = visit("alice", "/admin/")
    page.add_init_script(SLOW_LINE)
    choose_batch(page)
    forecast = page.inner_text(".batch-form")
    assert f"{BATCH} docks will get it" in forecast
    assert "1 is offline" in forecast
    assert "1: This dock is disabled." in forecast
    page.click(".submit-row input[type=submit]")
    page.wait_for_selector(LIVE)
    page.evaluate(WATCH)
    wait(page, f"1 of {BATCH} done", where=".batch-page")
    let.set()
    wait(page, f"{BATCH} of {BATCH} done; 2 skipped", where=".batch-page")
    counts = page.evaluate("window.counts")
    assert counts == sorted(counts)
    skipped = page.inner_text("[aria-label='Skipped docks']")
    assert "1: This dock is offline." in skipped
    assert "1: This dock is disabled." in skipped
    assert was_never_loaded_again(page)


@contextlib.contextmanager
def absent(worker):
    """The worker takes nothing meanwhile, and goes on where it was."""
    os.killpg(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(worker.pid, signal.SIGCONT)


def test_stop_calls_off_what_no_worker_has_sent(visit, stack, batch_docks):
    page = visit("alice", "/admin/")
    choose_batch(page)
    with absent(stack.worker):
        page.click(".submit-row input[type=submit]")
        page.wait_for_selector(f"text=0 of {BATCH} done, {BATCH} open")
        page.click(f"text=Stop: cancel the {BATCH} not sent yet")
        page.wait_for_selector(f"text=0 of {BATCH} done, {BATCH} did not succeed; 2 skipped")
    assert page.inner_text(".batch-legend") == f"canceled {BATCH}"
    behind = stack.issue(batch_docks[0].sn, "unlock_license_list", {"device_model_domain": 3})
    stack.ended(behind["id"])
    ledger = batch_docks[0].ledger
    assert len(ledger.commands()) == 1


# --- the page itself -----------------------------------------------------------------------------


def test_a_page_without_its_server_says_so_and_comes_back_with_what_happened(page, stack, dock, complaints):
    complaints.allow(".*ERR_")
    stack.web.process.kill()
    stack.web.process.wait()
    page.wait_for_selector('[data-live-word][data-state="lost"]')
    assert re.match(r"(not live|not updated) since .*the server does not answer", page.inner_text("[data-live-word]"))
    call = stack.issue(dock.sn, "unlock_license_list", {"device_model_domain": 3})["id"]
    assert stack.ended(call) == "succeeded"
    assert not page.locator(NEWEST).count()
    stack.web.start(stack.web.host.rsplit(":", 1)[1])
    wait(page, "Done: 8 licenses.")
    page.wait_for_selector(f'{LIVE} >> text="live"')
    assert was_never_loaded_again(page)


def test_what_is_being_typed_survives_what_happens_meanwhile(page, stack, dock):
    page.fill("#id_callsign", "half a na")
    page.click("#details-switch summary")
    page.select_option("#id_switch_enable", "off")
    page.click("#details-login summary")
    page.fill("#id_login_password", "half a pass")
    page.type("#id_login_username", "half a us")
    stack.issue(dock.sn, "unlock_license_list", {"device_model_domain": 3})
    wait(page, "Done: 8 licenses.")
    page.keyboard.type("er")
    assert page.input_value("#id_login_username") == "half a user"
    assert page.input_value("#id_login_password") == "half a pass"
    assert page.input_value("#id_switch_enable") == "off"
    assert page.input_value("#id_callsign") == "half a na"


# --- the demo ------------------------------------------------------------------------------------


@pytest.mark.turns(2)
def test_the_demo_logs_a_dock_in(visitors, migrated, tmp_path):
    with running_demo(tmp_path / "demo", migrated("sqlite")) as host:
        page = visitors.open(host)
        page.goto("/admin/login/?next=/admin/devices/device/%3Fq=DEMODOCK00001%26kind=dock")
        page.fill("#id_username", "alice")
        page.fill("#id_password", demo_data.PASSWORD)
        page.click("input[type=submit]")
        page.click("#result_list a:has-text('DEMODOCK00001')")
        page.wait_for_selector(LIVE)
        page.evaluate(WATCH)
        log_in(page)
        page.wait_for_selector("#commands-account a[href^='https://']")
        log_in(page, "123456")
        page.wait_for_selector(".account-logged_in")
        assert was_never_loaded_again(page)
        visitors.close()


# --- in Chinese ----------------------------------------------------------------------------------

# Every sentence and state that the page shows on the way, and what it reads out.
SAID = """
() => {
  window.said = new Set();
  const look = () => {
    for (const part of document.querySelectorAll("[data-text], [data-state], [data-announce], [data-live-word]")) {
      window.said.add(part.innerText);
    }
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}
"""
# Serial numbers, DJI's names of methods, products and things, and the names that people gave.
DATA = re.compile(r"\b(\w*[\d_]\w*|DJI|Dock|Matrice|Aircraft|License|Pilot|MQTT|ID|SN|UTC|config|alice|Harbour)\b")


def test_a_page_in_chinese_never_shows_the_english_of_a_frame(stack, visit, dock):
    page = visit("alice", page_of(stack, dock), locale="zh-CN", timezone_id="Asia/Shanghai")
    page.reload()  # by now the server knows the browser's time zone
    page.wait_for_selector(LIVE)
    page.evaluate(SAID)
    dock.faults = StepByStep()
    page.click("#command-logout button")
    dock.faults.rise(page)
    wait(page, "已完成。")
    page.wait_for_selector("[data-refreshed] >> text=更新于")
    hour = datetime.now(ZoneInfo("Asia/Shanghai")).hour
    assert int(re.search(r"(\d+):\d\d:\d\d UTC\+8", page.inner_text("[data-refreshed]"))[1]) in (hour, (hour - 1) % 24)
    said = [*page.evaluate("[...said]"), page.inner_text("#commands"), page.inner_text(".device-panels >> nth=0")]
    assert "机场正在执行：30 %。" in said
    assert re.findall("[A-Za-z]{2,}", DATA.sub("", "\n".join(said))) == []
