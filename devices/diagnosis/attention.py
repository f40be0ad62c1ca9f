"""What about a device needs a person: disabled, wrong clock, refused license or binding, aircraft without owner."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from devices.binding import BOUND_ELSEWHERE
from devices.configuration import DISABLED
from devices.models import Device, DeviceQuerySet, DeviceState, Pairing, ServiceCall, ServiceCallQuerySet
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol.topics import Channel

MAX_CLOCK_SKEW_MS = 300_000  # a dock that is further off answers commands with 319008
EARLIEST_TIME = datetime(2020, 1, 1, tzinfo=UTC)  # before it no clock that was ever set can be
REFUSAL_WINDOW = timedelta(days=7)  # older attempts concern nobody any more
TROUBLE_WINDOW = timedelta(hours=24)
SEND_PATIENCE = timedelta(seconds=15)  # a worker takes a call within a second, the sweep within a few
# Who got the license may still be refused with a code, and asks for the license again at every connection: of each of
# these groups the last message counts.
LICENSE = ("config",)
BINDING = ("airport_organization_get", "airport_organization_bind")


class Need(NamedTuple):
    """One thing that is wrong: a few words for a list, and what more there is to say."""

    words: str
    detail: str = ""


def needs(device: Device, refused: Iterable[Exchange] = (), remarks: Iterable[Pairing] = ()) -> list[Need]:
    """Why this device needs attention; `refused` is what `refusals` found for it, `remarks` what `not_adopted` did."""
    found = []
    if not device.is_enabled:
        found.append(Need("disabled", "it gets no DJI license and cannot be bound"))
    for refusal in refused:
        if device.bound_at is None or refusal.received_at > device.bound_at:
            found += _refused(device, refusal)
    found += [Need("its aircraft is not its owner's", f"{row.aircraft.sn} {row.remark}") for row in remarks]
    if device.gateway is not None and device.gateway.is_bound and not device.is_bound:
        found.append(Need("not bound", "its dock has an owner, and it has none"))
    state: DeviceState | None = getattr(device, "state", None)
    if state is not None and (skew := clock_error(state.clock_skew_ms)):
        detail = "with a wrong clock a dock refuses commands (319008); can it reach the time server that we name to it?"
        found.append(Need(skew, detail))
    return found


def _refused(device: Device, refusal: Exchange) -> list[Need]:
    why = refusal.reason or f"message {refusal.outcome}"
    if refusal.method in LICENSE:
        return [] if why == DISABLED and not device.is_enabled else [Need("DJI license refused", why)]
    if device.is_bound and is_foreign_attempt(refusal):
        return [Need("another's code tried", "another organization's code was refused here; nothing changed")]
    return [Need("binding refused", why)]


def not_adopted() -> QuerySet[Pairing]:
    """Pairings whose aircraft does not belong to the dock's owner, with the reason as their remark."""
    return Pairing.objects.filter(until=None).exclude(remark="")


def is_foreign_attempt(exchange: Exchange) -> bool:
    """Whether the gateway itself was refused because another organization than the code's owns it.

    Of a bound gateway that is the attempt of a stranger, or of a technician with the wrong sheet, and changed nothing.
    """
    return f"{exchange.gateway_sn}: {BOUND_ELSEWHERE}" in exchange.reason.split("; ")


def clock_error(skew_ms: int | None) -> str:
    """How wrong the device's clock is, in words; empty up to five minutes, and if it never sent a time."""
    if skew_ms is None or abs(skew_ms) <= MAX_CLOCK_SKEW_MS:
        return ""
    if timezone.now().timestamp() * 1000 + skew_ms < EARLIEST_TIME.timestamp() * 1000:
        return "clock not set, it shows a time before 2020"
    return f"clock {duration(abs(skew_ms) / 1000)} {'ahead' if skew_ms > 0 else 'behind'}"


