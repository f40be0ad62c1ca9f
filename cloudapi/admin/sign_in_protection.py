"""The pages of axes, which counts tries to sign in: its rows and a column have English names in every language."""

from axes.admin import AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin
from axes.models import AccessAttempt, AccessBase, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _


def who(row: AccessBase) -> str:
    """Who tried to sign in, and from where: "alice, 10.1.2.3"."""
    return ", ".join(str(value) for value in (row.username, row.ip_address) if value) or f"{row.pk}"


def may_change(self: object, request: HttpRequest, obj: Model | None = None) -> bool:
    """Nobody may: all fields are read-only, so that a button to save them would do nothing."""
    return False


for model in (AccessAttempt, AccessFailureLog, AccessLog):
    model.__str__ = who
for page in (AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin):
    page.has_change_permission = may_change


@admin.display(description=_("state"))
def state(_page: AccessAttemptAdmin, attempt: AccessAttempt) -> str:
    """How often the user may try again before the lock-out."""
    left = settings.AXES_FAILURE_LIMIT - attempt.failures_since_start
    if left <= 0:
        return gettext("locked out")
    return ngettext("{count} try left", "{count} tries left", left).format(count=left)


@admin.action(description=_("Clean up expired attempts"))
def clean_up(page: AccessAttemptAdmin, request: HttpRequest, _chosen: QuerySet[AccessAttempt]) -> None:
    """Delete what is older than the lock-out lasts, whatever is chosen."""
    request.axes_attempt_time = None  # type: ignore[attr-defined]  # axes sets it only where somebody signs in
    count = page.handler.clean_expired_user_attempts(request=request)
    text = ngettext("{count} expired try is deleted.", "{count} expired tries are deleted.", count).format(count=count)
    page.message_user(request, text)


AccessAttemptAdmin.status = state
AccessAttemptAdmin.cleanup_expired_attempts = clean_up
