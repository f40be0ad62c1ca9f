"""The admin by its keys alone: everything is reached, one sees where one is, and what is chosen happens."""

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.models import ServiceCall
from mqtt_bridge.models import Heartbeat

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# What is shown and may be used, and what only a mouse could click.
READ = """() => {
  const isShown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
  const all = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]');
  const isLeft = (one) => one.type === 'radio' || one.type === 'hidden' || one.disabled;  // of radios Tab takes one
  window.left = new Set([...all].filter((one) => isShown(one) && !isLeft(one)));
  const isClicked = (one) => getComputedStyle(one).cursor === 'pointer' && isShown(one);
  const usable = 'a, button, input, select, label, summary, option, [tabindex="0"]';
  return [...document.querySelectorAll('body *')].filter((one) => isClicked(one) && !one.closest(usable))
    .map((one) => one.outerHTML.slice(0, 80));
}"""
STEP = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  window.left.delete(one);
  const style = getComputedStyle(one);
  const isMarked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none';
  return isMarked ? '' : one.outerHTML.slice(0, 80);
}"""


def by_keys(page):
    """What Tab does not reach, what does not show that it has the focus, and what only a mouse can click."""
    mouse_only = page.evaluate(READ)
    unmarked, marked = [], ""
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    while marked is not None:
        page.keyboard.press("Tab")
        marked = page.evaluate(STEP)
        if marked:
            unmarked.append(marked)
    return page.evaluate("[...window.left].map((one) => one.outerHTML.slice(0, 80))"), unmarked, mouse_only


@pytest.mark.usefixtures("aircraft")
def test_a_command_is_sent_to_chosen_docks_without_a_mouse(page, sign_in, alice, dock):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)
    sign_in(alice)
    for path in ("/admin/", reverse("admin:devices_device_change", args=[dock.pk]), "/admin/devices/device/"):
        page.goto(path)
        assert by_keys(page) == ([], [], []), path
    page.goto("/admin/devices/device/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'content-start'")  # past the header
    page.focus(f"input.action-select[value='{dock.pk}']")
    page.keyboard.press("Space")
    page.focus("select[name=action]")
    page.keyboard.type("Read licenses (dock)")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".batch-form")
    assert by_keys(page) == ([], [], [])
    page.focus(".batch-form input[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".batch-page")
    assert ServiceCall.objects.get().device == dock
