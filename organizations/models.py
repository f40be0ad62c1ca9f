"""Organizations, their members and binding codes, wrong codes, API keys, the audit trail, answers kept for repeats."""

import secrets
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.encryption import EncryptedTextField
from organizations.people.models import RecoveryCode as RecoveryCode
from organizations.people.models import SecondFactor as SecondFactor
from organizations.people.models import UserSession as UserSession
from organizations.tenancy import IssuedModel, TenantKey, TenantKeyManager, TenantModel, TenantQuerySet
from organizations.typed import STRONG, bits_of, digest_of, generate_code, normalise_code

CODE_MIN_LENGTH = 8  # letters and digits, of a code that a person chose
CODE_LIFETIME = timedelta(days=7)
# How far the clocks of our hosts may differ. A row dated later still was written before a clock was set back.
CLOCK_TOLERANCE = timedelta(minutes=1)


def new_organization_id() -> str:
    """Eight digits, as in DJI's samples: easy to type on a remote controller."""
    return str(secrets.randbelow(90_000_000) + 10_000_000)


class Organization(ChangingModel):
    """A customer that owns devices."""

    organization_path: ClassVar[str] = ""

    organization_id = models.CharField(
        "organization ID",
        max_length=64,
        unique=True,
        default=new_organization_id,
        validators=[RegexValidator(r"^[A-Za-z0-9_-]{1,64}\Z", "Use 1 to 64 letters, digits, hyphens or underscores.")],
        help_text="What DJI Pilot 2 asks for beside the dock. It cannot be changed later.",
    )
    name = models.CharField(max_length=100, help_text="Pilot 2 shows it to the technician for confirmation.")
    is_active = models.BooleanField("active", default=True, help_text="No device binds to an inactive organization.")
    device_limit = models.PositiveIntegerField(
        null=True, blank=True, default=1000, help_text="How many devices, docks and aircraft together. Empty: no limit."
    )
    license_sync_hours = models.PositiveSmallIntegerField(
        "read licenses every",
        null=True,
        blank=True,
        default=24,
        validators=[MinValueValidator(1)],
        help_text="Hours after which the lists of unlock licenses of its docks are read again. Empty: never.",
    )
    second_factor_required = models.BooleanField(
        "second factor required",
        default=False,
        db_default=False,
        help_text="A member without one must set it up before anything else, you too. API keys are not affected.",
    )
    app_id = models.CharField("DJI app ID", max_length=64, blank=True)
    app_key = EncryptedTextField("DJI app key", blank=True)
    app_license = EncryptedTextField("DJI app license", blank=True)
    created = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[ChangingQuerySet[Self]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return f"{self.name} ({self.organization_id})"

    def clean(self) -> None:
        parts = (self.app_id, self.app_key, self.app_license)
        if any(parts) and not all(parts):
            raise ValidationError("A DJI license needs app ID, app key and app license together, or none of them.")


class Role(models.TextChoices):
    """What a member may do; each role may also do what the ones before it may."""

    VIEWER = "viewer", "viewer: sees"
    OPERATOR = "operator", "operator: also commands docks"
    MANAGER = "manager", "manager: also members, codes, release of devices"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what the other may."""
        return list(Role).index(self) >= list(Role).index(other)


class Membership(TenantModel):
    """A user's place in an organization."""

    Role = Role

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.VIEWER)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("organization", "user")
        constraints = [
            models.UniqueConstraint(fields=["user", "organization"], name="one_membership_per_user_and_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization.name}"


class Invitation(IssuedModel):
    """A person of this name is asked to become a member. What its link carries is not stored."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    username = models.CharField(max_length=150, validators=[UnicodeUsernameValidator()])
    role = models.CharField(max_length=10, choices=Role, default=Role.VIEWER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(editable=False)
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        indexes = [models.Index(fields=["expires_at"], name="invitation_expires_at")]  # pruning

    def __str__(self) -> str:
        return f"{self.username} to {self.organization.name}"

    def why_unusable(self, now: datetime) -> str:
        """Why its link makes no member now, in words; empty if it does."""
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "ended"
        if self.expires_at <= now:
            return "expired"
        return "" if self.organization.is_active else "organization inactive"


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
        fields.setdefault("expires_at", timezone.now() + CODE_LIFETIME)
        row = self.create(organization=organization, digest=digest_of(plain), hint=normalise_code(plain)[-4:], **fields)
        return row, plain


def check_own_code(code: str, organization: Organization) -> None:
    """Raise ValidationError of the field `code` if this code may not be used in this organization."""
    if len(normalise_code(code)) < CODE_MIN_LENGTH:
        raise ValidationError({"code": f"A code needs at least {CODE_MIN_LENGTH} letters or digits."})
    if BindingCode.objects.filter(organization=organization, digest=digest_of(code)).exists():
        raise ValidationError({"code": "This organization already has, or had, this code. Choose another."})


class BindingCode(ChangingModel, IssuedModel):
    """What a technician types into Pilot 2 to bind a dock to an organization. The code itself is not stored."""

    SOON = timedelta(days=3)

    class State(models.TextChoices):
        """How people sort codes; one that expires soon is usable too."""

        USABLE = "usable", "usable"
        EXPIRING = "expiring", "usable, expires within 3 days"
        USED_UP = "used-up", "used up"
        EXPIRED = "expired", "expired"
        REVOKED = "revoked", "revoked"
        INACTIVE = "inactive", "organization inactive"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="binding_codes")
    label = models.CharField(max_length=100, blank=True, help_text="For whom or which site, for your own overview.")
    digest = models.CharField(max_length=64, editable=False)
    hint = models.CharField("ends in", max_length=4, editable=False)
    # 60 bits or more: nobody guesses it, so guesses of others through enrolment do not lock it out.
    is_strong = models.BooleanField(default=False, db_default=False, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    max_uses = models.PositiveIntegerField(
        null=True, blank=True, help_text="A dock with its aircraft is one use. Empty: no limit."
    )
    uses = models.PositiveIntegerField(default=0, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[BindingCodeQuerySet] = BindingCodeQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        constraints = [
            models.UniqueConstraint(fields=["organization", "digest"], name="one_binding_code_per_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.label or 'code'} …{self.hint}"

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
        """Why this code binds no new device now, in words; empty if it does."""
        if not self.organization.is_active:
            return "organization inactive"
        state = self.state_at(now)
        return "" if state in (self.State.USABLE, self.State.EXPIRING) else f"code {state.label}"


class BindingFailureQuerySet(models.QuerySet["BindingFailure"]):
    """Wrong pairs of organization id and binding code."""

    LIMIT = 5
    # Different wrong codes for one organization from all gateways that come through enrolment: anybody invents those.
    ENROLMENT_LIMIT = 20
    WINDOW = timedelta(minutes=10)

    def recent(self, now: datetime) -> Self:
        """What counts towards a lock-out at this moment."""
        return self.filter(last_at__gt=now - self.WINDOW, last_at__lte=now + CLOCK_TOLERANCE)

    def locked_out(self, now: datetime) -> models.QuerySet["BindingFailure", Mapping[str, object]]:
        """Gateways with too many different wrong pairs, as `{"gateway_sn", "by_enrolment", "pairs"}`."""
        counted = self.recent(now).order_by().values("gateway_sn", "by_enrolment").annotate(pairs=models.Count("pk"))
        return counted.filter(pairs__gte=self.LIMIT)

    def by_organization(self, now: datetime) -> Counter[str]:
        """How many different wrong codes came through enrolment, by the id of the organization."""
        counted = self.recent(now).filter(by_enrolment=True).order_by().values("organization_id_tried")
        pairs = counted.annotate(pairs=models.Count("pair_digest", distinct=True))
        return Counter(dict(pairs.values_list("organization_id_tried", "pairs")))

    def guessed(self, now: datetime) -> models.QuerySet["Organization", Organization]:
        """The organizations whose codes are not taken through enrolment now, after too many wrong ones."""
        counts = self.by_organization(now)
        locked = [organization_id for organization_id, pairs in counts.items() if pairs >= self.ENROLMENT_LIMIT]
        return Organization.objects.filter(organization_id__in=locked)


class BindingFailure(models.Model):
    """One wrong pair of organization id and code that a gateway tried.

    A dock repeats an unanswered request, so the same pair again is the same row, not a further guess.
    """

    gateway_sn = models.CharField("gateway SN", max_length=64)
    by_enrolment = models.BooleanField(
        "through enrolment",
        default=False,
        db_default=False,
        help_text="It need not be this gateway that guessed; with its own account this one is not locked out.",
    )
    organization_id_tried = models.CharField("organization ID tried", max_length=64, blank=True)
    pair_digest = models.CharField(max_length=64, editable=False)
    reason = models.CharField(max_length=64)
    first_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField()

    objects: ClassVar[BindingFailureQuerySet] = BindingFailureQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-last_at",)
        constraints = [
            models.UniqueConstraint(fields=["gateway_sn", "pair_digest"], name="one_failure_per_gateway_and_pair"),
        ]
        indexes = [
            models.Index(fields=["last_at"], name="binding_failure_last_at"),  # the global count, pruning
            models.Index(fields=["organization_id_tried", "last_at"], name="binding_failure_tried"),  # flooded
        ]

    def __str__(self) -> str:
        return f"{self.gateway_sn}: {self.reason}"


class OrganizationAPIKey(IssuedModel, TenantKey):
    """What an integrator's program sends with each request. The key itself is not stored."""

    Role = Role

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="api_keys")
    role = models.CharField(max_length=10, choices=Role, default=Role.VIEWER)
    last_used = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")

    objects: ClassVar[TenantKeyManager] = TenantKeyManager()

    class Meta:
        ordering = ("-created",)
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def why_unusable(self, now: datetime) -> str:
        """Why this key opens nothing now, in words; empty if it does."""
        if self.revoked:
            return "revoked"
        if self.expiry_date is not None and self.expiry_date <= now:
            return "expired"
        return ""


class AuditEvent(TenantModel):
    """Who did what, through what, to which object; rows of one action share a request id."""

    class Through(models.TextChoices):
        ADMIN = "admin"
        API = "api"
        BRIDGE = "bridge"
        COMMAND = "command"
        SCHEDULE = "schedule"

    at = models.DateTimeField(default=timezone.now)
    request_id = models.UUIDField(default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, db_index=False, related_name="+")
    api_key = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, db_index=False, related_name="+", verbose_name="API key"
    )
    through = models.CharField(max_length=10, choices=Through)
    organization = models.ForeignKey(Organization, models.SET_NULL, null=True, db_index=False, related_name="+")
    action = models.CharField(max_length=40)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=64)
    object_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField(default=dict, blank=True)
    after = models.JSONField(default=dict, blank=True)

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

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"

    @property
    def who(self) -> object:
        """The user or the API key that did it, else through what it was done."""
        return self.user or self.api_key or self.get_through_display()


class IdempotentAnswer(models.Model):
    """The answer to a request with an `Idempotency-Key`, kept for repeats: `organizations/api/idempotency.py`."""

    principal = models.CharField(max_length=40, help_text='Who asked: "key:12" or "user:3".')
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Keyed digest of method, path and body.")
    status = models.PositiveSmallIntegerField()
    # Text, because jsonb would change the order of names, and refuse NUL in what an error repeats.
    body = models.TextField(help_text="JSON in ASCII.")
    headers = models.JSONField(default=dict)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("created",)
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_principal_and_key")]
        indexes = [models.Index(fields=["created"], name="idempotent_answer_created")]  # pruning

    def __str__(self) -> str:
        return f"{self.status} for {self.principal}"
