"""What rows keep in English, in the reader's language."""

from django import template

from organizations.language import stored

register = template.Library()


@register.filter
def shown(text: str) -> str:
    """As `stored.shown`."""
    return stored.shown(text)
