"""One story through everything, in each language: a new organization gets docks, commands them and hands one on.

Chromium is the operator, the docks are simulated, the rest is real. What is looked for is found by its role and by the
words of the catalogue, so that both languages take the same steps; each page is read for words of the other language.
"""

import csv
import hashlib
import io
import os
import re

import pytest
from django.utils import translation
from playwright.sync_api import TimeoutError

from cloudapi.embedded.servers import Redis
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.licenses import sample
from organizations.credentials import WRONG
from tests.browser.pages import too_wide
from tests.demo import free_port
from tests.fault.load import run_in_loop
from tests.stack import running_stack, wait_for

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # ms that a page may take for anything; a busy machine has more to do than this test
OPTIONS = Options(reply_timeout=3.0, osd_rate=0.2, retry_delay=0.5, backoff=(0.1, 0.5))
ROOT_PASSWORD, PASSWORD = "Harbour-master 1", "Quay-side 9"
DJI_USER, DJI_PASSWORD = "pilot@example.org", "canary-Tr0ub4dor"
SETUP = f"""
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("root", password="{ROOT_PASSWORD}")
"""
LIVE = '[data-live-word][data-state="live"]'
# What a person sees or hears of a page: its text, its buttons, and the names of what has no text; not what says itself
# that it is in another language.
SAID = """() => {
  const foreign = [...document.body.querySelectorAll(`[lang]:not([lang="${document.documentElement.lang}"])`)];
  const seen = foreign.filter((one) => one.checkVisibility());
  for (const one of seen) one.style.setProperty("display", "none", "important");
  const named = [...document.querySelectorAll("[aria-label], [title], [placeholder], input[type=submit]")];
  const names = named.filter((one) => one.checkVisibility()).flatMap(
    (one) => [one.ariaLabel, one.title, one.placeholder, one.matches("input[type=submit]") ? one.value : ""]);
  const said = [document.title, document.body.innerText, ...names].join("\\n");
  for (const one of seen) one.style.removeProperty("display");
  return said;
}"""
OTHER = {"en": re.compile("[\u4e00-\u9fff]"), "zh-hans": re.compile("[a-z]{3}")}
LICENSES = [one["common_fields"]["name"] for one in sample("dock", "aircraft", 0, 0)]
DATA = re.compile(
    "|".join([r"((Dock|Aircraft) )?STORY[\w-]+", "[0-9a-f]{8}-[0-9a-f-]{27}", r"(\w{4}-){2}\w{4}", r"…\w+", *LICENSES])
)
# What reads the same in both languages: products, words of the protocol, addresses.
NAMES = re.compile(
    r"[\w./:-]*_\w+|\w+://\S+|\S+@\S+|\S+\.(py|js|bin|csv)\b|[A-Z]\w+/[A-Z]\w+|\b("
    r"Dock Cloud|DJI( Dock( \d)?)?|Pilot 2|(Matrice|Mavic) \w+|FlySafe|flysafe|License|App (ID|Key)|"
    r"callsign|config|enabled?|name|password|type|username|English|简体中文|Chrome|Linux|Pier|root|Grid|Harbour)\b"
)


class Operator:
    """Chromium as a person who reads one language."""

    def __init__(self, page, language):
        self.page, self.language = page, language
        self.prefix = f"STORY{language[:2].upper()}"  # of all that is called so by the story
        page.set_default_timeout(PATIENCE)

    def say(self, text, *, context=None, **values):
        """A text of the sources as this person reads it."""
        with translation.override(self.language):
            said = translation.pgettext(context, text) if context else translation.gettext(text)
        return said % values if "%(" in said else said.format(**values)

    def go(self, path):
        self.page.goto(path)
        self.read()

    def read(self):
        """Find no word of the other language on this page but in names and data."""
        said = NAMES.sub(" ", DATA.sub(" ", self.page.evaluate(SAID)))
        lines = [line for line in said.splitlines() if OTHER[self.language].search(line)]
        assert not lines, f"{self.page.url}: {lines}"

    def press(self, text, *, role="button", within=None, **values):
        """Click what has exactly this name; of a link, the beginning suffices."""
        name = re.escape(self.say(text, **values))
        (within or self.page).get_by_role(
            role, name=re.compile(f"^{name}{'' if role == 'link' else '$'}")
        ).first.click()

    def follow(self, text, **more):
        """Click what leads to another page, and read that."""
        with self.page.expect_navigation():
            self.press(text, **more)
        self.read()

    def open_device(self, sn):
        """Find a device in the list, and go to its page."""
        self.go(f"/admin/devices/device/?q={sn}&kind=dock")
        with self.page.expect_navigation():
            self.page.locator("#result_list").get_by_role("link", name=sn).first.click()
        self.page.wait_for_selector(LIVE)
        self.read()

    def fill(self, label, value, *, within=None):
        (within or self.page).get_by_label(self.say(label)).first.fill(value)

    def choose(self, label, option):
        self.page.get_by_label(self.say(label)).first.select_option(label=option)

    def see(self, text, *, within="body", **values):
        """Wait for words; if they do not come, say what is there instead."""
        try:
            self.page.locator(within).get_by_text(self.say(text, **values)).first.wait_for()
        except TimeoutError as error:
            raise AssertionError(f"{self.say(text, **values)!r} is not in: {self.page.inner_text('body')}") from error

    def sign_in(self, name, password):
        self.page.locator("#id_username").fill(name)
        self.page.locator("#id_password").fill(password)
        self.follow("Log in")

    def sign_out(self):
        self.page.goto("/admin/help/")  # where nothing is fetched while the session ends
        self.follow("Log out")


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    """Broker, bridge, worker and web server, in processes of their own."""
    port = free_port()
    settings = {"PUBLIC_URL": f"http://127.0.0.1:{port}", "DOCK_MQTT_URL": "ssl://mqtt.example.org:8883"}
    folder, template = tmp_path_factory.mktemp("story"), prepared("postgresql")
    with running_stack("postgresql", folder, template=template, redis=Redis(), **settings) as stack:
        stack.start_bridge(wait=False)
        stack.start_worker(wait=False)
        stack.manage("shell", "-v0", "-c", SETUP)
        stack.web = stack.start_web(port=port)
        wait_for(lambda: stack.ready() and stack.served())
        yield stack


