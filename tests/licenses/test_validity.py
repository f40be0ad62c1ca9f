"""Whether a license is in force, and how long it still runs."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from licenses.models import UnlockLicense
from licenses.validity import State, days_left, left, state_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"enabled": True, "begin_time": NOW, "end_time": NOW + DAY}, State.IN_FORCE),
        ({"enabled": True}, State.IN_FORCE),
        ({"enabled": False, "end_time": NOW + DAY}, State.DISABLED),
        ({"enabled": True, "end_time": NOW}, State.EXPIRED),
        ({"enabled": False, "end_time": NOW - DAY}, State.EXPIRED),
        ({"enabled": True, "begin_time": NOW + DAY}, State.NOT_YET),
        ({"enabled": None, "end_time": NOW + DAY}, State.UNKNOWN),
    ],
)
def test_state_of_a_license(fields, state):
    assert state_of(UnlockLicense(device_model_domain=0, **fields), NOW) == state


@pytest.mark.parametrize(
    ("domain", "enabled", "state"),
    [(0, True, State.IN_FORCE), (3, True, State.APPROVED), (9, True, State.APPROVED), (3, False, State.DISABLED)],
)
def test_what_the_dock_alone_tells_of_is_not_in_force(domain, enabled, state):
    assert state_of(UnlockLicense(enabled=enabled, device_model_domain=domain), NOW) == state


@pytest.mark.django_db
def test_in_force_is_what_the_list_calls_in_force(dock):
    moments = (None, NOW - DAY, NOW, NOW + DAY)
    rows = [
        UnlockLicense(device=dock, device_model_domain=0, enabled=enabled, begin_time=begin, end_time=end)
        for enabled in (True, False, None)
        for begin in moments
        for end in moments
    ]
    for number, row in enumerate(rows):
        row.license_id = number
    UnlockLicense.objects.bulk_create(rows)
    found = set(UnlockLicense.objects.in_force(NOW).values_list("license_id", flat=True))
    assert found == {row.license_id for row in rows if state_of(row, NOW) == State.IN_FORCE}


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (None, None, ""),
        (None, NOW + timedelta(days=12, hours=1), "ends in 12 days"),
        (None, NOW - timedelta(hours=3), "ended 3 h ago"),
        (None, NOW, "ended 0 s ago"),
        (NOW + timedelta(days=2), None, "begins in 2 days"),
    ],
)
def test_what_is_left_in_words(begin, end, words):
    assert left(UnlockLicense(begin_time=begin, end_time=end), NOW, ZoneInfo("UTC")) == words


@pytest.mark.parametrize(("zone", "days"), [("UTC", 3), ("Asia/Shanghai", 4), ("America/New_York", 4)])
def test_days_are_those_of_the_calendar_in_the_zone(zone, days):
    license_ = UnlockLicense(end_time=NOW + timedelta(days=3, hours=16))
    assert days_left(license_, NOW, ZoneInfo(zone)) == days
    assert left(license_, NOW, ZoneInfo(zone)) == f"ends in {days} days"
