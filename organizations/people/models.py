"""What belongs to a person: second factor, recovery codes, sessions, preferences, saved filters.

`organizations/models/__init__.py` makes Django load them.
"""

from datetime import datetime
from importlib import import_module

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from organizations import time_zones
from organizations.encryption import EncryptedTextField


class SecondFactor(models.Model):
    """The secret that a person's app makes six-digit codes of (TOTP, RFC 6238); in force once it is confirmed."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="second_factor")
    secret = EncryptedTextField()
    created = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0)  # the time step of the last code: no code works twice
    wrong_codes = models.PositiveSmallIntegerField(default=0)  # in a row, from any address
    locked_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")

    def __str__(self) -> str:
        return gettext("second factor of {user}").format(user=self.user)

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
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")

    def __str__(self) -> str:
        return gettext("recovery code of {user}").format(user=self.user)


class UserSession(AbstractBaseSession):
    """A browser that is signed in, or on its way to it: Django's session with its owner."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="sessions")
    address = models.CharField(max_length=45)
    browser = models.CharField(max_length=300)
    created = models.DateTimeField(default=timezone.now)
    last_used = models.DateTimeField(default=timezone.now)  # to the minute

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return gettext("session of {user}").format(user=self.user)

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        """What reads and writes these rows."""
        store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        return store


class Preference(models.Model):
    """How a person wants the pages; without a row, as the browser says."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="preference", verbose_name=_("user")
    )
    language = models.CharField(
        _("language"), max_length=16, blank=True, help_text=_("One of LANGUAGES. Empty: the browser's.")
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=time_zones.MOST,
        blank=True,
        validators=[time_zones.validate],
        help_text=_("Empty: the browser's."),
    )
    # Questions that are not to be asked again, and the like: what no query looks for.
    settings = models.JSONField(_("settings"), default=dict, blank=True)

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")

    def __str__(self) -> str:
        return gettext("preferences of {user}").format(user=self.user)

    @classmethod
    def asks_before_switch_off(cls, user_id: int | None) -> bool:
        """Whether this person is asked before a single license is switched off."""
        return not cls.objects.filter(user=user_id, settings__ask_before_switch_off=False).exists()

    @classmethod
    def keep(cls, user_id: int, **chosen: object) -> None:
        """Add to the settings of this person, leaving the others."""
        with transaction.atomic():
            own, _ = cls.objects.select_for_update().get_or_create(user_id=user_id)
            own.settings |= chosen
            own.save(update_fields=["settings"])


class SavedFilter(models.Model):
    """A list as a person filtered, searched and sorted it, under a name, for the strip above that list."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_filters", verbose_name=_("user"), db_index=False
    )
    page = models.CharField(_("list"), max_length=100, help_text=_("The name of its URL."))
    name = models.CharField(_("name"), max_length=60)
    query = models.CharField(_("filter"), max_length=2000, help_text=_("A query string, without the question mark."))
    created = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        ordering = ("name",)
        constraints = [
            # also the index by which a list finds those of its visitor
            models.UniqueConstraint(fields=["user", "page", "name"], name="one_saved_filter_per_list_and_name"),
        ]
        verbose_name = _("saved filter")
        verbose_name_plural = _("saved filters")

    def __str__(self) -> str:
        return self.name
