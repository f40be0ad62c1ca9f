"""A person imports binding codes, which are shown once, and follows a long export. Devices: test_story.py."""

import pytest

from cloudapi.file_jobs import working
from cloudapi.tables import writing
from organizations.models import BindingCode, FileJob
from tests.browser.pages import too_wide

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page_of(new_page, live_server, complaints):
    complaints.allow("WebSocket connection to ", f"{live_server.url}/ws/")
    return lambda user: new_page(live_server.url, user)


def test_codes_are_shown_once_and_saved_as_a_file(page_of, alice, tmp_path):
    page = page_of(alice)
    page.goto("/admin/organizations/bindingcode/import/")
    page.set_input_files("#id_file", {"name": "codes.csv", "mimeType": "text/csv", "buffer": b"label\nNorth\nSouth\n"})
    page.click("text=Check the file")
    page.click("text=Carry it out")
    page.wait_for_selector("code.once")
    shown = page.locator("code.once").all_inner_texts()
    assert [code[-4:] for code in shown] == list(BindingCode.objects.order_by("label").values_list("hint", flat=True))
    assert too_wide(page, 390, 1280) == []
    with page.expect_download() as download:
        page.click("text=Save as CSV")
    assert all(code in download.value.path().read_text() for code in shown)


def test_the_page_of_a_long_export_follows_it_and_has_the_file(page_of, alice, dock, aircraft, monkeypatch, settings):
    settings.COMMANDS_AVAILABLE, settings.CELERY_BROKER_URL = True, "memory://"
    monkeypatch.setitem(writing.AT_ONCE, FileJob.Format.CSV, 1)
    page = page_of(alice)
    page.clock.install()
    page.goto("/admin/devices/device/")
    page.click("text=Export CSV")
    assert "waiting" in page.inner_text("#file-job").casefold()
    page.goto("/admin/organizations/filejob/")
    working.work_off()
    page.clock.run_for(6_000)
    page.wait_for_selector("text=2 of 2 rows")
    page.click("text=Export: Devices (CSV)")
    assert too_wide(page, 390, 1280) == []
    with page.expect_download() as download:
        page.click("text=Download")
    assert "DOCK0001" in download.value.path().read_text()
