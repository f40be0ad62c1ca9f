"""Chromium against a live server; a page that reports any error fails its test."""

import os
from pathlib import Path

import pytest

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a module."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium, or set CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    # playwright's loop runs in this thread, which Django takes for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def complaints():
    """What the page's console, its scripts, its policy or its requests complained about."""
    return []


@pytest.fixture
def page(browser, live_server, complaints):
    """An empty page that knows the live server; at the end nothing may have complained."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if _is_error(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda answer: complaints.append(answer.url) if _is_refusal(answer) else None)
    page.on("requestfailed", lambda request: complaints.append(request.url) if _is_failure(request) else None)
    yield page
    context.close()
    assert complaints == []


def _is_error(message):
    """Whether the page is to blame: the live server of these tests speaks no WebSocket."""
    return message.type == "error" and "WebSocket connection to" not in message.text


def _is_refusal(response):
    return response.status >= 400 and "/ws/" not in response.url


def _is_failure(request):
    """A request that the next page cut short did not fail."""
    return request.failure != "net::ERR_ABORTED"


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
