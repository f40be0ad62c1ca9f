"""Who belongs to an organization and what they may do there, and who is invited."""

from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db import models
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from organizations.models.organizations import Organization
from organizations.tenancy import IssuedModel, TenantModel, TenantQuerySet


class Role(models.TextChoices):
    """What a member may do; each role may also do what the ones before it may."""

    VIEWER = "viewer", _("viewer: sees")
    OPERATOR = "operator", _("operator: also commands docks")
    MANAGER = "manager", _("manager: also members, codes, release of devices")

    def word(self) -> str:
        """Its name in the active language, without what it may do."""
        words = {Role.VIEWER: gettext("viewer"), Role.OPERATOR: gettext("operator"), Role.MANAGER: gettext("manager")}
        return words[self]

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what the other may."""
        return list(Role).index(self) >= list(Role).index(other)


class Membership(TenantModel):
    """A user's place in an organization."""

    Role = Role

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships", verbose_name=_("user")
    )
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="memberships", verbose_name=_("organization")
    )
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.VIEWER)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("organization", "user")
        constraints = [
            models.UniqueConstraint(fields=["user", "organization"], name="one_membership_per_user_and_organization"),
        ]
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")

    def __str__(self) -> str:
        return gettext("{user} in {organization}").format(user=self.user, organization=self.organization.name)


class Invitation(IssuedModel):
    """A person of this name is asked to become a member. What its link carries is not stored."""

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="invitations", verbose_name=_("organization")
    )
    username = models.CharField(_("username"), max_length=150, validators=[UnicodeUsernameValidator()])
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.VIEWER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(_("expires at"), editable=False)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        indexes = [models.Index(fields=["expires_at"], name="invitation_expires_at")]  # pruning
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self) -> str:
        return gettext("{user} to {organization}").format(user=self.username, organization=self.organization.name)

    def why_unusable(self, now: datetime) -> str:
        """Why its link makes no member now, in English words; empty if it does."""
        if self.accepted_at is not None:
            return gettext_noop("accepted")
        if self.revoked_at is not None:
            return gettext_noop("ended")
        if self.expires_at <= now:
            return gettext_noop("expired")
        return "" if self.organization.is_active else gettext_noop("organization inactive")
