"""Docks, aircraft and remote controllers, their state, their DJI account, and what they were asked to do."""

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from mqtt_bridge.protocol import model_keys
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.encryption import EncryptedTextField
from organizations.models import CLOCK_TOLERANCE, BindingCode, Organization, OrganizationAPIKey
from organizations.tenancy import WritingQuerySet

SN_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"


# Devices that are here because they or a dock said so.
UNINVITED = Q(organization=None) | Q(claim="named", bound_with=None)


class DeviceQuerySet(ChangingQuerySet["Device"]):
    """Devices."""

    def unclaimed(self) -> Self:
        """Devices that spoke to us and belong to nobody."""
        return self.filter(organization=None)

    def uninvited(self) -> Self:
        """Devices that are here because they or a dock said so, without a code and without a person."""
        return self.filter(UNINVITED)

    def docks(self) -> Self:
        """Docks by their model key; of unknown model, what was bound or added and never was a dock's aircraft.

        What is known from telemetry alone is of unknown kind and no dock.
        """
        was_aircraft = Exists(Pairing.objects.filter(aircraft=OuterRef("pk")))
        return self.filter(Q(model_key__startswith="3-") | (Q(model_key="", bound_at__isnull=False) & ~Q(was_aircraft)))

    def aircraft(self) -> Self:
        """Aircraft by their model key; of unknown model, what belongs to a dock."""
        return self.filter(Q(model_key__startswith="0-") | Q(model_key="", gateway__isnull=False))

    def carried_by(self, dock: "Device") -> Self:
        """The aircraft that belong to this dock and to its owner, switched on or off."""
        return self.filter(gateway=dock, organization=dock.organization_id)

    def lock_in_order(self) -> Self:
        """Lock these rows in the order of their SN, so that two transactions never wait for each other."""
        return self.select_for_update(no_key=True, of=("self",)).order_by("sn")


class Device(ChangingModel):
    """A dock, an aircraft or a remote controller, known by its serial number."""

    class Claim(models.TextChoices):
        NONE = "", "nobody owns it"
        CODE = "code", "it brought a binding code itself"
        PERSON = "person", "a person added it"
        NAMED = "named", "its owner's dock named it"

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
    claim = models.CharField(
        max_length=6, choices=Claim, blank=True, editable=False, help_text="What makes its organization the owner."
    )
    gateway = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="carried",
        help_text="The dock that an aircraft belongs to, switched on or off; none for docks.",
    )
    bound_at = models.DateTimeField(null=True, blank=True, editable=False)
    bound_with = models.ForeignKey(
        BindingCode, models.SET_NULL, null=True, blank=True, editable=False, related_name="devices"
    )
    created = models.DateTimeField(default=timezone.now, editable=False)  # no auto_now_add: rows are copied

    objects: ClassVar[DeviceQuerySet] = DeviceQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("callsign", "sn")
        indexes = [
            models.Index(fields=["organization", "callsign", "sn"], name="device_organization_list"),
            models.Index(fields=["organization", "updated", "id"], name="device_changes"),  # of a tenant, in order
            models.Index(fields=["id"], condition=UNINVITED, name="device_uninvited"),  # they are counted
        ]

    def __str__(self) -> str:
        return f"{self.callsign} ({self.sn})" if self.callsign not in ("", self.sn) else self.sn

    @property
    def model_name(self) -> str:
        """The product's name; the raw key of a product we do not know."""
        return model_keys.name(self.model_key) if self.model_key else "unknown model"

    @property
    def is_bound(self) -> bool:
        return self.organization_id is not None

    @property
    def is_aircraft(self) -> bool:
        """Whether its model says so, or, of unknown model, its place in a dock; never if it bound itself."""
        if self.claim == self.Claim.CODE:
            return False
        if not self.model_key:
            return self.gateway_id is not None
        return model_keys.domain(self.model_key) == model_keys.AIRCRAFT

    @property
    def speaks_for(self) -> Organization | None:
        """The organization that this device speaks for when it asks for something, which no aircraft ever does.

        What is recorded as an aircraft and asks is a gateway that another dock falsely claimed to carry.
        """
        return None if self.is_unproven or self.is_aircraft else self.organization

    @property
    def is_unproven(self) -> bool:
        """Whether its owner has nothing but the word of a dock that it is that dock's aircraft."""
        return self.claim == self.Claim.NAMED or (not self.claim and self.is_aircraft)


