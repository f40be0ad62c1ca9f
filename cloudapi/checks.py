"""The checks that every process runs when it starts; `manage.py` runs them by itself."""

from django.core import checks
from django.core.exceptions import ImproperlyConfigured


def check_all() -> None:
    """Run Django's system checks. Raises ImproperlyConfigured with the messages of all errors."""
    errors = [str(found) for found in checks.run_checks() if found.is_serious() and not found.is_silenced()]
    if errors:
        raise ImproperlyConfigured("\n".join(errors))
