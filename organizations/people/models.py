"""Second factors, their recovery codes, and sessions. `organizations/models.py` makes Django load them."""

from datetime import datetime
from importlib import import_module

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone

from organizations.encryption import EncryptedTextField


class SecondFactor(models.Model):
    """The secret that a person's app makes six-digit codes of (TOTP, RFC 6238); in force once it is confirmed."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="second_factor")
    secret = EncryptedTextField()
    created = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0, help_text="The time step of the last code: no code works twice.")
    wrong_codes = models.PositiveSmallIntegerField(default=0, help_text="In a row, from any address.")
    locked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"second factor of {self.user}"

    def is_locked(self, now: datetime) -> bool:
        """Whether too many wrong codes came lately."""
        return self.locked_until is not None and self.locked_until > now


class RecoveryCode(models.Model):
    """A code that replaces the app once. The code itself is not stored."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="one_recovery_code_per_user")]

    def __str__(self) -> str:
        return f"recovery code of {self.user}"


class UserSession(AbstractBaseSession):
    """A browser that is signed in, or on its way to it: Django's session with its owner."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="sessions")
    address = models.CharField(max_length=45)
    browser = models.CharField(max_length=300)
    created = models.DateTimeField(default=timezone.now)
    last_used = models.DateTimeField(default=timezone.now, help_text="To the minute.")

    class Meta:
        verbose_name = "session"

    def __str__(self) -> str:
        return f"session of {self.user}"

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        """What reads and writes these rows."""
        store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        return store