class Pairing(models.Model):
    """That an aircraft belongs, or belonged, to a dock: from when to when, and who said so.

    Several docks may know one aircraft; `Device.gateway` is the one it is shown in. The rules: `devices/pairing.py`.
    """

    class Witness(models.TextChoices):
        BIND = "bind", "bind request of the dock"
        TOPOLOGY = "topology", "topology of the dock"
        DOCK = "dock", "properties of the dock"
        AIRCRAFT = "aircraft", "properties of the aircraft"
        RELEASE = "release", "release"
        RECORD = "record", "earlier record"

    dock = models.ForeignKey(Device, models.CASCADE, related_name="aircraft_pairings")
    aircraft = models.ForeignKey(Device, models.CASCADE, related_name="dock_pairings")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text="Empty: it still belongs there.")
    witness = models.CharField(max_length=8, choices=Witness, help_text="Who said first that it belongs there.")
    ended_by = models.CharField(max_length=8, choices=Witness, blank=True)
    linked_since = models.DateTimeField(null=True, help_text="Empty: switched off, or linked through another dock.")
    is_heard = models.BooleanField(default=False, help_text="Whether the aircraft said so, too.")
    changed_at = models.DateTimeField(help_text="What was said before this moment is out of date.")
    remark = models.CharField(max_length=200, blank=True, help_text="Why it does not belong to the dock's owner.")

    objects: ClassVar[WritingQuerySet[Self]] = WritingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-since", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["dock", "aircraft"], condition=Q(until=None), name="one_open_pairing_per_dock_and_aircraft"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.aircraft} in {self.dock}"


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
    refused = models.PositiveBigIntegerField(default=0, help_text="Messages and values that could not be read.")
    refused_at = models.DateTimeField(null=True, help_text="When the last of them came.")
    refused_why = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [
            # the sweep for silent devices
            models.Index(fields=["last_seen"], condition=Q(online=True), name="device_state_online_last_seen"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {'online' if self.online else 'offline'}"

    @property
    def seen(self) -> datetime | None:
        """`last_seen`, which is never in the future for people: our clock was set back since it was written."""
        return self.last_seen and min(self.last_seen, timezone.now())


# What a device's new owner must not see of the old one, as values of a state that knows nothing.
UNKNOWN_STATE: dict[str, Any] = {
    "latitude": None,
    "longitude": None,
    "mode_code": None,
    "properties": {},
    "refused": 0,
    "refused_at": None,
    "refused_why": "",
}


class DeviceAccount(models.Model):
    """The DJI account that a dock is logged in to."""

    class Status(models.TextChoices):
        LOGGED_OUT = "logged_out", "logged out"
        LOGGING_IN = "logging_in", "logging in"
        VERIFICATION_REQUIRED = "verification_required", "verification required"
        LOGGED_IN = "logged_in", "logged in"
        FAILED = "failed", "failed"
        UNKNOWN = "unknown", "unknown: the dock may be logged in"

    device = models.OneToOneField(Device, models.CASCADE, related_name="account")
    username = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=24, choices=Status, default=Status.LOGGED_OUT)
    verification_code_url = models.CharField(
        max_length=2048, blank=True, help_text="Where to get the code; https only."
    )
    before = models.JSONField(
        default=dict, editable=False, help_text="What holds again if an attempt never reaches the dock."
    )
    updated = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.username or 'nobody'} on {self.device_id}: {self.get_status_display()}"


# --- what docks are asked to do ------------------------------------------------------------------

OPEN_STATUSES = ["queued", "sent", "accepted", "in_progress", "paused"]


def new_id() -> str:
    """A random UUID as text: for DJI a `tid` and a `bid` are opaque text."""
    return str(uuid.uuid4())


def in_a_minute() -> datetime:
    """When a call is too old to be sent, if nobody says otherwise."""
    return timezone.now() + timedelta(minutes=1)


