"""What about a device needs a person: disabled, wrong clock, refused binding, aircraft without owner."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from devices.models import Device, DeviceQuerySet, DeviceState, ServiceCall, ServiceCallQuerySet
from mqtt_bridge.models import Exchange

MAX_CLOCK_SKEW_MS = 60_000
REFUSAL_WINDOW = timedelta(days=7)  # older attempts concern nobody any more
TROUBLE_WINDOW = timedelta(hours=24)
SEND_PATIENCE = timedelta(seconds=15)  # a worker takes a call within a second, the sweep within a few
ATTEMPTS = ("airport_organization_get", "airport_organization_bind")


class Need(NamedTuple):
    """One thing that is wrong: a few words for a list, and what more there is to say."""

    words: str
    detail: str = ""


def needs(device: Device, refusal: Exchange | None) -> list[Need]:
    """Why this device needs attention; `refusal` is what `refusals` found for it."""
    found = []
    if not device.is_enabled:
        found.append(Need("disabled", "it gets no DJI license and cannot be bound"))
    if refusal is not None and (device.bound_at is None or refusal.received_at > device.bound_at):
        found.append(Need("binding refused", refusal.reason or f"message {refusal.outcome}"))
    if device.gateway_id is not None and device.organization_id is None:
        found.append(Need("not bound", "a dock carries it, but it belongs to nobody"))
    state: DeviceState | None = getattr(device, "state", None)
    if state is not None and (skew := clock_error(state.clock_skew_ms)):
        found.append(Need(skew, "its clock should be set by the time server that we name to it"))
    return found


def clock_error(skew_ms: int | None) -> str:
    """How wrong the device's clock is, in words; empty up to a minute."""
    if skew_ms is None or abs(skew_ms) <= MAX_CLOCK_SKEW_MS:
        return ""
    return f"clock {duration(abs(skew_ms) / 1000)} {'ahead' if skew_ms > 0 else 'behind'}"


def duration(seconds: float) -> str:
    """A length of time in its largest unit, rounded down: 45 s, 3 min, 5 h, 12 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size * (2 if unit == "days" else 1):
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def refusals(devices: Iterable[Device], exchanges: QuerySet[Exchange], now: datetime) -> dict[str, Exchange]:
    """By SN of the gateway: its last attempt to bind, if it was refused. One query.

    `exchanges` are those that whoever asks may see.
    """
    attempts = Device.objects.filter(pk__in=[device.pk for device in devices]).annotate(
        attempt=_last_attempt(exchanges, now)
    )
    found = exchanges.filter(_refused(), pk__in=attempts.values("attempt")).only(
        "gateway_sn", "received_at", "reason", "outcome"
    )
    return {exchange.gateway_sn: exchange for exchange in found}


def needing(devices: DeviceQuerySet, exchanges: QuerySet[Exchange], now: datetime) -> DeviceQuerySet:
    """The devices for which `needs` has something to say."""
    annotated = devices.annotate(
        attempt=_last_attempt(exchanges, now),
        refused_at=Subquery(exchanges.filter(_refused(), pk=OuterRef("attempt")).values("received_at")[:1]),
    )
    return annotated.filter(
        Q(is_enabled=False)
        | Q(refused_at__isnull=False, bound_at=None)
        | Q(refused_at__gt=F("bound_at"))
        | Q(gateway__isnull=False, organization=None)
        | Q(state__clock_skew_ms__gt=MAX_CLOCK_SKEW_MS)
        | Q(state__clock_skew_ms__lt=-MAX_CLOCK_SKEW_MS)
    )


def _last_attempt(exchanges: QuerySet[Exchange], now: datetime) -> Any:
    recent = exchanges.filter(
        gateway_sn=OuterRef("sn"), method__in=ATTEMPTS, received_at__gt=now - REFUSAL_WINDOW
    ).order_by("-received_at", "-pk")
    return Subquery(recent.values("pk")[:1])


def refusing() -> Q:
    """Answers that refuse something: they are the ones with a reason."""
    return Q(outcome=Exchange.Outcome.ANSWERED) & ~Q(reason="")


def _refused() -> Q:
    """Whoever refuses a binding writes down why; what could not be read or handled was refused too."""
    return ~Q(reason="") | ~Q(outcome=Exchange.Outcome.ANSWERED)


# --- service calls -------------------------------------------------------------------------------

_ENDED_BADLY = (
    ServiceCall.Status.FAILED,
    ServiceCall.Status.REJECTED,
    ServiceCall.Status.TIMED_OUT,
    ServiceCall.Status.EXPIRED,
)


def in_trouble(now: datetime) -> Q:
    """Calls of the last 24 hours that did not succeed and that nobody tried again."""
    return Q(status__in=_ENDED_BADLY, created__gt=now - TROUBLE_WINDOW, retries=None)


def unsent(calls: ServiceCallQuerySet, now: datetime) -> ServiceCallQuerySet:
    """Calls that wait for nothing but a worker, for longer than one takes."""
    since = now - SEND_PATIENCE
    is_due = Q(queue=False) | Q(device__state__connected_since__lt=since)
    return calls.to_be_sent(now).filter(is_due, created__lt=since)
