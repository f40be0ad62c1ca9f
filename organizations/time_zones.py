"""Time zones by their IANA names: of organizations, sites and people."""

import contextlib
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

MOST = 64  # characters of a name


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
