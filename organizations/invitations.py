"""Invitations: issue, revoke, accept, decline, find by state. Only the invited person can make a membership of one.

A link says who may accept, and is no key to an account. For a new name, the first person to open the link chooses the
password; an account that exists must be signed in with the password it has. So the maker of a link who kept it gains
nothing when another organization invites the same name. Inviting a name does not reveal whether it has an account.
"""

import logging
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, User
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import models, transaction
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cloudapi.rest.guesses import Limit
from organizations import audit
from organizations.audit import Actor
from organizations.models import AuditEvent, Invitation, Membership, Organization, Role

logger = logging.getLogger(__name__)
LIFETIME: Final = timedelta(hours=72)
# Mails that others make this server send: to one address, and of one organization.
TO_ADDRESS: Final = Limit("invitations-to-address", 3, 3600)
BY_ORGANIZATION: Final = Limit("invitations-by-organization", 100, 86_400)


class State(models.TextChoices):
    """What became of an invitation, as people sort them."""

    USABLE = "usable", _("usable")
    ACCEPTED = "accepted", _("accepted")
    EXPIRED = "expired", _("expired")
    ENDED = "ended", _("ended")


def in_state(invitations: QuerySet[Invitation], state: str, now: datetime | None = None) -> QuerySet[Invitation]:
    """The invitations in this state; an ended one is not expired too."""
    if state == State.ACCEPTED:
        return invitations.exclude(accepted_at=None)
    if state == State.ENDED:
        return invitations.exclude(revoked_at=None)
    now = now or timezone.now()
    pending = invitations.filter(accepted_at=None, revoked_at=None)
    return pending.filter(expires_at__lte=now) if state == State.EXPIRED else pending.filter(expires_at__gt=now)


def issue(*, actor: Actor, organization: Organization, username: str, role: Role) -> tuple[Invitation, str]:
    """Invite this name, audited; returns the row and what its link carries, which is stored nowhere."""
    plain, username = secrets.token_urlsafe(32), get_user_model().normalize_username(username)
    with transaction.atomic():
        row = Invitation.objects.create(
            organization=organization,
            username=username,
            role=role,
            digest=_digest(plain),
            expires_at=timezone.now() + LIFETIME,
            created_by_id=actor.user.pk if actor.user else None,
        )
        after = {"username": username, "role": role}
        audit.record([audit.event(actor, "invite", row, organization_id=organization.pk, after=after)])
    return row, plain


def mail(plain: str, *, address: str, language: str, actor: Actor) -> str:
    """Mail this link in this language, audited; returns why it was not sent, in words, or nothing if it was."""
    invitation = find(plain)
    if invitation is None:
        return gettext("This invitation is not valid any more.")
    counted = ((TO_ADDRESS, address.lower()), (BY_ORGANIZATION, str(invitation.organization_id)))
    if any(limit.count(who) > limit.tries for limit, who in counted):
        return gettext("Too many invitations were mailed lately. Send the link yourself, or try again later.")
    context = {"invitation": invitation, "link": f"{settings.PUBLIC_URL}{reverse('welcome', args=[plain])}"}
    with translation.override(language):
        name = "admin/organizations/invitation/mail"
        subject, text = (render_to_string(f"{name}{part}.txt", context) for part in ("_subject", ""))
    try:
        send_mail(" ".join(subject.split()), text, None, [address])
    except OSError as error:  # of the network, and all that SMTP says
        logger.warning("An invitation was not mailed: %s: %s", type(error).__name__, error)
        return gettext("The mail server did not take it. Send the link yourself, or try again later.")
    after = {"address": address}
    audit.record([audit.event(actor, "mail", invitation, organization_id=invitation.organization_id, after=after)])
    return ""


def revoke(invitations: Iterable[Invitation], *, actor: Actor) -> int:
    """End these invitations, audited; returns how many were open before."""
    with transaction.atomic():
        locked = _open().filter(pk__in=[invitation.pk for invitation in invitations])
        return _end(list(locked.select_for_update().order_by("pk")), actor)


def find(plain: str) -> Invitation | None:
    """The invitation of a link; None unless it can be accepted now."""
    row = Invitation.objects.select_related("organization", "created_by").filter(digest=_digest(plain)).first()
    return None if row is None or row.why_unusable(timezone.now()) else row


def account(username: str) -> User | None:
    """The account of this name, however its letters are written."""
    found: User | None = get_user_model().objects.filter(username__iexact=username).first()
    return found


def accept(plain: str, *, user: AbstractBaseUser | None = None, password: str = "") -> Membership:
    """Make the invited person a member, once, audited: `user`, who is signed in, or a new user with this password.

    Every other open invitation of the name ends, because its sender knows nothing of this membership and must ask
    again. Raises ValidationError for a link that is used up or expired, and for an account that it is not for.
    """
    with transaction.atomic():
        invitation = find(plain)
        if invitation is None:
            raise ValidationError(_("This invitation is not valid any more. Ask for a new one."))
        # All invitations of the name, so that two links make one account, not two.
        rows = list(_open().filter(username__iexact=invitation.username).select_for_update().order_by("pk"))
        existing = account(invitation.username)
        if invitation not in rows or existing != user:
            raise ValidationError(_("This invitation is for somebody else, or not valid any more. Ask for a new one."))
        if existing is None:
            existing = get_user_model().objects.create_user(invitation.username, password=password, is_staff=True)
        if existing.is_superuser or not existing.is_active:
            raise ValidationError(_("Platform staff need no membership."))
        membership, is_new = Membership.objects.get_or_create(
            user=existing, organization=invitation.organization, defaults={"role": invitation.role}
        )
        Invitation.objects.filter(pk=invitation.pk).update(accepted_at=timezone.now())
        actor = Actor(AuditEvent.Through.ADMIN, existing)
        if is_new:
            after = {"username": existing.username, "role": membership.role}
            audit.record(
                [audit.event(actor, "join", membership, organization_id=invitation.organization_id, after=after)]
            )
        _end([row for row in rows if row != invitation], Actor(AuditEvent.Through.ADMIN))
    return membership


def decline(plain: str, *, user: AbstractBaseUser | None) -> None:
    """End the invitation of this link, audited; does nothing for one that is not valid any more."""
    if (invitation := find(plain)) is not None:
        revoke([invitation], actor=Actor(AuditEvent.Through.ADMIN, user))


def _open() -> QuerySet[Invitation]:
    return Invitation.objects.filter(accepted_at=None, revoked_at=None)


def _end(rows: list[Invitation], actor: Actor) -> int:
    Invitation.objects.filter(pk__in=[row.pk for row in rows]).update(revoked_at=timezone.now())
    audit.record(audit.event(actor, "end", row, organization_id=row.organization_id) for row in rows)
    return len(rows)


def _digest(plain: str) -> str:
    return salted_hmac("organizations.Invitation", plain, algorithm="sha256").hexdigest()
