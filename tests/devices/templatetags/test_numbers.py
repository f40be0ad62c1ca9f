"""Numbers of a thousand and more: grouped everywhere, and never an id."""

import re

import pytest

from cloudapi.admin import start_page
from devices.templatetags.numbers import thousands
from organizations.admin.tenant import CappedPaginator

LISTS = ("devices/device", "devices/servicecall", "licenses/unlocklicense", "mqtt_bridge/exchange")


def test_digits_are_grouped_by_threes_and_other_values_stay():
    assert [thousands(value) for value in (0, 999, 1842, 1_000_000, "1842", None)] == [
        *("0", "999", "1,842", "1,000,000", "1842", None)
    ]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_counts_of_lists_and_of_the_start_page_are_grouped(client, staff, organization, dock, monkeypatch, language):
    client.force_login(staff)
    tiles = [start_page.Tile("", 1842, "docks", "")]
    monkeypatch.setattr(start_page, "_tiles", lambda *_: tiles)
    monkeypatch.setattr(CappedPaginator, "count_of", lambda *_: 1842)
    monkeypatch.setattr("django.core.paginator.Paginator.count", 1842)
    for page in ("", *(f"{name}/?q=DOCK" for name in LISTS)):
        text = client.get(f"/admin/{page}", headers={"Accept-Language": language}).content.decode()
        text = re.sub(r'<div class="actions">.*?</div>', "", text, flags=re.DOTALL)  # Django's own words
        text = re.sub(r'(href|value|action)="[^"]*"', "", text)  # keys are in them, which nobody reads
        assert "1842" not in text, page
        assert "1,842" in text or "7,368" in text, page  # licenses are counted in four parts
