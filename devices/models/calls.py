"""What docks are asked to do: service calls, their history, and batches of them."""

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from devices.calls.methods import LIST, title
from devices.models.devices import Device
from mqtt_bridge.database.prepared import Parameter
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.encryption import EncryptedTextField
from organizations.models import CLOCK_TOLERANCE, Organization, OrganizationAPIKey

_OF_RELATED = (
    "device__sn", "device__callsign", "device__organization_id", "device__is_enabled",
    "organization__organization_id", "requested_by__username", "requested_with__name",
)  # fmt: skip
LONGEST_PAUSE = timedelta(minutes=1)  # between two attempts at a dock that is online and yet not connected
OPEN_STATUSES = ["queued", "sent", "accepted", "in_progress", "paused"]


def new_id() -> str:
    """A random UUID as text: for DJI a `tid` and a `bid` are opaque text."""
    return str(uuid.uuid4())


def in_a_minute() -> datetime:
    """When a call is too old to be sent, unless the caller gives another time."""
    return timezone.now() + timedelta(minutes=1)


class ServiceCallBatch(ChangingModel):
    """One service asked of many docks at once: a call for each, or the reason why it got none.

    A batch over docks of several organizations belongs to none of them: only platform staff see it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, null=True, related_name="service_call_batches", verbose_name=_("organization")
    )
    method = models.CharField(_("method"), max_length=64)
    data = models.JSONField(_("data"), default=dict)
    skipped = models.JSONField(
        _("skipped"), default=list, help_text=_("Docks that got no call: [{sn, callsign, reason}].")
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("requested by")
    )
    requested_with = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, related_name="+", verbose_name=_("requested with")
    )
    note = models.TextField(_("note"), blank=True)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    stopped = models.DateTimeField(
        _("stopped"), null=True, help_text=_("When somebody stopped what was not sent by then.")
    )
    due_at = models.DateTimeField(_("due"), null=True, blank=True, help_text=_("Empty: started when it was asked for."))
    planned = models.JSONField(
        _("planned"), null=True, blank=True, help_text=_("Which docks it will ask, and for what; no secrets.")
    )
    queue_seconds = models.PositiveIntegerField(
        _("wait for docks"),
        null=True,
        blank=True,
        help_text=_("How long its calls wait for an offline dock, in seconds. Empty: not at all."),
    )
    started_at = models.DateTimeField(
        _("started"), null=True, blank=True, help_text=_("When a worker started what was due.")
    )

    objects: ClassVar[ChangingQuerySet[Self]] = ChangingQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created",)
        indexes = [
            models.Index(fields=["created"], name="batch_created"),  # pruning
            # what is to be started, asked by the schedule
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False, started_at=None), name="batch_due"),
        ]
        verbose_name = _("batch of commands")
        verbose_name_plural = _("batches of commands")

    def __str__(self) -> str:
        return f"{title(self.method, self.data)}, {self.created:%Y-%m-%d %H:%M} UTC"

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """The user or key that asked for it; None for a script, and once they are deleted."""
        return self.requested_by or self.requested_with


class ServiceCallQuerySet(ChangingQuerySet["ServiceCall"]):
    """Service calls."""

    def open(self) -> Self:
        """Calls whose end is not known yet."""
        return self.filter(status__in=OPEN_STATUSES)

    def overdue(self, now: datetime, *, longest: timedelta) -> Self:
        """Open calls that were not sent or not answered in time; no dock may be silent for longer than `longest`.

        Calls whose time is up later than any call's may be are among them: our clock was set back after they were made,
        and they would block their docks until it is past that time again.
        """
        queued = Q(status=ServiceCall.Status.QUEUED)
        is_over = Q(expires__lt=now) | Q(created__gt=now + CLOCK_TOLERANCE)
        is_silent = Q(deadline__lt=now) | Q(deadline__gt=now + longest + CLOCK_TOLERANCE)
        return self.open().filter((queued & is_over) | (~queued & is_silent))

    def to_be_sent(self, now: datetime | Parameter) -> Self:
        """Queued calls whose time has not run out; those that wait for their dock only while it is online.

        One that reached no dock is tried again when its pause is over, at once if the dock came online or spoke since.
        What the dock says counts no longer once that was of no use several times: it speaks, but does not listen.
        """
        queued = self.filter(status=ServiceCall.Status.QUEUED, expires__gte=now)
        tried = F("tried_at")
        has_spoken = Q(device__state__last_seen__gt=tried, retry_at__lt=tried + LONGEST_PAUSE)
        is_over = Q(retry_at=None) | Q(retry_at__lte=now) | Q(tried_at__gt=now)  # our clock was set back
        is_due = is_over | has_spoken | Q(device__state__connected_since__gt=tried)
        return queued.filter(Q(queue=False) | (Q(device__state__online=True) & is_due))

    def lock_in_order(self, *, skip_locked: bool = False) -> Self:
        """Lock these in the order of their keys, with what a change reads of related rows, and nothing else of them."""
        own = (field.name for field in ServiceCall._meta.concrete_fields)
        rows = self.select_related("device", "organization", "requested_by", "requested_with").only(*own, *_OF_RELATED)
        return rows.select_for_update(no_key=True, of=("self",), skip_locked=skip_locked).order_by("pk")


class ServiceCall(ChangingModel):
    """One service asked of one dock, by a person, a script or an integrator. Its rules: `devices/calls/states.py`.

    `updated` is the moment of its last version.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", _("waiting to be sent")
        SENT = "sent", _("sent")
        ACCEPTED = "accepted", _("accepted")
        IN_PROGRESS = "in_progress", _("in progress")
        PAUSED = "paused", _("paused")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        REJECTED = "rejected", _("rejected")
        CANCELED = "canceled", _("canceled")
        TIMED_OUT = "timed_out", _("no answer")
        EXPIRED = "expired", _("not sent")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Without indexes of their own: others below begin with them, and each costs every change of a call.
    device = models.ForeignKey(
        Device,
        models.PROTECT,
        db_index=False,
        related_name="service_calls",
        help_text=_("The gateway asked."),
        verbose_name=_("device"),
    )
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        db_index=False,
        related_name="service_calls",
        help_text=_("Whose device it was then."),
        verbose_name=_("organization"),
    )
    method = models.CharField(_("method"), max_length=64)
    subject = models.CharField(
        _("subject"), max_length=128, blank=True, help_text=_("Of what only one call may be open per dock.")
    )
    data = models.JSONField(_("data"), default=dict, help_text=_("What the service is given; secrets as ***."))
    tid = models.CharField(_("tid"), max_length=64, unique=True, default=new_id, editable=False)
    bid = models.CharField(_("bid"), max_length=64, unique=True, default=new_id, editable=False)
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.QUEUED)
    late = models.BooleanField(_("late"), default=False, help_text=_("The end came after we had given up waiting."))
    percent = models.PositiveSmallIntegerField(_("percent"), null=True)
    result_code = models.BigIntegerField(_("result code"), null=True, help_text=_("The dock's."))
    result_text = models.TextField(_("result text"), blank=True)
    output = models.JSONField(_("output"), default=dict, help_text=_("What the dock told beside the result."))
    version = models.PositiveIntegerField(_("version"), default=1, help_text=_("Rises by one with every change."))
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="service_calls",
        verbose_name=_("requested by"),
    )
    requested_with = models.ForeignKey(
        OrganizationAPIKey, models.SET_NULL, null=True, related_name="service_calls", verbose_name=_("requested with")
    )
    note = models.TextField(_("note"), blank=True)
    batch = models.ForeignKey(
        ServiceCallBatch, models.PROTECT, null=True, related_name="calls", verbose_name=_("batch")
    )
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="retries", verbose_name=_("retry of"))
    idempotency_key = models.CharField(_("idempotency key"), max_length=255, blank=True)
    queue = models.BooleanField(_("queue"), default=False, help_text=_("Wait for the dock to come online."))
    by_schedule = models.BooleanField(
        _("by schedule"),
        default=False,
        db_default=False,
        help_text=_("Nobody asked for it: its failure is no news."),
    )
    created = models.DateTimeField(_("created"), default=timezone.now)
    sent = models.DateTimeField(_("sent"), null=True)
    tried_at = models.DateTimeField(
        _("tried"), null=True, help_text=_("When the broker last had no dock to hand it to.")
    )
    retry_at = models.DateTimeField(_("tried again"), null=True)
    replied = models.DateTimeField(_("replied"), null=True)
    closed = models.DateTimeField(_("closed"), null=True)
    expires = models.DateTimeField(_("expires"), default=in_a_minute, help_text=_("Not sent any more after this."))
    deadline = models.DateTimeField(
        _("deadline"), null=True, help_text=_("Not waited for any longer; moves with every event.")
    )

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
            models.Index(fields=["by_schedule", "-created"], name="call_people_list"),  # platform staff's list
            models.Index(fields=["-created"], name="call_list"),  # the same with those of the schedule
            models.Index(fields=["organization", "-created"], name="call_organization_list"),
            models.Index(fields=["device", "-created"], name="call_device_list"),
            models.Index(fields=["organization", "updated", "id"], name="call_changes"),  # of a tenant, in order
            models.Index(fields=["updated", "id"], name="call_all_changes"),  # of several tenants, or of all
            # what a client that lost its answer looks for
            models.Index(fields=["idempotency_key"], condition=~Q(idempotency_key=""), name="call_idempotency_key"),
            models.Index(fields=["method", "-created"], name="call_method"),  # the list of one service
            models.Index(fields=["organization", "requested_by"], name="call_organization_person"),  # who asked
            # the list of those in one of the rarer states
            models.Index(fields=["status", "-created"], condition=~Q(status="succeeded"), name="call_unsuccessful"),
            # what is to be sent or closed, asked every 5 s
            models.Index(
                fields=["status", "expires"],
                condition=Q(status__in=OPEN_STATUSES),
                name="call_open",
            ),
        ]
        verbose_name = _("command")  # people's word for it
        verbose_name_plural = _("commands")

    def __str__(self) -> str:
        values = {"command": title(self.method, self.data), "dock": self.device.sn, "state": self.get_status_display()}
        return pgettext("command", "{command}, {dock} – {state}").format(**values)

    @property
    def is_without_list(self) -> bool:
        """Whether it read the licenses with success, and yet the dock sent no list of them, so that nobody knows it."""
        return self.status == self.Status.SUCCEEDED and self.method == LIST and "licenses" not in self.output

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def asked_by(self) -> AbstractBaseUser | OrganizationAPIKey | None:
        """The user or key that asked for it; None for a script, and once they are deleted."""
        return self.requested_by or self.requested_with


class ServiceCallEvent(models.Model):
    """One step in a call's life; only ever added, in the transaction that changes the call."""

    class Source(models.TextChoices):
        ISSUED = "issued", pgettext_lazy("event", "asked for")
        WORKER = "worker", _("this server")
        REPLY = "reply", _("reply of the dock")
        EVENT = "event", _("event of the dock")
        PERSON = "person", _("a person")
        CLOCK = "clock", _("time ran out")

    call = models.ForeignKey(ServiceCall, models.CASCADE, db_index=False, related_name="events")
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
    """The secret part of a call's data: encrypted, deleted when the call is sent or closed, or at `expires`."""

    call = models.OneToOneField(ServiceCall, models.CASCADE, primary_key=True, related_name="secret")
    sealed = EncryptedTextField(editable=False)
    expires = models.DateTimeField()

    def __str__(self) -> str:
        return f"secret of {self.call_id}"
