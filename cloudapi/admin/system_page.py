"""The page "System": what `manage.py doctor` finds, for the platform's staff."""

from collections import Counter

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cloudapi.diagnosis import checks
from cloudapi.diagnosis.findings import Level
from organizations.tenancy import is_platform_staff

# CSS class of each level, as on the start page, and the word beside it; the worst last.
SHOWN = {
    Level.OK: ("good", _("OK")),
    Level.NOTE: ("warning", _("Look at it")),
    Level.PROBLEM: ("critical", _("Problem")),
}


def system(request: HttpRequest, context: dict[str, object]) -> TemplateResponse:
    """Look at everything now; one that does not answer makes it take ten seconds."""
    if not is_platform_staff(request.user):
        raise PermissionDenied
    found = list(checks.run())
    worst_first = [one for level in reversed(SHOWN) for one in found if one.level == level]
    count = Counter(one.level for one in found)
    more = {
        "title": gettext("System"),
        "lines": [(*SHOWN[one.level], one) for one in worst_first],
        "problems": count[Level.PROBLEM],
        "notes": count[Level.NOTE],
        "now": timezone.now(),
    }
    return TemplateResponse(request, "admin/system.html", context | more)
