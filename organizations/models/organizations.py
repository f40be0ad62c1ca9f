"""Organizations."""

import secrets
from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from organizations import time_zones
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.encryption import EncryptedTextField


def new_organization_id() -> str:
    """Eight digits, as in DJI's samples: easy to type on a remote controller."""
    return str(secrets.randbelow(90_000_000) + 10_000_000)


class Organization(ChangingModel):
    """A customer that owns devices."""

    organization_path: ClassVar[str] = ""

    organization_id = models.CharField(
        _("organization ID"),
        max_length=64,
        unique=True,
        default=new_organization_id,
        validators=[
            RegexValidator(r"^[A-Za-z0-9_-]{1,64}\Z", _("Use 1 to 64 letters, digits, hyphens or underscores."))
        ],
        help_text=_("What DJI Pilot 2 asks for beside the dock. It cannot be changed later."),
    )
    name = models.CharField(
        _("name"), max_length=100, help_text=_("Pilot 2 shows it to the technician for confirmation.")
    )
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("No device binds to an inactive organization.")
    )
    device_limit = models.PositiveIntegerField(
        _("device limit"),
        null=True,
        blank=True,
        default=1000,
        help_text=_("How many devices, docks and aircraft together. Empty: no limit."),
    )
    license_sync_hours = models.PositiveSmallIntegerField(
        _("read licenses every"),
        null=True,
        blank=True,
        default=24,
        validators=[MinValueValidator(1)],
        help_text=_("Hours after which the lists of unlock licenses of its docks are read again. Empty: never."),
    )
    second_factor_required = models.BooleanField(
        _("second factor required"),
        default=False,
        db_default=False,
        help_text=_("A member without one must set it up before anything else, you too. API keys are not affected."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=time_zones.MOST,
        blank=True,
        default="",
        db_default="",
        validators=[time_zones.validate],
        help_text=_("Of its sites that name no other, such as Asia/Shanghai. Empty: UTC."),
    )
    app_id = models.CharField(_("DJI app ID"), max_length=64, blank=True)
    app_key = EncryptedTextField(_("DJI app key"), blank=True)
    app_license = EncryptedTextField(_("DJI app license"), blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)

    objects: ClassVar[ChangingQuerySet[Self]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name", "pk")
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")

    def __str__(self) -> str:
        return f"{self.name} ({self.organization_id})"

    def clean(self) -> None:
        parts = (self.app_id, self.app_key, self.app_license)
        if any(parts) and not all(parts):
            raise ValidationError(_("A DJI license needs app ID, app key and app license together, or none of them."))
