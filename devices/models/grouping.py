"""How an organization groups its devices: sites, where they stand, and labels, for anything else."""

from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from organizations import time_zones
from organizations.models import Organization
from organizations.tenancy import TenantModel, TenantQuerySet


class Site(TenantModel):
    """A place of an organization where devices stand: its time zone is theirs. A device is at one site at most."""

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="sites", verbose_name=_("organization"), db_index=False
    )
    name = models.CharField(_("name"), max_length=100)
    place = models.CharField(_("place"), max_length=200, blank=True, help_text=_("An address, or how to get there."))
    latitude = models.FloatField(
        _("latitude"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
        help_text=_("Degrees north, WGS 84."),
    )
    longitude = models.FloatField(
        _("longitude"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
        help_text=_("Degrees east, WGS 84."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=time_zones.MOST,
        blank=True,
        validators=[time_zones.validate],
        help_text=_("Such as Asia/Shanghai. Empty: the organization's."),
    )

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            # also the index of a tenant's list
            models.UniqueConstraint(fields=["organization", "name"], name="one_site_per_organization_and_name"),
        ]
        verbose_name = _("site")
        verbose_name_plural = _("sites")

    def __str__(self) -> str:
        return self.name


class Label(TenantModel):
    """A word that an organization puts on devices, to find them together. A device may have several."""

    class Colour(models.TextChoices):
        """How it is shown; the style sheet has the values, for light and for dark pages."""

        GREY = "grey", _("grey")
        BLUE = "blue", _("blue")
        GREEN = "green", _("green")
        YELLOW = "yellow", _("yellow")
        RED = "red", _("red")
        PURPLE = "purple", _("purple")

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="labels", verbose_name=_("organization"), db_index=False
    )
    name = models.CharField(_("name"), max_length=40)
    colour = models.CharField(_("colour"), max_length=6, choices=Colour, default=Colour.GREY)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            # also the index of a tenant's list
            models.UniqueConstraint(fields=["organization", "name"], name="one_label_per_organization_and_name"),
        ]
        verbose_name = _("label")
        verbose_name_plural = _("labels")

    def __str__(self) -> str:
        return self.name


class DeviceLabel(TenantModel):
    """That a device has a label. Its owner forgets it with the device: FORGOTTEN_ON_RELEASE."""

    organization_path: ClassVar[str] = "device__organization"

    device = models.ForeignKey(
        "devices.Device", models.CASCADE, related_name="device_labels", verbose_name=_("device"), db_index=False
    )
    # its index finds the devices with a label
    label = models.ForeignKey(Label, models.CASCADE, related_name="device_labels", verbose_name=_("label"))

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            # also the index that finds the labels of a device
            models.UniqueConstraint(fields=["device", "label"], name="one_device_label_per_device_and_label"),
        ]
        verbose_name = _("label of a device")
        verbose_name_plural = _("labels of devices")

    def __str__(self) -> str:
        return gettext("{label} on {device}").format(label=self.label, device=self.device)
