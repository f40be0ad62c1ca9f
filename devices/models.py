"""Docks, aircraft and remote controllers, their state and their DJI account."""

from typing import Any, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from mqtt_bridge.protocol import model_keys
from organizations.models import BindingCode, Organization
from organizations.tenancy import TenantModel, TenantQuerySet

SN_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"


class DeviceQuerySet(TenantQuerySet["Device"]):
    """Devices."""

    def unclaimed(self) -> Self:
        """Devices that spoke to us and belong to nobody."""
        return self.filter(organization=None)

    def uninvited(self) -> Self:
        """Devices that are here because they or a dock said so, without a code and without a person."""
        return self.filter(Q(organization=None) | Q(bound_with=None, bound_at__isnull=False))

    def docks(self) -> Self:
        """Docks by their model key; a device of unknown model counts as a dock unless something carries it."""
        return self.filter(Q(model_key__startswith="3-") | Q(model_key="", gateway=None))

    def lock_in_order(self) -> Self:
        """Lock these rows in the order of their SN, so that two transactions never wait for each other."""
        return self.select_for_update(no_key=True, of=("self",)).order_by("sn")


class Device(TenantModel):
    """A dock, an aircraft or a remote controller, known by its serial number."""

    sn = models.CharField(
        "serial number",
        max_length=64,
        unique=True,
        validators=[RegexValidator(SN_PATTERN, "1 to 64 letters, digits, hyphens or underscores, no leading sign.")],
    )
    model_key = models.CharField(
        max_length=32,
        blank=True,
        help_text="DJI's domain-type-sub_type, such as 3-2-0. Filled in by the device.",
    )
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="devices",
        help_text="Empty: unclaimed.",
    )
    callsign = models.CharField(max_length=128, blank=True)
    is_enabled = models.BooleanField(
        "enabled", default=True, help_text="A disabled device gets no DJI license and cannot be bound."
    )
    gateway = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="carried",
        help_text="The dock that carries it.",
    )
    bound_at = models.DateTimeField(null=True, blank=True, editable=False)
    bound_with = models.ForeignKey(
        BindingCode, models.SET_NULL, null=True, blank=True, editable=False, related_name="devices"
    )
    created = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[DeviceQuerySet] = DeviceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("callsign", "sn")
        indexes = [
            models.Index(fields=["organization", "callsign", "sn"], name="device_organization_list"),
        ]

    def __str__(self) -> str:
        return f"{self.callsign} ({self.sn})" if self.callsign else self.sn

    @property
    def model_name(self) -> str:
        """The product's name; the raw key of a product we do not know."""
        return model_keys.name(self.model_key) if self.model_key else "unknown model"

    @property
    def is_bound(self) -> bool:
        return self.organization_id is not None

    @property
    def is_aircraft(self) -> bool:
        return model_keys.domain(self.model_key) == model_keys.AIRCRAFT

    @property
    def speaks_for(self) -> Organization | None:
        """The organization that this device speaks for on its own control topics, where no aircraft ever speaks.

        What is recorded as an aircraft and speaks there is a gateway that another dock falsely claimed to carry.
        """
        return None if self.is_aircraft else self.organization


class DeviceState(models.Model):
    """How a device is, as it last told us. Written every second, hence apart from `Device`."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="state")
    online = models.BooleanField(default=False)
    last_seen = models.DateTimeField(null=True)
    connected_since = models.DateTimeField(null=True)
    firmware_version = models.CharField(max_length=64, blank=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    mode_code = models.IntegerField(null=True)
    properties = models.JSONField(default=dict)
    clock_skew_ms = models.BigIntegerField(null=True)
    cleared_at = models.DateTimeField(null=True, help_text="Telemetry from before belongs to a former owner.")

    class Meta:
        indexes = [
            # the sweep for silent devices
            models.Index(fields=["last_seen"], condition=Q(online=True), name="device_state_online_last_seen"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {'online' if self.online else 'offline'}"


# What a device's new owner must not see of the old one, as values of a state that knows nothing.
UNKNOWN_STATE: dict[str, Any] = {
    "latitude": None,
    "longitude": None,
    "mode_code": None,
    "properties": {},
}


class DeviceAccount(models.Model):
    """The DJI account that a dock is logged in to."""

    class Status(models.TextChoices):
        LOGGED_OUT = "logged_out", "logged out"
        LOGGING_IN = "logging_in", "logging in"
        VERIFICATION_REQUIRED = "verification_required", "verification required"
        LOGGED_IN = "logged_in", "logged in"
        FAILED = "failed", "failed"

    device = models.OneToOneField(Device, models.CASCADE, related_name="account")
    username = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=24, choices=Status, default=Status.LOGGED_OUT)
    verification_code_url = models.CharField(max_length=2000, blank=True)
    updated = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.username or 'nobody'} on {self.device_id}: {self.get_status_display()}"
