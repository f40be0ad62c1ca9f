"""Password reset by mail.

A worker looks the address up and sends the mail, so that the answer to the browser takes as long whether the address is
known or not.
"""

import hashlib
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.utils.translation import gettext, override

from cloudapi.rest.guesses import Limit
from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership
from organizations.people import sessions
from organizations.people.models import Preference

PAUSE: Final = 300  # seconds between two mails to one address
BY_MANAGERS: Final = Limit("reset-by-managers", 3, 3600)  # of one user, whoever asks


def is_configured() -> bool:
    """Whether this server sends mail."""
    return bool(settings.EMAIL_URL)


class _Form(PasswordResetForm):
    """Each mail is in the language that its user has chosen, else in that of the request."""

    language = ""

    def send_mail(  # type: ignore[override]  # the stubs know each argument
        self, subject: str, text: str, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        chosen = Preference.objects.filter(user=context["user"]).values_list("language", flat=True).first()
        with override(chosen or self.language):
            super().send_mail(subject, text, context, *args, **kwargs)


def send(address: str, language: str) -> None:
    """Mail all active users with this address, at most every PAUSE seconds."""
    digest = hashlib.sha256(address.lower().encode()).hexdigest()
    form = _Form({"email": address})
    if not form.is_valid() or not cache.add(f"password-reset:{digest}", 1, PAUSE):
        return
    form.language = language
    public = urlsplit(settings.PUBLIC_URL)
    # Without a request: the link leads to PUBLIC_URL, whatever Host the browser sent.
    form.save(
        domain_override=public.netloc,
        use_https=public.scheme == "https",
        subject_template_name="admin/people/password_reset_subject.txt",
        email_template_name="admin/people/password_reset_email.txt",
    )


def why_not(user: User) -> str:
    """Why this user cannot be mailed a link, in words; empty if that is possible."""
    if not is_configured():
        return gettext("This server sends no mail.")
    if not user.email:
        return gettext("No mail address is stored: platform staff enter it under Users.")
    if not (user.is_active and user.has_usable_password()):
        return gettext("This user signs in without a password, or not at all.")
    return ""


def note_request(member: Membership, *, actor: Actor) -> str:
    """A manager wants this member to get a link: audited; returns why not, in words, or nothing if `send` may follow.

    The link goes to the member's address alone. The manager sees neither.
    """
    if reason := why_not(member.user):
        return reason
    if BY_MANAGERS.count(str(member.user_id)) > BY_MANAGERS.tries:
        return gettext("This user was sent three links within an hour. Try again later.")
    audit.record([audit.event(actor, "send password reset", member, organization_id=member.organization_id)])
    return ""


def finish(user: User) -> None:
    """The user chose a new password: all sessions end, audited."""
    actor = Actor(AuditEvent.Through.ADMIN, user)
    with transaction.atomic():
        audit.record([audit.event(actor, "reset password", user, organization_id=None)])
        sessions.end([user], actor=actor)
