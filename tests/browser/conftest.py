"""Chromium against a live server; a page that reports any error fails its test."""

import pytest
from django.test import Client

from cloudapi.embedded import programs
from tests.browser.complaints import Complaints
from tests.web import running_web

ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def browser():
    """One Chromium for all tests of this folder that run on this worker."""
    chromium = programs.find("chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with pytest.MonkeyPatch.context() as environment:
        # playwright's loop runs in this thread, which Django takes for asynchronous code.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        for name, value in chromium.env.items():  # its driver passes them on, and needs them, too
            environment.setenv(name, value)
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(chromium.path), args=ARGUMENTS)
            yield browser
            browser.close()


@pytest.fixture
def complaints():
    """What the pages of a test complain about; at the end it must be what the test said that it would be."""
    complaints = Complaints()
    yield complaints
    assert complaints.judge() == []


@pytest.fixture
def page(browser, live_server, complaints):
    """An empty page that knows the live server, which speaks no WebSocket."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints.watch(page)
    complaints.allow("WebSocket connection to ", f"{live_server.url}/ws/")
    yield page
    context.close()


@pytest.fixture
def sign_in(page):
    """Sign in through the form as this user of the cast: `sign_in(alice)`."""

    def sign_in(user):
        page.goto("/admin/login/?next=/admin/")
        page.fill("#id_username", user.username)
        page.fill("#id_password", "right password")
        page.click("input[type=submit]")
        page.wait_for_url("**/admin/")

    return sign_in


@pytest.fixture(scope="package")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    """A server that speaks WebSocket, for all tests of this folder that run on this worker."""
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


@pytest.fixture
def visit(browser, web, complaints):
    """visit(user, path) opens a page of a server that speaks WebSocket, and waits until it is live."""
    contexts = []

    def visit(user, path, *, width=1280, scripts=True):
        client = Client()
        client.force_login(user)
        context = browser.new_context(
            base_url=f"http://{web.host}", viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        contexts.append(context)
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": f"http://{web.host}"}])
        page = context.new_page()
        complaints.watch(page)
        page.goto(path)
        if scripts and page.locator("[data-live-word]").count():
            page.wait_for_selector('[data-live-word][data-state="live"]')
        return page

    yield visit
    for context in contexts:
        context.close()
