"""What devices reported last, and the DJI accounts that docks are logged in to."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q, Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from devices.models.devices import Device


class DeviceState(models.Model):
    """The last reported state of a device. Written every second, hence apart from `Device`."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="state")
    # Columns that may not be null have defaults of the database: whoever inserts a row names what is known.
    online = models.BooleanField(default=False, db_default=False)
    last_seen = models.DateTimeField(null=True)
    connected_since = models.DateTimeField(null=True)
    firmware_version = models.CharField(max_length=64, blank=True, default="", db_default="")
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    mode_code = models.IntegerField(null=True)
    properties = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    clock_skew_ms = models.BigIntegerField(null=True)
    cleared_at = models.DateTimeField(null=True, help_text=_("Telemetry from before belongs to a former owner."))
    refused = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text=_("Messages and values that could not be read.")
    )
    refused_at = models.DateTimeField(null=True, help_text=_("When the last of them came."))
    refused_why = models.CharField(max_length=200, blank=True, default="", db_default="")
    told = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text=_("When the newest message of each kind arrived, in ms since 1970; of the last minute."),
    )
    named = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text=_("The aircraft that the dock named last, once that is learnt."),
    )

    class Meta:
        indexes = [
            # the sweep for silent devices
            models.Index(fields=["last_seen"], condition=Q(online=True), name="device_state_online_last_seen"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {'online' if self.online else 'offline'}"

    @property
    def seen(self) -> datetime | None:
        """`last_seen`, but never in the future, as it is when our clock was set back after it was written."""
        return self.last_seen and min(self.last_seen, timezone.now())


# What a new owner must not see of the former one's device, with the values of an empty state.
UNKNOWN_STATE: dict[str, Any] = {
    "latitude": None,
    "longitude": None,
    "mode_code": None,
    "properties": {},
    "named": "",
    "refused": 0,
    "refused_at": None,
    "refused_why": "",
}


class DeviceAccount(models.Model):
    """The DJI account that a dock is logged in to."""

    class Status(models.TextChoices):
        LOGGED_OUT = "logged_out", _("logged out")
        LOGGING_IN = "logging_in", _("logging in")
        VERIFICATION_REQUIRED = "verification_required", _("verification required")
        LOGGED_IN = "logged_in", _("logged in")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown: the dock may be logged in")

    device = models.OneToOneField(Device, models.CASCADE, related_name="account")
    username = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=24, choices=Status, default=Status.LOGGED_OUT)
    verification_code_url = models.CharField(
        max_length=2048, blank=True, help_text=_("Where to get the code; https only.")
    )
    before = models.JSONField(
        default=dict, editable=False, help_text=_("What holds again if an attempt never reaches the dock.")
    )
    updated = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.username or 'nobody'} on {self.device_id}: {self.get_status_display()}"
