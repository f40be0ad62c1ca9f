"""Unlock licenses as a dock reported them, and when it did."""

from typing import ClassVar, Self

from django.db import models

from devices.models import Device
from organizations.tenancy import TenantModel, TenantQuerySet


class Inventory(models.IntegerChoices):
    """DJI's `device_model_domain`: where a list of licenses was read from."""

    AIRCRAFT = 0, "imported in the aircraft"
    DOCK = 3, "approved for the dock"


class UnlockLicense(TenantModel):
    """One unlock license in one of a dock's two inventories; the named fields are DJI's."""

    organization_path = "device__organization"

    device = models.ForeignKey(Device, models.CASCADE, related_name="unlock_licenses")
    device_model_domain = models.PositiveSmallIntegerField(choices=Inventory)
    license_id = models.BigIntegerField()
    name = models.CharField(max_length=200, blank=True)
    type = models.IntegerField()
    group_id = models.BigIntegerField(null=True)
    user_id = models.CharField(max_length=200, blank=True)
    device_sn = models.CharField(max_length=64, blank=True)
    begin_time = models.DateTimeField(null=True)
    end_time = models.DateTimeField(null=True)
    user_only = models.BooleanField(default=False)
    enabled = models.BooleanField(default=False)
    details = models.JSONField(default=dict)
    raw = models.JSONField(default=dict)
    note = models.TextField(blank=True)

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("device", "device_model_domain", "license_id")
        constraints = [
            models.UniqueConstraint(
                fields=["device", "device_model_domain", "license_id"],
                name="one_license_per_device_and_domain",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.license_id} {self.name}"


class LicenseList(TenantModel):
    """One answered list of one inventory of a dock."""

    organization_path = "device__organization"

    device = models.ForeignKey(Device, models.CASCADE, related_name="license_lists")
    device_model_domain = models.PositiveSmallIntegerField(choices=Inventory)
    consistence = models.BooleanField(null=True)
    complete = models.BooleanField()
    fetched_at = models.DateTimeField()

    objects: ClassVar[TenantQuerySet[Self]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-fetched_at",)

    def __str__(self) -> str:
        return f"{self.get_device_model_domain_display()} of {self.device_id} at {self.fetched_at:%Y-%m-%d %H:%M}"
