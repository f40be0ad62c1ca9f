"""Chromium against a live server; a page that reports any error fails its test."""

from collections import defaultdict

import pytest

from cloudapi.embedded import programs
from tests.browser.complaints import Complaints
from tests.browser.pages import session
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


@pytest.fixture(scope="package")
def idle_contexts(browser):
    """Contexts that no test uses now, by their options; they have the static files of their server in their cache."""
    return defaultdict(list)


@pytest.fixture
def new_page(browser, idle_contexts, complaints):
    """new_page(url, user) is an empty page of a server, signed in as this user."""
    in_use = []

    def new_page(url, user=None, *, width=1280, scripts=True):
        idle = idle_contexts[url, scripts]
        context = idle.pop() if idle else browser.new_context(base_url=url, java_script_enabled=scripts)
        in_use.append((context, idle, url))
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        complaints.watch(page)
        if user is not None:
            context.add_cookies([session(user, url)])
        return page

    yield new_page
    complaints.is_closing = True
    for context, idle, url in in_use:
        context.new_cdp_session(context.pages[0]).send(
            "Storage.clearDataForOrigin", {"origin": url, "storageTypes": "cookies,local_storage"}
        )
        context.clear_permissions()
        for page in context.pages:
            page.close()
        idle.append(context)


@pytest.fixture
def page(new_page, live_server, complaints):
    """An empty page that knows the live server, which speaks no WebSocket."""
    complaints.allow("WebSocket connection to ", f"{live_server.url}/ws/")
    return new_page(live_server.url)


@pytest.fixture
def sign_in(page, live_server):
    """Sign in as this user of the cast, but not through the form: `sign_in(alice)`."""
    return lambda user: page.context.add_cookies([session(user, live_server.url)])


@pytest.fixture(scope="package")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    """A server that speaks WebSocket, for all tests of this folder that run on this worker."""
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


@pytest.fixture
def visit(new_page, web):
    """visit(user, path) opens a page of a server that speaks WebSocket, and waits until it is live."""

    def visit(user, path, *, scripts=True, **options):
        page = new_page(f"http://{web.host}", user, scripts=scripts, **options)
        page.goto(path)
        if scripts and page.locator("[data-live-word]").count():
            page.wait_for_selector('[data-live-word][data-state="live"]')
        return page

    return visit
