"""Times as people read them: how long, how long ago, the exact moment on hover."""

from datetime import UTC, datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def ago(moment: object) -> SafeString:
    """A `<time>` element: "3 min ago", with the moment to the second in its title; "–" for anything else."""
    if not isinstance(moment, datetime):
        return format_html("{}", "–")
    seconds = (timezone.now() - moment).total_seconds()
    words = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(timespec="seconds"), exact(moment), words
    )


@register.filter
def exact(moment: datetime | None) -> str:
    """The moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "–"


def duration(seconds: float) -> str:
    """A length of time in its largest unit, rounded down: 45 s, 3 min, 5 h, 12 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size * (2 if unit == "days" else 1):
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
