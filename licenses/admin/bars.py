"""The windows of licenses drawn: one bar for one window, and many on an axis of time."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.utils.formats import date_format
from django.utils.translation import gettext_lazy

from licenses.models import UnlockLicense

WIDTH: Final = 1000  # of a bar, in its own units
EDGE: Final = 70  # where the name of a tick has no room
SPANS: Final = {
    "quarter": (gettext_lazy("3 months"), 30, 90),
    "year": (gettext_lazy("1 year"), 90, 365),
    "decade": (gettext_lazy("10 years"), 365, 3650),
}


def passed(license_: UnlockLicense, now: datetime) -> int | None:
    """How much of the license's window is over, 0 to WIDTH; None without a begin and an end after it."""
    begin, end = license_.begin_time, license_.end_time
    return Axis(begin, end).at(now) if begin and end and begin < end else None


def percent(x: int) -> str:
    """A place on an axis as SVG takes it."""
    return f"{x * 100 / WIDTH:.1f}%"


class Bar(NamedTuple):
    """Where a window lies on an axis; it may continue beyond either edge. Its width is 0 if it lies outside."""

    x: int
    width: int
    goes_on_left: bool
    goes_on_right: bool

    @property
    def begins_at(self) -> str:
        return percent(self.x)

    @property
    def length(self) -> str:
        return percent(self.width)


class Tick(NamedTuple):
    """A moment on an axis, and its name."""

    x: int
    words: str

    @property
    def at(self) -> str:
        return percent(self.x)


class Axis(NamedTuple):
    """A stretch of time, WIDTH wide."""

    begin: datetime
    end: datetime

    def at(self, moment: datetime) -> int:
        """Where a moment is; moments outside are at the nearer edge."""
        return round(WIDTH * min(max((moment - self.begin) / (self.end - self.begin), 0.0), 1.0))

    def bar(self, license_: UnlockLicense) -> Bar:
        """The license's window; without begin or end it continues beyond the edge."""
        begin, end = license_.begin_time or self.begin, license_.end_time or self.end
        x, after = self.at(begin), self.at(end)
        is_outside = end <= self.begin or begin >= self.end or end <= begin
        return Bar(
            x,
            0 if is_outside else max(after - x, 4),  # so that the shortest can be seen
            license_.begin_time is None or begin < self.begin,
            license_.end_time is None or end > self.end,
        )

    def ticks(self) -> list[Tick]:
        """First days of months or years, as many as there is room for."""
        months = (self.end.year - self.begin.year) * 12 + self.end.month - self.begin.month
        step = next((step for step in (1, 2, 3, 6, 12) if months / step <= 6), 24)
        first = self.begin.year * 12 + self.begin.month - 1  # months since the year 0
        first += -first % step if step > 1 else 1
        found = []
        for month in range(first, self.end.year * 12 + self.end.month, step):
            moment = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
            if EDGE <= self.at(moment) <= WIDTH - EDGE:
                found.append(Tick(self.at(moment), date_format(moment, "Y" if step >= 12 else "YEAR_MONTH_FORMAT")))
        return found


def axis(span: str, now: datetime) -> Axis:
    """The axis of this name in SPANS, around now."""
    _, before, after = SPANS[span]
    return Axis(now - timedelta(days=before), now + timedelta(days=after))
