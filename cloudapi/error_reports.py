"""What Django's error pages and reports do not show: people copy them into tickets."""

import re
from typing import Any

from django.views.debug import SafeExceptionReporterFilter


class Filter(SafeExceptionReporterFilter):
    """Hides addresses with passwords in them, and with DEBUG, too, what views and functions call sensitive."""

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|ADDRESS|LICENSE", flags=re.IGNORECASE
    )

    def is_active(self, request: Any) -> bool:
        return True
