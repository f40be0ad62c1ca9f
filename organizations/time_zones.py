"""Time zones by their IANA names: of organizations, sites and people."""

from functools import cache
from zoneinfo import available_timezones

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
