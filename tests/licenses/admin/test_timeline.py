"""Windows of licenses as bars on one axis."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from licenses import validity
from licenses.admin import timeline
from licenses.models import UnlockLicense
from licenses.validity import WIDTH, Axis
from tests.licenses.admin.test_licenses import license_, read

TIMELINE = "/admin/licenses/unlocklicense/timeline/"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AXIS = Axis(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def window(begin, end):
    return UnlockLicense(begin_time=begin, end_time=end)


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
    assert tuple(AXIS.bar(window(begin, end))) == bar


@pytest.mark.parametrize("span", validity.SPANS)
def test_an_axis_has_today_on_it_and_a_few_ticks(span):
    axis = validity.axis(span, NOW)
    assert 0 < axis.at(NOW) < WIDTH
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    assert [tick.x for tick in ticks] == sorted({tick.x for tick in ticks})


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
    assert validity.left(window(begin, end), NOW) == words


def test_a_window_without_both_ends_has_no_bar_of_its_own():
    assert validity.passed(window(None, NOW), NOW) is None
    assert validity.passed(window(NOW, NOW), NOW) is None
    assert validity.passed(window(NOW - timedelta(days=1), NOW + timedelta(days=3)), NOW) == WIDTH // 4


@pytest.mark.django_db
def test_the_page_has_a_bar_for_every_license_of_the_filtered_list(client, bob, dock):
    license_(dock, 1)
    license_(dock, 2, end=-1)
    license_(dock, 3, end=3)
    read(dock)
    client.force_login(bob)
    response = client.get(TIMELINE)
    text = response.content.decode()
    assert [line.shown.license.license_id for line in response.context["lines"]] == [3, 1, 2]
    for kind in ("good", "bad", "soon"):
        assert f'class="bar bar-{kind}"' in text
    assert text.count('class="today"') == 4
    assert [line.kind for line in client.get(TIMELINE, {"state": "expired"}).context["lines"]] == ["bad"]


@pytest.mark.django_db
def test_an_old_list_has_a_colour_of_its_own(client, bob, dock):
    license_(dock, 1, seen_at=timezone.now() - timedelta(days=9))
    client.force_login(bob)
    text = client.get(TIMELINE).content.decode()
    assert "bar-stale" in text
    assert "was in force" in text
    assert "bar-good" not in text


@pytest.mark.django_db
@pytest.mark.parametrize("span", [*validity.SPANS, "nonsense", ""])
def test_every_span_opens_and_keeps_the_filters(client, bob, dock, span):
    license_(dock, 1)
    client.force_login(bob)
    response = client.get(TIMELINE, {"span": span, "type": "1"})
    assert response.status_code == 200
    assert all("type=1" in query for _, query, _ in response.context["spans"])


@pytest.mark.django_db
def test_many_licenses_are_paged(client, bob, dock, monkeypatch):
    monkeypatch.setattr(timeline, "PAGE", 2)
    for key in range(3):
        license_(dock, key)
    client.force_login(bob)
    assert len(client.get(TIMELINE).context["lines"]) == 2
    assert len(client.get(TIMELINE, {"p": 2}).context["lines"]) == 1
