"""The journal of what docks sent and what this server answered, the bridge's heartbeat, and certificates."""

from datetime import datetime, timedelta
from typing import ClassVar, Final, Self

from django.db import models
from django.db.models import ExpressionWrapper, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from mqtt_bridge.database.prepared import Parameter, Prepared
from mqtt_bridge.protocol.topics import Channel

# The methods of DJI's "dock access to cloud" page, in its order.
ONBOARDING = (
    "config",
    "airport_bind_status",
    "airport_organization_get",
    "airport_organization_bind",
    "update_topo",
)

# Journal entries that people look for: few among millions.
IS_UNUSUAL = ~Q(reason="") | Q(outcome__in=["quarantined", "error", "left"])


class Exchange(models.Model):
    """One control message of a dock and our answer to it. Secrets are removed before they get here."""

    class Outcome(models.TextChoices):
        ANSWERED = "answered"
        IGNORED = "ignored"
        QUARANTINED = "quarantined"
        ERROR = "error"
        LEFT = "left"  # another service on the same broker answers this method

    LEFT_TO_OTHERS: ClassVar[str] = gettext_noop("left to others")  # the reason while nobody has answered
    DISABLED: ClassVar[str] = gettext_noop("device disabled")
    FULL: ClassVar[str] = gettext_noop("the journal of this device is full for today")
    FULL_OF_STRANGERS: ClassVar[str] = gettext_noop("the journal of devices that belong to nobody is full for today")
    HAS_ACCOUNT: ClassVar[str] = gettext_noop("the dock has an account of its own")
    NOT_ENROLLING: ClassVar[str] = gettext_noop("only the onboarding is answered there")
    UNANSWERED: ClassVar[str] = gettext_noop("left to others; nobody answered within 10 s")

    organization_path: ClassVar[str] = "organization"

    gateway_sn = models.CharField(_("gateway SN"), max_length=64)
    organization = models.ForeignKey(
        "organizations.Organization",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="exchanges",
        verbose_name=_("organization"),
    )
    channel = models.CharField(
        _("channel"), max_length=20, choices=[(channel.value, channel.value) for channel in Channel]
    )
    method = models.CharField(_("method"), max_length=64, blank=True)
    tid = models.CharField(_("tid"), max_length=128, blank=True)
    bid = models.CharField(_("bid"), max_length=128, blank=True)
    received_at = models.DateTimeField(_("received at"))
    device_time = models.DateTimeField(_("device time"), null=True)
    payload = models.TextField(_("payload"), blank=True)
    reply = models.TextField(_("reply"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    by_enrolment = models.BooleanField(
        _("through enrolment"),
        default=False,
        db_default=False,
        help_text=_("If it did, its sender need not be this gateway: anybody may use an enrolment account."),
    )

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal")
        ordering = ("-received_at", "-pk")
        indexes = [
            models.Index(fields=["gateway_sn", "-received_at"], name="exchange_gateway"),  # a dock's timeline
            models.Index(fields=["organization", "-received_at"], name="exchange_organization"),  # a tenant's list
            models.Index(fields=["received_at"], name="exchange_received_at"),  # pruning
            # the last message of each step of an onboarding: few rows among millions
            models.Index(
                fields=["gateway_sn", "method", "-received_at"],
                condition=Q(method__in=ONBOARDING),
                name="exchange_onboarding",
            ),
            # the lists of one channel, and of one method in all channels
            models.Index(fields=["channel", "method", "-received_at"], name="exchange_method"),
            models.Index(fields=["tid"], name="exchange_tid"),  # search
            # the lists of what was refused or went wrong
            models.Index(fields=["-received_at"], condition=IS_UNUSUAL, name="exchange_unusual"),
            # what others have to answer, asked every 5 s
            models.Index(fields=["received_at"], condition=Q(outcome="left"), name="exchange_left"),
        ]

    def __str__(self) -> str:
        return f"{self.gateway_sn} {self.method or self.channel}"

    @property
    def is_refusal(self) -> bool:
        """Whether the answer refuses something: then it has a reason. That of a topology is only a remark."""
        return self.outcome == self.Outcome.ANSWERED and bool(self.reason) and self.channel != Channel.STATUS

    @property
    def became(self) -> str:
        """The outcome in one word: a refusal is not just an answer, and what wanted no answer was not ignored."""
        if self.outcome == self.Outcome.IGNORED and not self.reason:
            return "noted"
        if self.reason == self.UNANSWERED:
            return "unanswered"
        return "refused" if self.is_refusal else str(self.outcome)


class PassingEvent(models.Model):
    """The latest event of a kind that nobody acts on, such as `hms`, and how many of them the device sent.

    A dock in flight sends three a second. They are journalled one by one only while a `Trace` of the device runs.
    """

    MAX_KINDS: ClassVar[int] = 32  # of one device, which may make methods up; the rest counts as one without a method

    organization_path: ClassVar[str] = "organization"

    gateway_sn = models.CharField(_("device SN"), max_length=64)
    organization = models.ForeignKey(
        "organizations.Organization", models.CASCADE, null=True, related_name="passing_events"
    )
    method = models.CharField(max_length=64, blank=True)
    count = models.PositiveBigIntegerField(help_text=_("Since `first_at`."))
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    payload = models.TextField(blank=True)

    class Meta:
        ordering = ("-last_at", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["gateway_sn", "method"], name="one_passing_event_per_device_and_method"),
        ]

    def __str__(self) -> str:
        return f"{self.gateway_sn} {self.method} ({self.count})"


class Trace(models.Model):
    """While it runs, every event of this device is journalled for the organization that started it."""

    organization_path: ClassVar[str] = "organization"

    gateway_sn = models.CharField(_("device SN"), max_length=64, unique=True)
    organization = models.ForeignKey("organizations.Organization", models.CASCADE, null=True, related_name="traces")
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.gateway_sn} until {self.until:%Y-%m-%d %H:%M:%S}"


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    """The bridge's heartbeat."""

    def current(self) -> "Heartbeat | None":
        """The newest heartbeat there is, if a bridge ever ran; one from before our clock was set back comes last."""
        return next(iter(_NEWEST(soon=timezone.now() + Heartbeat.STALE_AFTER)), None)

    def alive(self, now: datetime) -> Self:
        """Heartbeats that are not stale."""
        return self.filter(beat_at__range=(now - Heartbeat.STALE_AFTER, now + Heartbeat.STALE_AFTER))


