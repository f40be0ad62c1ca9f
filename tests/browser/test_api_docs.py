"""The pages of the REST API in Chromium: offline, under the site's content security policy."""

import pytest

pytestmark = pytest.mark.browser


@pytest.mark.django_db(transaction=True)
def test_an_integrator_reads_an_operation_and_tries_it_with_a_session(page, sign_in, alice, dock):
    sign_in(alice)
    page.goto("/api/docs/")
    page.click("#operations-devices-devices_list")
    page.click("#operations-devices-devices_list .try-out__btn")
    page.click("#operations-devices-devices_list .execute")
    page.wait_for_selector(f"#operations-devices-devices_list .response-col_description :text('{dock.sn}')")
