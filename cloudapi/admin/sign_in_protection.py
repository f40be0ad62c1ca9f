"""The pages of axes, which counts tries to sign in: its rows and a column have English names in every language."""

from axes.admin import AccessAttemptAdmin
from axes.models import AccessAttempt, AccessBase, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib import admin
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _


def who(row: AccessBase) -> str:
    """Who tried to sign in, and from where: "alice, 10.1.2.3"."""
    return ", ".join(str(value) for value in (row.username, row.ip_address) if value) or f"{row.pk}"


for model in (AccessAttempt, AccessFailureLog, AccessLog):
    model.__str__ = who


@admin.display(description=_("state"))
def state(_page: AccessAttemptAdmin, attempt: AccessAttempt) -> str:
    """How often the user may try again before the lock-out."""
    left = settings.AXES_FAILURE_LIMIT - attempt.failures_since_start
    if left <= 0:
        return gettext("locked out")
    return ngettext("{count} try left", "{count} tries left", left).format(count=left)


AccessAttemptAdmin.status = state
