"""The accounts with which docks connect to the MQTT broker."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import ClassVar, Final, NamedTuple, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from devices.models.devices import Device
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.encryption import EncryptedTextField
from organizations.models import Organization
from organizations.tenancy import IssuedModel

# Typed on a remote controller: lower-case letters alone, so that nobody changes the keyboard, and none that looks like
# another one. 30 of 23 are 135 bits.
SECRET_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz"  # noqa: S105 - what secrets are made of
SECRET_LENGTH: Final = 30
# Rounds slow down the guessing of words that people choose. Nobody guesses 135 random bits in one round, so few do,
# and 10,000 docks can come back at once. 101 is what Mosquitto takes itself.
ITERATIONS: Final = 101


def generate_secret() -> str:
    """A new secret, without separators: MQTT compares it letter by letter."""
    return "".join(secrets.choice(SECRET_ALPHABET) for _ in range(SECRET_LENGTH))


class Digest(NamedTuple):
    """PBKDF2-SHA512 of a secret, as Mosquitto's dynamic security stores it: base64 of 64 and of 12 bytes."""

    digest: str
    salt: str
    iterations: int = ITERATIONS

    @classmethod
    def of(cls, secret: str) -> Self:
        salt = secrets.token_bytes(12)
        made = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, ITERATIONS)
        return cls(base64.b64encode(made).decode(), base64.b64encode(salt).decode())

    def matches(self, secret: str) -> bool:
        """Compare in constant time."""
        salt = base64.b64decode(self.salt)
        # What a stranger sends may have half a surrogate pair in it.
        made = hashlib.pbkdf2_hmac("sha512", secret.encode(errors="surrogatepass"), salt, self.iterations)
        return hmac.compare_digest(base64.b64encode(made), self.digest.encode())


class BrokerAccountQuerySet(ChangingQuerySet["BrokerAccount"]):
    """Accounts of the broker."""

    def alive(self, now: datetime) -> Self:
        """Neither revoked nor expired; a disabled dock or an inactive organization may still keep them out."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)

    def usable(self, now: datetime) -> Self:
        """Those that the broker lets in now, as `why_unusable` has it."""
        is_let_in = Q(device__is_enabled=True) | Q(device__claim=Device.Claim.NAMED)
        is_active = Q(organization=None) | Q(organization__is_active=True)
        kinds = Q(is_let_in, kind=BrokerAccount.Kind.DOCK) | Q(is_active, kind=BrokerAccount.Kind.ENROLMENT)
        return self.alive(now).filter(kinds)

    def lock_in_order(self) -> Self:
        """Lock these rows in one order, so that two transactions never wait for each other; after their devices."""
        return self.select_for_update(no_key=True, of=("self",)).select_related("device", "organization").order_by("pk")


class BrokerAccount(ChangingModel, IssuedModel):
    """One user name and one secret of the broker. The secret is not stored.

    A dock has one, and two while its secret is rotated: Mosquitto knows one password per user name. What each may
    do is in `mqtt_bridge/protocol/access.py`; the accounts of our own processes are not in this table.
    """

    SOON: ClassVar = timedelta(days=3)

    class Kind(models.TextChoices):
        DOCK = "dock", _("dock's own")
        ENROLMENT = "enrolment", _("enrolment")

    username = models.CharField(_("user name"), max_length=80, unique=True, editable=False)
    kind = models.CharField(_("kind"), max_length=9, choices=Kind, editable=False)
    device = models.ForeignKey(
        Device,
        models.CASCADE,
        null=True,
        blank=True,
        editable=False,
        related_name="broker_accounts",
        verbose_name=_("device"),
    )
    # Of a dock's account: who owned the dock last, so that it stays in that owner's list after the release.
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="broker_accounts",
        verbose_name=_("organization"),
    )
    label = models.CharField(
        _("label"), max_length=100, blank=True, help_text=_("For whom or which site, for your own overview.")
    )
    digest = models.CharField(_("digest"), max_length=88, editable=False)
    salt = models.CharField(_("salt"), max_length=24, editable=False)
    iterations = models.PositiveIntegerField(_("iterations"), default=ITERATIONS, editable=False)
    pending = EncryptedTextField(
        _("pending"),
        blank=True,
        default="",
        editable=False,
        help_text=_("The secret, until the broker has it. Empty with EMQX."),
    )
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True, help_text=_("Empty: never."))
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    applied_at = models.DateTimeField(
        _("applied at"), null=True, blank=True, editable=False, help_text=_("When the broker took the last change.")
    )
    last_connected_at = models.DateTimeField(_("last connected at"), null=True, blank=True, editable=False)
    last_address = models.CharField(_("last address"), max_length=64, blank=True, default="", editable=False)

    objects: ClassVar[BrokerAccountQuerySet] = BrokerAccountQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created", "-pk")
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="dock", device__isnull=False) | Q(kind="enrolment", device__isnull=True),
                name="broker_account_of_a_dock_or_for_enrolment",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "kind", "-created"], name="broker_account_organization"),
            # what expires next: the broker is told then
            models.Index(fields=["expires_at"], condition=Q(revoked_at=None), name="broker_account_expires_at"),
            models.Index(fields=["id"], condition=~Q(pending=""), name="broker_account_pending"),
        ]
        verbose_name = _("broker account")
        verbose_name_plural = _("broker accounts")

    def __str__(self) -> str:
        return self.username

    def is_alive(self, now: datetime) -> bool:
        """As `BrokerAccountQuerySet.alive`."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def why_unusable(self, now: datetime) -> str:
        """Why the broker does not let it in now, in words; empty if it does."""
        if self.revoked_at is not None:
            return gettext_noop("revoked")
        if self.expires_at is not None and self.expires_at <= now:
            return gettext_noop("expired")
        # A dock that was only named may have been disabled by whoever named it.
        if self.device is not None and not self.device.is_enabled and self.device.claim != Device.Claim.NAMED:
            return gettext_noop("dock disabled")
        is_enrolment = self.kind == self.Kind.ENROLMENT
        if is_enrolment and self.organization is not None and not self.organization.is_active:
            return gettext_noop("organization inactive")
        return ""


class DockConnection(Device):
    """A dock as the list of who connects with what shows it."""

    class Meta:
        proxy = True
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
