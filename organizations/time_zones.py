"""Time zones by their IANA names, of organizations, sites and people; moments as pages show them."""

import contextlib
from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MOST = 64  # characters of a name


class Zone(ZoneInfo):
    """A zone by its IANA name, whose moments say how far they are from UTC: UTC+8, for CST is three zones."""

    def tzname(self, moment: datetime | None) -> str | None:
        offset = self.utcoffset(moment)
        if moment is None or offset is None:
            return super().tzname(moment)
        hours, minutes = divmod(abs(int(offset.total_seconds())) // 60, 60)
        sign = "-" if offset.total_seconds() < 0 else "+"
        return f"UTC{sign}{hours}" + (f":{minutes:02}" if minutes else "") if offset else "UTC"


def written(moment: datetime, zone: tzinfo | None = None, *, seconds: bool = False) -> str:
    """A moment as all pages show it, in this zone, else the reader's: "2026-01-31 16:24 UTC+8"."""
    return f"{timezone.localtime(moment, zone):%Y-%m-%d %H:%M{':%S' if seconds else ''} %Z}"


@cache  # it reads a folder of files
def names() -> frozenset[str]:
    """All that this server knows, such as `Asia/Shanghai`."""
    return frozenset(available_timezones() - {"localtime", "Factory"})  # a machine's own, and that of none


def validate(name: str) -> None:
    """Raise ValidationError for a name that this server does not know."""
    if name not in names():
        raise ValidationError(_("There is no time zone of this name."), code="time_zone")


def moment(local: datetime, zone: str) -> datetime:
    """When the clocks of this zone show this; the first time, if they are put back then.

    Raises ValidationError if they never do, because they are put forward.
    """
    found = local.replace(tzinfo=ZoneInfo(zone))
    with contextlib.suppress(OverflowError):  # in the last hours of the year 9999
        if found.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != local:
            text = _("The clocks are put forward then: there is no such time on that day.")
            raise ValidationError(text, code="time_zone")
    return found
