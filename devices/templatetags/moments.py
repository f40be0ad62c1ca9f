"""Times as people read them: how long, how long ago, the exact moment on hover."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from organizations import time_zones

register = template.Library()
_UNITS = (  # seconds in one, from how many on, words
    (86_400, 2 * 86_400, gettext_lazy("{} days")),
    (3_600, 3_600, gettext_lazy("{} h")),
    (60, 60, gettext_lazy("{} min")),
)


@register.filter
def ago(moment: object) -> SafeString:
    """A `<time>` element: "3 min ago", with the moment to the second in its title; "–" for anything else."""
    if not isinstance(moment, datetime):
        return format_html("{}", "–")
    seconds = (timezone.now() - moment).total_seconds()
    words = gettext("{time} ago") if seconds >= 0 else gettext("in {time}")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        exact(moment),
        words.format(time=duration(abs(seconds))),
    )


@register.filter
def exact(moment: datetime | None) -> str:
    """The moment to the second, with the person's time zone."""
    return time_zones.written(moment, seconds=True) if moment else "–"


@register.filter
def there(moment: datetime, zone: str) -> str:
    """The moment to the minute in the zone of this name, "" for UTC: on paper, which others read."""
    return time_zones.written(moment, time_zones.Zone(zone or "UTC"))


def duration(seconds: float) -> str:
    """A length of time in its largest unit, rounded down: 45 s, 3 min, 5 h, 12 days."""
    for size, least, words in _UNITS:
        if seconds >= least:
            return words.format(int(seconds // size))
    return gettext("{} s").format(max(0, int(seconds)))
