"""API keys, and the answers that are kept for repeated requests."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from organizations.models.members import Role
from organizations.models.organizations import Organization
from organizations.tenancy import IssuedModel, TenantKey, TenantKeyManager


class OrganizationAPIKey(IssuedModel, TenantKey):
    """What an integrator's program sends with each request. The key itself is not stored."""

    Role = Role

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="api_keys", verbose_name=_("organization")
    )
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.VIEWER)
    last_used = models.DateTimeField(
        _("last used"), null=True, blank=True, editable=False, help_text=_("To the minute.")
    )

    objects: ClassVar[TenantKeyManager] = TenantKeyManager()

    class Meta:
        ordering = ("-created",)
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def why_unusable(self, now: datetime) -> str:
        """Why this key opens nothing now, in English words; empty if it does."""
        if self.revoked:
            return gettext_noop("revoked")
        if self.expiry_date is not None and self.expiry_date <= now:
            return gettext_noop("expired")
        return ""


class IdempotentAnswer(models.Model):
    """The answer to a request with an `Idempotency-Key`, kept for repeats: `organizations/api/idempotency.py`."""

    principal = models.CharField(max_length=40)  # who asked: "key:12" or "user:3"
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # keyed digest of method, path and body
    status = models.PositiveSmallIntegerField()
    # JSON in ASCII, as text: jsonb would change the order of names, and refuse NUL in what an error repeats.
    body = models.TextField()
    headers = models.JSONField(default=dict)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("created",)
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_principal_and_key")]
        indexes = [models.Index(fields=["created"], name="idempotent_answer_created")]  # pruning

    def __str__(self) -> str:
        return f"{self.status} for {self.principal}"