@pytest.fixture
def operator(request, browser, stack, complaints):
    """Chromium in the language of the test."""
    language, locale = request.param
    context = browser.new_context(base_url=f"http://{stack.web.host}", locale=locale, accept_downloads=True)
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    complaints.watch(page)
    yield Operator(page, language)
    complaints.is_closing = True
    context.close()


# --- chapters --------------------------------------------------------------------------------------


def make_organization(operator, name, key):
    operator.go("/admin/organizations/organization/add/")
    operator.fill("organization ID", key)
    operator.page.locator("#id_name").fill(name)
    operator.follow("Save")


def invite(operator, name, who):
    """Returns the path of the link."""
    operator.go("/admin/organizations/invitation/add/")
    operator.page.locator("#id_organization").select_option(label=name)
    operator.page.locator("#id_username").fill(who)
    operator.page.locator("#id_role").select_option("manager")
    operator.follow("Save")
    return re.search("/welcome/.*", operator.page.inner_text("#link"))[0]


def issue_code(operator, name):
    """Returns the code for three docks, as the sheet shows it."""
    operator.go("/admin/organizations/bindingcode/add/")
    operator.page.locator("#id_organization").select_option(label=name)
    operator.page.locator("#id_label").fill("A1")
    operator.fill("How many uses", "3")
    operator.follow("Save")
    operator.see("Connect a dock to %(organization)s", organization=name.partition(" (")[0], within=".sheet")
    sheet = operator.page.inner_text(".sheet")
    assert "ssl://mqtt.example.org:8883" in sheet
    return re.search(r"[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}", sheet)[0]


def become_member(operator, link, who):
    operator.sign_out()
    operator.go(link)
    operator.page.locator("#id_new_password1").fill(PASSWORD)
    operator.page.locator("#id_new_password2").fill(PASSWORD)
    operator.follow("Become a member")
    operator.sign_in(who, PASSWORD)


def read_and_switch(operator, dock):
    operator.open_device(dock.sn)
    operator.press("Read licenses in the aircraft")
    operator.page.locator("#licenses-now tbody tr >> nth=6").wait_for()
    assert dock.licenses.imported[0]["common_fields"]["enabled"]
    operator.follow(dock.licenses.imported[0]["common_fields"]["name"], role="link")
    operator.follow("Switch off")
    operator.see("Without it the aircraft may not fly where only this license allows it.")
    operator.follow("Switch off")
    operator.page.locator("#license-now .switched-off").wait_for()
    assert not dock.licenses.imported[0]["common_fields"]["enabled"]


def command_all(operator, action):
    operator.go(f"/admin/devices/device/?q={operator.prefix}&kind=dock")
    operator.page.check("#action-toggle")
    operator.page.locator("select[name=action]").select_option(label=operator.say(action))
    operator.follow("Go")


def send_batch(operator):
    with operator.page.expect_navigation():
        operator.page.locator(".submit-row input[type=submit]").click()
    operator.read()
    operator.page.locator(".batch-legend", has_text=re.compile(rf"{operator.say('succeeded')}\s+3")).wait_for()
    operator.read()


