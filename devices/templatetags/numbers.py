"""Numbers as every page shows them. Ids are no numbers: settings must not group all digits."""

from django import template

register = template.Library()


@register.filter
def thousands(number: object) -> object:
    """1,842 for 1842, in either language; anything else unchanged."""
    return f"{number:,}" if isinstance(number, int) else number