class Heartbeat(models.Model):
    """The last ping that went from the bridge through broker, handler and database back to it."""

    STALE_AFTER: ClassVar[timedelta] = timedelta(seconds=30)  # three pings missed

    instance = models.CharField(_("instance"), max_length=100, unique=True)
    started_at = models.DateTimeField(_("started at"))  # since when it listens to docks without a break
    beat_at = models.DateTimeField(_("beat at"))
    round_trip_ms = models.FloatField(_("round trip ms"))
    counters = models.JSONField(_("counters"), default=dict)

    objects: ClassVar[HeartbeatQuerySet] = HeartbeatQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return self.instance

    def is_stale(self, now: datetime | None = None) -> bool:
        """Whether the bridge should be taken for dead, so that nothing it last wrote is called current."""
        # One in the future was written before our clock was set back.
        return abs((now or timezone.now()) - self.beat_at) > self.STALE_AFTER


_IS_FRESH: Final = ExpressionWrapper(Q(beat_at__lte=Parameter("soon", models.DateTimeField())), models.BooleanField())
_NEWEST: Final = Prepared(Heartbeat, lambda: Heartbeat.objects.order_by(_IS_FRESH.desc(), "-beat_at")[:1])


class Certificate(models.Model):
    """The certificate at one of our addresses, or in one of our files, as this server last saw it."""

    ENDS_SOON: ClassVar[timedelta] = timedelta(days=21)
    ENDS: ClassVar[timedelta] = timedelta(days=3)

    name = models.CharField(max_length=40, unique=True)  # of the setting
    place = models.CharField(max_length=300)  # host:port, or the file
    expires_at = models.DateTimeField()
    refused_why = models.CharField(max_length=200, blank=True)  # why clients do not accept it
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("expires_at", "name")

    def __str__(self) -> str:
        return f"{self.name} until {self.expires_at:%Y-%m-%d %H:%M}"
