"""Whether a license is standing: its state and standing at a moment, what is left of its window, lists by state."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from devices.models import Device
from devices.templatetags.moments import duration
from licenses.models import Inventory, UnlockLicense, UnlockLicenseQuerySet
from organizations import time_zones
from organizations.time_zones import Zone

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

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
    words: "StrOrPromise"
    past: "StrOrPromise"  # for an old list, which shows only how it was


_STANDINGS: Final = {
    State.IN_FORCE: Standing("good", gettext_lazy("in force"), gettext_lazy("was in force")),
    State.APPROVED: Standing("quiet", gettext_lazy("not imported"), gettext_lazy("was not imported")),
    State.DISABLED: Standing("quiet", gettext_lazy("off"), gettext_lazy("was off")),
    State.NOT_YET: Standing("quiet", gettext_lazy("not yet begun"), gettext_lazy("not yet begun")),
    State.EXPIRED: Standing("quiet", gettext_lazy("expired"), gettext_lazy("expired")),
    State.UNKNOWN: Standing("unsure", gettext_lazy("on/off not reported"), gettext_lazy("on/off not reported")),
}
_EXPIRED_BUT_ENABLED: Final = Standing("bad", gettext_lazy("expired, still on"), gettext_lazy("expired, was on"))
_APPROVED_AND_IMPORTED: Final = Standing(
    "quiet", gettext_lazy("approved for the dock"), gettext_lazy("was approved for the dock")
)


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


def zone_of(device: Device) -> Zone:
    """The zone in which the days of its licenses are counted: its site's, else its organization's, else UTC.

    No query if both were read with it.
    """
    owners = (device.site, device.organization)
    name = next((owner.time_zone for owner in owners if owner and owner.time_zone in time_zones.names()), "UTC")
    return Zone(name)


def days_left(license_: UnlockLicense, now: datetime, zone: Zone) -> int | None:
    """Days of the calendar until its end, 0 on its last day, negative after it; None if it has no end."""
    return None if license_.end_time is None else _days(now, license_.end_time, zone)


def left(license_: UnlockLicense, now: datetime, zone: Zone) -> str:
    """What is left of its window: "ends in 12 days", "ended 3 h ago", "begins in 2 days"; "" if it has no end."""
    begin, end = license_.begin_time, license_.end_time
    if begin is not None and begin > now:
        return _("begins in {time}").format(time=_time(now, begin, zone))
    if end is None:
        return ""
    if end > now:
        return _("ends in {time}").format(time=_time(now, end, zone))
    return _("ended {time} ago").format(time=_time(end, now, zone))


def window(license_: UnlockLicense, zone: Zone) -> str:
    """From when to when, by the day: "2025-01-31 – 2038-01-01", with the zone if it is not the reader's."""
    ends = (license_.begin_time, license_.end_time)
    known = [moment for moment in ends if moment is not None]
    if not known:
        return _("no window reported")
    begin, end = (day(moment, zone) if moment else "…" for moment in ends)
    place = "" if str(zone) == str(timezone.get_current_timezone()) else f" {known[-1].astimezone(zone):%Z}"
    return f"{begin} – {end}{place}"


def day(moment: datetime, zone: Zone) -> str:
    """The day of a moment: "2025-01-31"."""
    return f"{moment.astimezone(zone):%Y-%m-%d}"


def _days(first: datetime, last: datetime, zone: Zone) -> int:
    return (last.astimezone(zone).date() - first.astimezone(zone).date()).days


def _time(first: datetime, last: datetime, zone: Zone) -> str:
    """How long, by the calendar if it is days: "12 days", "3 h"."""
    seconds = (last - first).total_seconds()
    if seconds < 2 * 86_400:
        return duration(seconds)
    days = _days(first, last, zone)
    return ngettext("{count} day", "{count} days", days).format(count=days)


_Chosen = Callable[[UnlockLicenseQuerySet, datetime], UnlockLicenseQuerySet]
# What lists are narrowed by: the words, and which rows. A license may be in several.
STATES: Final[
    Mapping[str, "tuple[StrOrPromise, Callable[[UnlockLicenseQuerySet, datetime], UnlockLicenseQuerySet]]"]
] = {
    "expired-enabled": (gettext_lazy("expired, still on"), lambda rows, now: rows.expired_but_enabled(now)),
    "expiring-7": (gettext_lazy("on, ends within 7 days"), lambda rows, now: rows.expiring(now, days=7)),
    "expiring-30": (gettext_lazy("on, ends within 30 days"), lambda rows, now: rows.expiring(now, days=30)),
    "in-force": (
        gettext_lazy("in force"),
        lambda rows, now: rows.in_force(now).filter(device_model_domain=Inventory.AIRCRAFT),
    ),
    "disabled": (gettext_lazy("off"), lambda rows, now: rows.in_window(now).filter(enabled=False)),
    "not-begun": (
        gettext_lazy("not yet begun"),
        lambda rows, now: rows.filter(Q(end_time=None) | Q(end_time__gt=now), begin_time__gt=now),
    ),
    "expired": (gettext_lazy("expired"), lambda rows, now: rows.filter(end_time__lte=now)),
    "not-imported": (
        gettext_lazy("not imported"),
        lambda rows, now: rows.in_force(now).filter(device_model_domain=Inventory.DOCK, in_other_inventory=False),
    ),
    "not-told": (gettext_lazy("on/off not reported"), lambda rows, now: rows.in_window(now).filter(enabled=None)),
}