def duration(seconds: float) -> str:
    """A length of time in its largest unit, rounded down: 45 s, 3 min, 5 h, 12 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size * (2 if unit == "days" else 1):
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def refusals(devices: Iterable[Device], exchanges: QuerySet[Exchange], now: datetime) -> dict[str, list[Exchange]]:
    """By SN of the gateway: its last request for the license and its last attempt to bind, if refused. Two queries.

    `exchanges` are those that whoever asks may see.
    """
    asked = Device.objects.filter(pk__in=[device.pk for device in devices])
    refused = defaultdict(list)
    for methods in (LICENSE, BINDING):  # not in one query, which would read the whole journal
        last = asked.annotate(attempt=_last(methods, exchanges, now)).values("attempt")
        for exchange in exchanges.filter(_is_refused(), pk__in=last).only(
            "gateway_sn", "method", "received_at", "reason", "outcome"
        ):
            refused[exchange.gateway_sn].append(exchange)
    return refused


def needing(devices: DeviceQuerySet, exchanges: QuerySet[Exchange], now: datetime) -> DeviceQuerySet:
    """The devices for which `needs` has something to say."""
    annotated = devices.annotate(
        license=_last(LICENSE, exchanges, now),
        binding=_last(BINDING, exchanges, now),
        license_refused_at=_refused_at("license", exchanges),
        binding_refused_at=_refused_at("binding", exchanges),
    )
    return annotated.filter(
        Q(is_enabled=False)
        | Q(license_refused_at__isnull=False, bound_at=None)
        | Q(license_refused_at__gt=F("bound_at"))
        | Q(binding_refused_at__isnull=False, bound_at=None)
        | Q(binding_refused_at__gt=F("bound_at"))
        | Q(gateway__organization__isnull=False, organization=None)
        | Exists(not_adopted().filter(dock=OuterRef("pk")))
        | has_wrong_clock()
    )


def has_wrong_clock() -> Q:
    """Devices of whose clock `clock_error` has something to say."""
    return Q(state__clock_skew_ms__gt=MAX_CLOCK_SKEW_MS) | Q(state__clock_skew_ms__lt=-MAX_CLOCK_SKEW_MS)


def _refused_at(attempt: str, exchanges: QuerySet[Exchange]) -> Subquery:
    return Subquery(exchanges.filter(_is_refused(), pk=OuterRef(attempt)).values("received_at")[:1])


def _last(methods: Sequence[str], exchanges: QuerySet[Exchange], now: datetime) -> Any:
    recent = exchanges.filter(
        gateway_sn=OuterRef("sn"), method__in=methods, received_at__gt=now - REFUSAL_WINDOW
    ).order_by("-received_at", "-pk")
    return Subquery(recent.values("pk")[:1])


def outcomes() -> dict[str, Q]:
    """Which messages became what, by the words of `Exchange.became`."""
    outcome = Exchange.Outcome
    no_answer = Q(outcome=outcome.IGNORED)
    return {
        "answered": Q(outcome=outcome.ANSWERED) & ~refusing(),
        "refused": refusing(),
        "noted": no_answer & Q(reason=""),
        "ignored": no_answer & ~Q(reason=""),
        "quarantined": Q(outcome=outcome.QUARANTINED),
        "error": Q(outcome=outcome.ERROR),
        "left": Q(outcome=outcome.LEFT) & ~Q(reason=Exchange.UNANSWERED),
        "unanswered": Q(outcome=outcome.LEFT, reason=Exchange.UNANSWERED),
    }


def refusing() -> Q:
    """Answers that refuse something, as `Exchange.is_refusal`."""
    return Q(outcome=Exchange.Outcome.ANSWERED) & ~Q(reason="") & ~Q(channel=Channel.STATUS)


def _is_refused() -> Q:
    """Whoever refuses a license or a binding writes down why; what could not be read or handled was refused too."""
    refused = ~Q(reason="") | ~Q(outcome=Exchange.Outcome.ANSWERED)
    return refused & ~Q(outcome=Exchange.Outcome.LEFT)


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
