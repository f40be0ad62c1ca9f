"""Binding codes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.models.organizations import Organization
from organizations.tenancy import IssuedModel
from organizations.typed import STRONG, bits_of, digest_of, generate_code, normalise_code

CODE_MIN_LENGTH = 8  # letters and digits, of a code that a person chose
CODE_LIFETIME = timedelta(days=7)


class BindingCodeQuerySet(ChangingQuerySet["BindingCode"]):
    """Binding codes."""

    def issue(
        self, *, organization: Organization, code: str | None = None, **fields: object
    ) -> tuple["BindingCode", str]:
        """Make a code and return its row with the plain code, which is nowhere else.

        Raises ValidationError for an own code that is too short or already taken in this organization.
        """
        plain = code or generate_code()
        check_own_code(plain, organization)
        fields["is_strong"] = not code or bits_of(plain) >= STRONG
        row = self._new(organization, plain, fields)
        row.save(force_insert=True)
        return row, plain

    def issue_many(
        self, *, organization: Organization, labels: Sequence[str], **fields: object
    ) -> list[tuple["BindingCode", str]]:
        """As `issue`, one made code for each label, in one statement."""
        fields["is_strong"] = True
        plains = [generate_code() for _ in labels]
        rows = [
            self._new(organization, plain, {**fields, "label": label})
            for plain, label in zip(plains, labels, strict=True)
        ]
        return list(zip(self.bulk_create(rows), plains, strict=True))

    def _new(self, organization: Organization, plain: str, fields: Mapping[str, object]) -> "BindingCode":
        expires_at = {"expires_at": timezone.now() + CODE_LIFETIME}
        known = {"organization": organization, "digest": digest_of(plain), "hint": normalise_code(plain)[-4:]}
        return BindingCode(**{**expires_at, **fields, **known})


def check_own_code(code: str, organization: Organization) -> None:
    """Raise ValidationError of the field `code` if this code may not be used in this organization."""
    if len(normalise_code(code)) < CODE_MIN_LENGTH:
        text = gettext("A code needs at least {least} letters or digits.").format(least=CODE_MIN_LENGTH)
        raise ValidationError({"code": text})
    if BindingCode.objects.filter(organization=organization, digest=digest_of(code)).exists():
        raise ValidationError({"code": _("This organization already has, or had, this code. Choose another.")})


class BindingCode(ChangingModel, IssuedModel):
    """What a technician types into Pilot 2 to bind a dock to an organization. The code itself is not stored."""

    SOON = timedelta(days=3)

    class State(models.TextChoices):
        """How people sort codes; one that expires soon is usable too."""

        USABLE = "usable", _("usable")
        EXPIRING = "expiring", _("usable, expires within 3 days")
        USED_UP = "used-up", _("used up")
        EXPIRED = "expired", _("expired")
        REVOKED = "revoked", _("revoked")
        INACTIVE = "inactive", _("organization inactive")

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="binding_codes", verbose_name=_("organization")
    )
    label = models.CharField(
        _("label"), max_length=100, blank=True, help_text=_("For whom or which site, for your own overview.")
    )
    digest = models.CharField(max_length=64, editable=False)
    hint = models.CharField(_("ends in"), max_length=4, editable=False)
    # 60 bits or more: nobody guesses it, so guesses of others through enrolment do not lock it out.
    is_strong = models.BooleanField(default=False, db_default=False, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True, help_text=_("Empty: never."))
    max_uses = models.PositiveIntegerField(
        _("max uses"), null=True, blank=True, help_text=_("A dock with its aircraft is one use. Empty: no limit.")
    )
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)

    objects: ClassVar[BindingCodeQuerySet] = BindingCodeQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        constraints = [
            models.UniqueConstraint(fields=["organization", "digest"], name="one_binding_code_per_organization"),
        ]
        verbose_name = _("binding code")
        verbose_name_plural = _("binding codes")

    def __str__(self) -> str:
        label = self.label or gettext("code")
        return f"{label} …{self.hint}"

    def state_at(self, now: datetime) -> State:
        """In which state this code is; `EXPIRING` rather than `USABLE`."""
        if self.revoked_at is not None:
            return self.State.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return self.State.EXPIRED
        if self.max_uses is not None and self.uses >= self.max_uses:
            return self.State.USED_UP
        if not self.organization.is_active:
            return self.State.INACTIVE
        is_expiring = self.expires_at is not None and self.expires_at <= now + self.SOON
        return self.State.EXPIRING if is_expiring else self.State.USABLE

    def why_unusable(self, now: datetime) -> str:
        """Why this code binds no new device now, in English words; empty if it does."""
        if not self.organization.is_active:
            return gettext_noop("organization inactive")
        reasons = {
            self.State.USED_UP: gettext_noop("code used up"),
            self.State.EXPIRED: gettext_noop("code expired"),
            self.State.REVOKED: gettext_noop("code revoked"),
        }
        return reasons.get(self.state_at(now), "")
