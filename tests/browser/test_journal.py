"""The journal's list as somebody watches it: it keeps itself current until it is paused."""

import pytest
from django.utils import timezone

from mqtt_bridge.models import Exchange

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
INTERVAL = 5_000  # ms between two refreshes


def receive(method, organization):
    Exchange.objects.create(
        gateway_sn="DOCK0001",
        organization=organization,
        channel="requests",
        method=method,
        received_at=timezone.now(),
        outcome="answered",
    )


def test_new_messages_appear_until_the_list_is_paused_and_again_when_it_goes_on(page, sign_in, bob, organization):
    page.clock.install()
    receive("config", organization)
    sign_in(bob)
    page.goto("/admin/mqtt_bridge/exchange/")
    receive("airport_bind_status", organization)
    page.clock.fast_forward(INTERVAL)
    page.wait_for_selector("#result_list >> text=airport_bind_status")
    page.get_by_role("button", name="Pause").click()
    receive("update_topo", organization)
    page.clock.fast_forward(INTERVAL)
    page.wait_for_timeout(300)
    assert page.locator("#result_list >> text=update_topo").count() == 0
    page.get_by_role("button", name="Pause", pressed=True).click()
    page.wait_for_selector("#result_list >> text=update_topo")