class ServiceCallBatch(ChangingModel):
    """One service asked of many docks at once: a call for each, or the reason why it got none.

    A batch over docks of several organizations belongs to none of them: only platform staff sees it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, null=True, related_name="service_call_batches")
    method = models.CharField(max_length=64)
    data = models.JSONField(default=dict)
    skipped = models.JSONField(default=list, help_text="Docks that got no call: [{sn, callsign, reason}].")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    requested_with = models.ForeignKey(OrganizationAPIKey, models.SET_NULL, null=True, related_name="+")
    note = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    stopped = models.DateTimeField(null=True, help_text="When somebody stopped what was not sent by then.")

    objects: ClassVar[ChangingQuerySet[Self]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        indexes = [
            models.Index(fields=["created"], name="batch_created"),  # pruning
        ]
        verbose_name = "batch of service calls"
        verbose_name_plural = "batches of service calls"

    def __str__(self) -> str:
        return f"{self.method} of {self.created:%Y-%m-%d %H:%M}"

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """Who wants it; None for a script, and for who is deleted."""
        return self.requested_by or self.requested_with


class ServiceCallQuerySet(ChangingQuerySet["ServiceCall"]):
    """Service calls."""

    def open(self) -> Self:
        """Calls whose end is not known yet."""
        return self.filter(status__in=OPEN_STATUSES)

    def overdue(self, now: datetime, *, longest: timedelta) -> Self:
        """Open calls that were not sent or not answered in time; no dock may be silent for longer than `longest`.

        Those whose time would be up much later than it may be are among them: our clock was set back since, and they
        would keep their docks from other calls until it is what it was.
        """
        queued = Q(status=ServiceCall.Status.QUEUED)
        is_over = Q(expires__lt=now) | Q(created__gt=now + CLOCK_TOLERANCE)
        is_silent = Q(deadline__lt=now) | Q(deadline__gt=now + longest + CLOCK_TOLERANCE)
        return self.open().filter((queued & is_over) | (~queued & is_silent))

    def to_be_sent(self, now: datetime) -> Self:
        """Queued calls whose time has not run out; one that waits for its dock only while that is online."""
        queued = self.filter(status=ServiceCall.Status.QUEUED, expires__gte=now)
        return queued.filter(Q(queue=False) | Q(device__state__online=True))


class ServiceCall(ChangingModel):
    """One service asked of one dock, by a person, a script or an integrator. Its rules: `devices/calls/states.py`.

    `updated` is the moment of its last version.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "waiting to be sent"
        SENT = "sent", "sent"
        ACCEPTED = "accepted", "accepted"
        IN_PROGRESS = "in_progress", "in progress"
        PAUSED = "paused", "paused"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        REJECTED = "rejected", "rejected"
        CANCELED = "canceled", "canceled"
        TIMED_OUT = "timed_out", "no answer"
        EXPIRED = "expired", "not sent"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, models.PROTECT, related_name="service_calls", help_text="The gateway asked.")
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="service_calls", help_text="Whose device it was then."
    )
    method = models.CharField(max_length=64)
    subject = models.CharField(max_length=128, blank=True, help_text="Of what only one call may be open per dock.")
    data = models.JSONField(default=dict, help_text="What the service is given; secrets as ***.")
    tid = models.CharField(max_length=64, unique=True, default=new_id, editable=False)
    bid = models.CharField(max_length=64, unique=True, default=new_id, editable=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    late = models.BooleanField(default=False, help_text="The end came after we had given up waiting.")
    percent = models.PositiveSmallIntegerField(null=True)
    result_code = models.BigIntegerField(null=True, help_text="The dock's.")
    result_text = models.TextField(blank=True)
    output = models.JSONField(default=dict, help_text="What the dock told beside the result.")
    version = models.PositiveIntegerField(default=1, help_text="Rises by one with every change.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="service_calls")
    requested_with = models.ForeignKey(OrganizationAPIKey, models.SET_NULL, null=True, related_name="service_calls")
    note = models.TextField(blank=True)
    batch = models.ForeignKey(ServiceCallBatch, models.PROTECT, null=True, related_name="calls")
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="retries")
    idempotency_key = models.CharField(max_length=255, blank=True)
    queue = models.BooleanField(default=False, help_text="Wait for the dock to come online.")
    created = models.DateTimeField(default=timezone.now)
    sent = models.DateTimeField(null=True)
    replied = models.DateTimeField(null=True)
    closed = models.DateTimeField(null=True)
    expires = models.DateTimeField(default=in_a_minute, help_text="Not sent any more after this.")
    deadline = models.DateTimeField(null=True, help_text="Not waited for any longer; moves with every event.")

    objects: ClassVar[ServiceCallQuerySet] = ServiceCallQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        constraints = [
            models.UniqueConstraint(
                fields=["device", "subject"],
                condition=Q(status__in=OPEN_STATUSES),
                name="one_open_call_per_device_and_subject",
            ),
        ]
        indexes = [
            models.Index(fields=["-created"], name="call_list"),  # platform staff's list
            models.Index(fields=["organization", "-created"], name="call_organization_list"),
            models.Index(fields=["device", "-created"], name="call_device_list"),
            models.Index(fields=["organization", "updated", "id"], name="call_changes"),  # of a tenant, in order
            # what a client that lost its answer looks for
            models.Index(fields=["idempotency_key"], condition=~Q(idempotency_key=""), name="call_idempotency_key"),
            # what is to be sent or closed, asked every 5 s
            models.Index(
                fields=["status", "expires"],
                condition=Q(status__in=OPEN_STATUSES),
                name="call_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} ({self.get_status_display()})"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """Who wants it; None for a script, and for who is deleted."""
        return self.requested_by or self.requested_with


class ServiceCallEvent(models.Model):
    """One step in a call's life; only ever added, in the transaction that changes the call."""

    class Source(models.TextChoices):
        ISSUED = "issued", "asked for"
        WORKER = "worker", "sent by us"
        REPLY = "reply", "reply of the dock"
        EVENT = "event", "event of the dock"
        PERSON = "person", "a person"
        CLOCK = "clock", "time ran out"

    call = models.ForeignKey(ServiceCall, models.CASCADE, related_name="events")
    version = models.PositiveIntegerField()
    at = models.DateTimeField()
    source = models.CharField(max_length=8, choices=Source)
    status = models.CharField(max_length=16, choices=ServiceCall.Status)
    percent = models.PositiveSmallIntegerField(null=True)
    result_code = models.BigIntegerField(null=True)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ("call", "version")
        constraints = [
            models.UniqueConstraint(fields=["call", "version"], name="one_event_per_version"),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.get_status_display()}"


class ServiceCallSecret(models.Model):
    """What a call carries and nobody may read: encrypted, gone when it is sent, closed or `expires`."""

    call = models.OneToOneField(ServiceCall, models.CASCADE, primary_key=True, related_name="secret")
    sealed = EncryptedTextField(editable=False)
    expires = models.DateTimeField()

    def __str__(self) -> str:
        return f"secret of {self.call_id}"