def switch_many(operator, docks):
    command_all(operator, "Read licenses (aircraft)")
    send_batch(operator)
    command_all(operator, "Switch licenses by name…")
    operator.follow("Type", role="link", within=operator.page.locator(".spans"))
    operator.page.get_by_label(operator.say("Country or region")).check()
    operator.follow("Switch on…")
    send_batch(operator)
    assert all(dock.licenses.imported[2]["common_fields"]["enabled"] for dock in docks)


def update_from_a_file(operator, dock):
    content = os.urandom(100_000)
    operator.open_device(dock.sn)
    operator.page.locator("#update-file").set_input_files({"name": "approved.bin", "mimeType": "", "buffer": content})
    operator.follow("Update", within=operator.page.locator(".update-file"))
    operator.see("The file {file} is stored, and the dock is asked to import it.", file="approved.bin")
    title = operator.page.locator(".call-what", has_text=operator.say("Update licenses from a file"))
    operator.page.locator("#commands-calls .call", has=title).locator(".call-good").wait_for()  # one command, not two
    [download] = dock.licenses.downloads
    assert (download.error, download.sha256) == ("", hashlib.sha256(content).hexdigest())


def log_in_to_dji(operator, dock):
    page = operator.page
    for code, state in (("", "verification_required"), (dock.account.code, "logged_in")):
        if not page.locator("#details-login[open]").count():
            page.locator("#details-login summary").click()
        page.locator("#id_login_username").fill(DJI_USER)
        page.locator("#id_login_password").fill(DJI_PASSWORD)
        page.locator("#id_login_verification_code").fill(code)
        page.locator("#command-login button").first.click()
        page.locator(f".account-{state}").wait_for()
        operator.read()
    assert dock.account.username == DJI_USER
    assert DJI_PASSWORD not in page.content()


def hand_on(operator, dock):
    operator.open_device(dock.sn)
    operator.follow("Transfer", role="link")
    operator.choose("To organization", "Grid (87654321)")
    operator.follow("Check")
    operator.follow("Transfer to %(organization)s", organization="Grid")
    operator.see("Transferred to {organization}", organization="Grid")


def export_and_import(operator, dock, file):
    """The file says what the list shows; changed, it says first what it would change."""
    page, before = operator.page, f"Dock {dock.sn}"
    operator.go(f"/admin/devices/device/?q={operator.prefix}&kind=dock")
    with page.expect_download() as download:
        operator.press("Export CSV", role="button")
    text = download.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {before, ""} < {row[operator.say("Callsign")] for row in rows}  # that of the dock that moved on is gone
    file.write_text(text.replace(before, "P8"))
    operator.follow("Import", role="link")
    page.locator("#id_file").set_input_files(file)
    operator.follow("Check the file")
    assert f"{before} → P8" in page.inner_text("table[aria-labelledby=changes]")
    assert too_wide(page, 390, 1280) == []
    operator.go(page.url)
    operator.follow("Carry it out")
    operator.open_device(dock.sn)
    assert page.input_value("#id_callsign") == "P8"


# --- the story -------------------------------------------------------------------------------------


@pytest.mark.turns(2)
@pytest.mark.parametrize("operator", [("en", "en-US"), ("zh-hans", "zh-CN")], indirect=True, ids=["en", "zh"])
def test_from_a_new_organization_to_docks_that_obey_and_move_on(operator, stack, tmp_path):
    name, key, who = (
        f"{operator.prefix} X",
        {"en": "31415926"}.get(operator.language, "27182818"),
        f"{operator.prefix}-dana",
    )
    wrong = {"organization_id": key, "binding_code": "WRNG-WRNG-2345"}
    with stack.fleet(count=3, sn_prefix=operator.prefix, options=OPTIONS, aircraft_on=True, **wrong) as (fleet, loop):
        first, second, _ = fleet.docks
        operator.go("/admin/")
        operator.sign_in("root", ROOT_PASSWORD)
        make_organization(operator, name, key)
        link = invite(operator, f"{name} ({key})", who)
        code = issue_code(operator, f"{name} ({key})")

        operator.open_device(first.sn)
        operator.see(WRONG, within="#onboarding")
        for dock in fleet.docks:
            loop.call_soon_threadsafe(dock.enter_code, key, code)
        run_in_loop(fleet.onboarded(60), loop)
        operator.page.locator("#onboarding .verdict-ok").wait_for()
        operator.read()

        become_member(operator, link, who)
        read_and_switch(operator, first)
        switch_many(operator, fleet.docks)
        update_from_a_file(operator, first)
        log_in_to_dji(operator, first)

        operator.sign_out()
        operator.go("/admin/login/")
        operator.sign_in("root", ROOT_PASSWORD)
        hand_on(operator, second)
        assert stack.bound()[second.sn] == "87654321"
        export_and_import(operator, first, tmp_path / "devices.csv")
