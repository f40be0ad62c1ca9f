"""When a license counts: its standing and what is left of its window in words, its window as a bar."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db.models import Q

from devices.templatetags.moments import duration
from licenses import wording
from licenses.models import Inventory, UnlockLicense, UnlockLicenseQuerySet
from licenses.wording import State

SOON: Final = timedelta(days=7)
WIDTH: Final = 1000  # of a bar, in its own units
EDGE: Final = 45  # where the name of a tick has no room


class Standing(NamedTuple):
    """What may be said of a license now: the kind colours and marks it."""

    kind: str  # good, soon, bad, quiet or unsure
    words: str
    past: str  # the same of an old list, which tells only how it was


_STANDINGS: Final = {
    State.NOT_YET: Standing("quiet", "not yet begun", "not yet begun"),
    State.DISABLED: Standing("quiet", "off", "was off"),
    State.UNKNOWN: Standing("unsure", "not told whether on", "not told whether on"),
}
_EXPIRED: Final = Standing("quiet", "expired", "expired")
_EXPIRED_BUT_ENABLED: Final = Standing("bad", "expired, still on", "expired, was on")
_NOT_IMPORTED: Final = Standing("quiet", "not imported", "was not imported")
_APPROVED: Final = Standing("quiet", "approved for the dock", "was approved for the dock")
_IN_FORCE: Final = Standing("good", "in force", "was in force")
_IN_FORCE_ENDING: Final = Standing("soon", "in force", "was in force")


def standing(license_: UnlockLicense, now: datetime, *, in_both: bool = False) -> Standing:
    """Whether it counts; what only the dock's list holds is in force nowhere.

    Of a license `in_both` inventories the aircraft's row tells whether it is in force.
    """
    state = wording.state_of(license_, now)
    if state == State.EXPIRED:
        return _EXPIRED_BUT_ENABLED if license_.enabled else _EXPIRED
    if state != State.IN_FORCE:
        return _STANDINGS[state]
    if license_.device_model_domain != Inventory.AIRCRAFT:
        return _APPROVED if in_both else _NOT_IMPORTED
    ends_soon = license_.end_time is not None and license_.end_time <= now + SOON
    return _IN_FORCE_ENDING if ends_soon else _IN_FORCE


def as_of(license_: UnlockLicense, complete_at: datetime | None) -> datetime:
    """When a list last held it in this form; `complete_at` is when the last complete list was read."""
    return max(license_.seen_at, complete_at) if complete_at else license_.seen_at


def is_stale(moment: datetime, now: datetime) -> bool:
    """Whether what was read then may not be called current."""
    return moment < now - timedelta(hours=settings.LICENSE_STALE_HOURS)


def left(license_: UnlockLicense, now: datetime) -> str:
    """What is left of its window: "ends in 12 days", "ended 3 h ago", "begins in 2 days"; "" if no end was told."""
    if license_.begin_time is not None and license_.begin_time > now:
        return f"begins in {duration((license_.begin_time - now).total_seconds())}"
    if license_.end_time is None:
        return ""
    seconds = (license_.end_time - now).total_seconds()
    return f"ends in {duration(seconds)}" if seconds > 0 else f"ended {duration(-seconds)} ago"


def days_left(license_: UnlockLicense, now: datetime) -> int | None:
    """Whole days until its end, negative after it, rounded down; None if no end was told."""
    return None if license_.end_time is None else (license_.end_time - now).days


def window(license_: UnlockLicense) -> str:
    """From when to when, by the day in UTC: "2025-01-31 – 2038-01-01"."""
    begin, end = _day(license_.begin_time), _day(license_.end_time)
    return f"{begin or '…'} – {end or '…'}" if begin or end else "no window told"


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}" if moment else ""


def passed(license_: UnlockLicense, now: datetime) -> int | None:
    """How much of its own window is over, 0 to WIDTH; None without a begin and an end after it."""
    begin, end = license_.begin_time, license_.end_time
    if begin is None or end is None or begin >= end:
        return None
    return round(WIDTH * min(max((now - begin) / (end - begin), 0.0), 1.0))


# --- which licenses ----------------------------------------------------------------------------------

Rows = UnlockLicenseQuerySet


def _in_force(rows: Rows, now: datetime) -> Rows:
    return rows.in_force(now).filter(device_model_domain=Inventory.AIRCRAFT)


def _in_window(rows: Rows, now: datetime) -> Rows:
    return rows.filter(Q(begin_time=None) | Q(begin_time__lte=now), Q(end_time=None) | Q(end_time__gt=now))


def _not_imported(rows: Rows, now: datetime) -> Rows:
    return _in_window(rows, now).filter(device_model_domain=Inventory.DOCK, enabled=True).in_one()


# What lists are narrowed by: the words, and which rows. A license may be in several.
STATES: Final[Mapping[str, tuple[str, Callable[[Rows, datetime], Rows]]]] = {
    "expired-enabled": ("expired, still on", lambda rows, now: rows.expired_but_enabled(now)),
    "expiring-7": ("on, ends within 7 days", lambda rows, now: rows.expiring(now, days=7)),
    "expiring-30": ("on, ends within 30 days", lambda rows, now: rows.expiring(now, days=30)),
    "in-force": ("in force", _in_force),
    "disabled": ("off", lambda rows, now: _in_window(rows, now).filter(enabled=False)),
    "not-begun": (
        "not yet begun",
        lambda rows, now: rows.filter(Q(end_time=None) | Q(end_time__gt=now), begin_time__gt=now),
    ),
    "expired": ("expired", lambda rows, now: rows.filter(end_time__lte=now)),
    "not-imported": ("not imported", _not_imported),
    "not-told": ("not told whether on", lambda rows, now: _in_window(rows, now).filter(enabled=None)),
}


# --- many on one axis --------------------------------------------------------------------------------


def percent(x: int) -> str:
    """A place on an axis as SVG takes it."""
    return f"{x * 100 / WIDTH:.1f}%"


class Bar(NamedTuple):
    """Where a window lies on an axis; it may go on beyond either edge. Its width is 0 if it lies outside."""

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
        """The license's window; without begin or end it goes on beyond the edge."""
        begin, end = license_.begin_time or self.begin, license_.end_time or self.end
        x, after = self.at(begin), self.at(end)
        is_outside = end <= self.begin or begin >= self.end or end <= begin
        return Bar(
            x,
            0 if is_outside else max(after - x, 4),  # the shortest is to be seen
            license_.begin_time is None or begin < self.begin,
            license_.end_time is None or end > self.end,
        )

    def ticks(self) -> list[Tick]:
        """First days of months or years, as many as there is room for."""
        months = (self.end.year - self.begin.year) * 12 + self.end.month - self.begin.month
        step = next((step for step in (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000) if months / step <= 7), 12000)
        found = []
        number = self.begin.year * 12 + self.begin.month - 1
        number += -number % step if step > 1 else 1
        while number <= self.end.year * 12 + self.end.month - 1:
            moment = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
            if EDGE <= self.at(moment) <= WIDTH - EDGE:
                found.append(Tick(self.at(moment), f"{moment:%Y}" if step >= 12 else f"{moment:%b %Y}"))
            number += step
        return found


SPANS: Final = {"quarter": ("3 months", 30, 90), "year": ("1 year", 90, 365), "decade": ("10 years", 365, 3650)}


def axis(span: str, now: datetime) -> Axis:
    """The axis of this name in SPANS, around now."""
    _, before, after = SPANS[span]
    return Axis(now - timedelta(days=before), now + timedelta(days=after))
