"""Whether a license is standing: its state and standing at a moment, what is left of its window, lists by state."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from devices.templatetags.moments import duration
from licenses.models import Inventory, UnlockLicense, UnlockLicenseQuerySet

SOON: Final = timedelta(days=7)


class State(models.TextChoices):
    """Whether a license counts at a moment, as the map says it."""

    IN_FORCE = "in_force", gettext_lazy("in force")
    APPROVED = "approved", gettext_lazy("not imported")
    DISABLED = "disabled", gettext_lazy("off")
    NOT_YET = "not_yet", gettext_lazy("not yet begun")
    EXPIRED = "expired", gettext_lazy("expired")
    UNKNOWN = "unknown", gettext_lazy("on/off not reported")


def state_of(license_: UnlockLicense, now: datetime) -> State:
    """The window decides first, for switching does not help outside of it.

    In force as `in_force()` counts it. In the dock's inventory it is approved: that does not prove its import.
    """
    if license_.end_time is not None and license_.end_time <= now:
        return State.EXPIRED
    if license_.begin_time is not None and license_.begin_time > now:
        return State.NOT_YET
    if not license_.enabled:
        return State.UNKNOWN if license_.enabled is None else State.DISABLED
    return State.IN_FORCE if license_.device_model_domain == Inventory.AIRCRAFT else State.APPROVED


class Standing(NamedTuple):
    """A license's state in words for a list, and the kind that colours and marks it."""

    kind: str  # good, soon, bad, quiet or unsure
    words: str
    past: str  # for an old list, which shows only how it was


_STANDINGS: Final = {
    State.IN_FORCE: Standing("good", "in force", "was in force"),
    State.APPROVED: Standing("quiet", "not imported", "was not imported"),
    State.DISABLED: Standing("quiet", "off", "was off"),
    State.NOT_YET: Standing("quiet", "not yet begun", "not yet begun"),
    State.EXPIRED: Standing("quiet", "expired", "expired"),
    State.UNKNOWN: Standing("unsure", "on/off not reported", "on/off not reported"),
}
_EXPIRED_BUT_ENABLED: Final = Standing("bad", "expired, still on", "expired, was on")
_APPROVED_AND_IMPORTED: Final = Standing("quiet", "approved for the dock", "was approved for the dock")


def standing(license_: UnlockLicense, now: datetime, *, in_both: bool = False) -> Standing:
    """The state, with what makes it urgent; a license that only the dock's list holds is in force nowhere.

    Of a license `in_both` inventories the aircraft's row says whether it is in force.
    """
    state = state_of(license_, now)
    if state == State.EXPIRED and license_.enabled:
        return _EXPIRED_BUT_ENABLED
    if state == State.APPROVED and in_both:
        return _APPROVED_AND_IMPORTED
    if state == State.IN_FORCE and license_.end_time is not None and license_.end_time <= now + SOON:
        return _STANDINGS[state]._replace(kind="soon")
    return _STANDINGS[state]


def as_of(license_: UnlockLicense, complete_at: datetime | None) -> datetime:
    """When a list last held it in this form; `complete_at` is when the last complete list was read."""
    return max(license_.seen_at, complete_at) if complete_at else license_.seen_at


def is_stale(moment: datetime, now: datetime) -> bool:
    """Whether what was read then may not be called current: it is older than LICENSE_STALE_HOURS."""
    return moment < now - timedelta(hours=settings.LICENSE_STALE_HOURS)


def left(license_: UnlockLicense, now: datetime) -> str:
    """What is left of its window: "ends in 12 days", "ended 3 h ago", "begins in 2 days"; "" if it has no end."""
    if license_.begin_time is not None and license_.begin_time > now:
        return f"begins in {duration((license_.begin_time - now).total_seconds())}"
    if license_.end_time is None:
        return ""
    seconds = (license_.end_time - now).total_seconds()
    return f"ends in {duration(seconds)}" if seconds > 0 else f"ended {duration(-seconds)} ago"


def days_left(license_: UnlockLicense, now: datetime) -> int | None:
    """Whole days until its end, negative after it, rounded down; None if it has no end."""
    return None if license_.end_time is None else (license_.end_time - now).days


def window(license_: UnlockLicense) -> str:
    """From when to when, by the day in UTC: "2025-01-31 – 2038-01-01"."""
    ends = (license_.begin_time, license_.end_time)
    begin, end = (f"{moment.astimezone(UTC):%Y-%m-%d}" if moment else "…" for moment in ends)
    return f"{begin} – {end}" if any(ends) else "no window reported"


# What lists are narrowed by: the words, and which rows. A license may be in several.
STATES: Final[Mapping[str, tuple[str, Callable[[UnlockLicenseQuerySet, datetime], UnlockLicenseQuerySet]]]] = {
    "expired-enabled": ("expired, still on", lambda rows, now: rows.expired_but_enabled(now)),
    "expiring-7": ("on, ends within 7 days", lambda rows, now: rows.expiring(now, days=7)),
    "expiring-30": ("on, ends within 30 days", lambda rows, now: rows.expiring(now, days=30)),
    "in-force": ("in force", lambda rows, now: rows.in_force(now).filter(device_model_domain=Inventory.AIRCRAFT)),
    "disabled": ("off", lambda rows, now: rows.in_window(now).filter(enabled=False)),
    "not-begun": (
        "not yet begun",
        lambda rows, now: rows.filter(Q(end_time=None) | Q(end_time__gt=now), begin_time__gt=now),
    ),
    "expired": ("expired", lambda rows, now: rows.filter(end_time__lte=now)),
    "not-imported": (
        "not imported",
        lambda rows, now: rows.in_force(now).filter(device_model_domain=Inventory.DOCK, in_other_inventory=False),
    ),
    "not-told": ("on/off not reported", lambda rows, now: rows.in_window(now).filter(enabled=None)),
}
