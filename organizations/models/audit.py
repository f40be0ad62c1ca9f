"""The audit trail."""

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models import audit_words
from organizations.models.audit_words import Changed
from organizations.models.keys import OrganizationAPIKey
from organizations.models.organizations import Organization
from organizations.tenancy import TenantModel, TenantQuerySet


class AuditEvent(TenantModel):
    """Who did what, through what, to which object; rows of one action share a request id."""

    class Through(models.TextChoices):
        ADMIN = "admin", _("Admin")
        API = "api", _("API")
        BRIDGE = "bridge", _("Bridge")
        COMMAND = "command", _("Command line")
        SCHEDULE = "schedule", _("Schedule")

    at = models.DateTimeField(_("time"), default=timezone.now)
    request_id = models.UUIDField(_("request ID"), default=uuid.uuid4)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, db_index=False, related_name="+", verbose_name=_("user")
    )
    api_key = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, db_index=False, related_name="+", verbose_name=_("API key")
    )
    through = models.CharField(_("through"), max_length=10, choices=Through)
    organization = models.ForeignKey(
        Organization, models.SET_NULL, null=True, db_index=False, related_name="+", verbose_name=_("organization")
    )
    action = models.CharField(_("action"), max_length=40)
    object_type = models.CharField(_("object type"), max_length=60)
    object_id = models.CharField(_("object ID"), max_length=64)
    object_name = models.CharField(_("object name"), max_length=200, blank=True)
    before = models.JSONField(_("before"), default=dict, blank=True)
    after = models.JSONField(_("after"), default=dict, blank=True)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [
            models.Index(fields=["object_type", "object_id", "-at"], name="audit_event_object"),  # history of a row
            models.Index(fields=["organization", "-at"], name="audit_event_organization"),  # a tenant's list
            models.Index(fields=["at"], name="audit_event_at"),  # pruning
            # of a deleted user or API key, which most rows have not
            models.Index(fields=["user"], condition=models.Q(user__isnull=False), name="audit_event_user"),
            models.Index(fields=["api_key"], condition=models.Q(api_key__isnull=False), name="audit_event_api_key"),
            models.Index(fields=["action", "-at"], name="audit_event_action"),  # search
            models.Index(fields=["object_name", "-at"], name="audit_event_object_name"),  # search, of what is gone too
        ]
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")

    def __str__(self) -> str:
        return self.done

    @property
    def who(self) -> object:
        """The user or the API key that did it, else through what it was done."""
        return self.user or self.api_key or self.get_through_display()

    @property
    def done(self) -> str:
        """What was done to what, in words."""
        return audit_words.done(self.action, self.object_type, self.object_name)

    @property
    def changes(self) -> list[Changed]:
        """The values that it changed, in words."""
        return audit_words.changes(self.object_type, self.before, self.after)
