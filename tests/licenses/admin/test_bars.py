"""Windows of licenses as bars, each by itself and many on one axis."""

from datetime import UTC, datetime, timedelta

import pytest

from licenses.admin import bars
from licenses.admin.bars import SPANS, WIDTH, Axis, passed
from licenses.models import UnlockLicense

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AXIS = Axis(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def day(year, month=1, number=1):
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begin", "end", "bar"),
    [
        (day(2026, 7, 2), day(2026, 12, 31), (499, 498, False, False)),
        (day(2025), day(2028), (0, WIDTH, True, True)),
        (None, None, (0, WIDTH, True, True)),
        (day(2020), day(2021), (0, 0, True, False)),
        (day(2030), day(2031), (WIDTH, 0, False, True)),
        (day(2026, 5), day(2026, 5), (329, 0, False, False)),
        (day(2026, 5, 1), day(2026, 5, 1) + timedelta(minutes=1), (329, 4, False, False)),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), (0, WIDTH, True, True)),
    ],
)
def test_a_window_is_a_bar_within_the_axis(begin, end, bar):
    assert tuple(AXIS.bar(UnlockLicense(begin_time=begin, end_time=end))) == bar


@pytest.mark.parametrize("span", SPANS)
def test_an_axis_has_today_on_it_and_a_few_ticks(span):
    axis = bars.axis(span, NOW)
    assert 0 < axis.at(NOW) < WIDTH
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    assert [tick.x for tick in ticks] == sorted({tick.x for tick in ticks})


def test_a_window_without_both_ends_has_no_bar_of_its_own():
    assert passed(UnlockLicense(end_time=NOW), NOW) is None
    assert passed(UnlockLicense(begin_time=NOW, end_time=NOW), NOW) is None
    row = UnlockLicense(begin_time=NOW - timedelta(days=1), end_time=NOW + timedelta(days=3))
    assert passed(row, NOW) == WIDTH // 4
