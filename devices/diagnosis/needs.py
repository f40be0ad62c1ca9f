"""What needs a person: devices (disabled, wrong clock, refused license or binding), and service calls."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext

from devices.binding import BOUND_ELSEWHERE
from devices.models import Device, DeviceState, Pairing, ServiceCall, ServiceCallQuerySet
from devices.templatetags.moments import duration
from mqtt_bridge.models import IS_UNUSUAL, Exchange
from organizations.language import stored

MAX_CLOCK_SKEW_MS = 300_000  # a dock that is further off refuses commands with 319008
EARLIEST_TIME = datetime(2020, 1, 1, tzinfo=UTC)  # a clock that shows an earlier time was never set
REFUSAL_WINDOW = timedelta(days=7)  # nobody needs to act on older attempts
TROUBLE_WINDOW = timedelta(hours=24)
SEND_PATIENCE = timedelta(seconds=15)  # a worker takes a call within a second, the sweep within a few
# A gateway that got its license may still be refused with a code, and asks for the license again at every connection:
# the last message of each of these groups counts.
LICENSE = ("config",)
BINDING = ("airport_organization_get", "airport_organization_bind")


class Need(NamedTuple):
    """One thing that is wrong: a few words for a list, and the details.

    A quiet one is as a person wanted it: it is shown, but needs nobody.
    """

    words: str
    detail: str = ""
    is_quiet: bool = False

    @property
    def css(self) -> str:
        """The classes of its mark."""
        return "needs quiet" if self.is_quiet else "needs"


def needs(device: Device, refused: Iterable[Exchange] = (), remarks: Iterable[Pairing] = ()) -> list[Need]:
    """What this device needs a person for; `refused` is its entry in `refusals()`, `remarks` its `not_adopted()`."""
    found = []
    if not device.is_enabled:
        found.append(Need(gettext("disabled"), gettext("it gets no DJI license and cannot be bound"), is_quiet=True))
    for refusal in refused:
        if device.bound_at is not None and refusal.received_at <= device.bound_at:
            continue
        why = stored.shown(refusal.reason) or gettext("the message could not be used")
        if refusal.method in LICENSE:
            if device.is_enabled:  # a disabled one is refused the license on purpose
                found.append(Need(gettext("DJI license refused"), why))
        elif device.is_bound and is_foreign_attempt(refusal):
            detail = gettext("another organization's code was refused here; nothing changed")
            found.append(Need(gettext("another's code tried"), detail))
        else:
            found.append(Need(gettext("binding refused"), why))
    for row in remarks:
        detail = gettext("{about}: {text}").format(about=row.aircraft.sn, text=stored.shown(row.remark))
        found.append(Need(gettext("its aircraft is not its owner's"), detail))
    if device.gateway is not None and device.gateway.is_bound and not device.is_bound:
        found.append(Need(gettext("not bound"), gettext("its dock has an owner, but it does not")))
    state: DeviceState | None = getattr(device, "state", None)
    if state is not None and (skew := clock_error(state.clock_skew_ms)):
        detail = gettext(
            "a dock with a wrong clock refuses commands (319008); can it reach the time server in its config?"
        )
        found.append(Need(skew, detail))
    return found


def not_adopted() -> QuerySet[Pairing]:
    """Pairings whose aircraft does not belong to the dock's owner, with the reason as their remark."""
    return Pairing.objects.filter(until=None).exclude(remark="")


def is_foreign_attempt(exchange: Exchange) -> bool:
    """Whether the gateway itself was refused because it belongs to another organization than the code.

    For a bound gateway this is an attempt by a stranger, or by a technician with the wrong sheet. It changed nothing.
    """
    return f"{exchange.gateway_sn}: {BOUND_ELSEWHERE}" in exchange.reason.split("; ")


def clock_error(skew_ms: int | None) -> str:
    """How wrong the device's clock is, in words; empty up to five minutes, and if it never sent a time."""
    if skew_ms is None or abs(skew_ms) <= MAX_CLOCK_SKEW_MS:
        return ""
    if timezone.now().timestamp() * 1000 + skew_ms < EARLIEST_TIME.timestamp() * 1000:
        return gettext("clock not set, it shows a time before 2020")
    text = gettext("clock {time} ahead") if skew_ms > 0 else gettext("clock {time} behind")
    return text.format(time=duration(abs(skew_ms) / 1000))


def refusals(devices: Iterable[Device], exchanges: QuerySet[Exchange], now: datetime) -> dict[str, list[Exchange]]:
    """By gateway SN: the last request for the license and the last attempt to bind, if they were refused. Two queries.

    `exchanges` are those that the caller may see.
    """
    asked = Device.objects.filter(pk__in=[device.pk for device in devices])
    refused = defaultdict(list)
    for methods in (LICENSE, BINDING):  # one query for both would read the whole journal
        last = asked.annotate(attempt=_last(methods, exchanges, now)).values("attempt")
        for exchange in exchanges.filter(_is_refused(), pk__in=last).only(
            "gateway_sn", "method", "received_at", "reason", "outcome"
        ):
            refused[exchange.gateway_sn].append(exchange)
    return refused


def needing(devices: QuerySet[Device], exchanges: QuerySet[Exchange], now: datetime) -> QuerySet[Device]:
    """The devices for which `needs` finds something that is not quiet."""
    annotated = devices.alias(
        license=_last(LICENSE, exchanges, now),
        binding=_last(BINDING, exchanges, now),
        license_refused_at=_refused_at("license", exchanges),
        binding_refused_at=_refused_at("binding", exchanges),
    )
    refused = exchanges.filter(_is_refused(), IS_UNUSUAL, received_at__gt=now - REFUSAL_WINDOW)
    # Only of the few that were refused anything the last message of each group is looked up.
    was_refused = Q(sn__in=refused.filter(method__in=(*LICENSE, *BINDING)).order_by().values("gateway_sn"))
    return annotated.filter(
        was_refused
        & (
            Q(license_refused_at__isnull=False, bound_at=None, is_enabled=True)
            | Q(license_refused_at__gt=F("bound_at"), is_enabled=True)
            | Q(binding_refused_at__isnull=False, bound_at=None)
            | Q(binding_refused_at__gt=F("bound_at"))
        )
        | Q(gateway__organization__isnull=False, organization=None)
        | Exists(not_adopted().filter(dock=OuterRef("pk")))
        | has_wrong_clock()
    )


def has_wrong_clock() -> Q:
    """Devices for whose clock `clock_error` finds words."""
    return Q(state__clock_skew_ms__gt=MAX_CLOCK_SKEW_MS) | Q(state__clock_skew_ms__lt=-MAX_CLOCK_SKEW_MS)


def _refused_at(attempt: str, exchanges: QuerySet[Exchange]) -> Subquery:
    return Subquery(exchanges.filter(_is_refused(), pk=OuterRef(attempt)).values("received_at")[:1])


def _last(methods: Sequence[str], exchanges: QuerySet[Exchange], now: datetime) -> Subquery:
    recent = exchanges.filter(gateway_sn=OuterRef("sn"), method__in=methods, received_at__gt=now - REFUSAL_WINDOW)
    # That somebody used its serial number through enrolment does not concern a dock with its own account.
    recent = recent.exclude(reason=Exchange.HAS_ACCOUNT).order_by("-received_at", "-pk")
    return Subquery(recent.values("pk")[:1])


def _is_refused() -> Q:
    """A refusal of a license or a binding has a reason; what could not be read or handled was refused, too."""
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
    """Calls of the last 24 hours that a person or a program asked for, did not succeed and were not retried."""
    was_retried = Exists(ServiceCall.objects.filter(retry_of=OuterRef("pk")))
    return Q(~was_retried, by_schedule=False, status__in=_ENDED_BADLY, created__gt=now - TROUBLE_WINDOW)


def schedule_in_trouble(now: datetime) -> Q:
    """Calls of the schedule in the last 24 hours that did not succeed, each the last of its subject."""
    later = ServiceCall.objects.filter(
        device=OuterRef("device"), subject=OuterRef("subject"), created__gt=OuterRef("created")
    )
    is_last = ~Exists(later.filter(Q(status=ServiceCall.Status.SUCCEEDED) | Q(by_schedule=True)))
    return Q(is_last, by_schedule=True, status__in=_ENDED_BADLY, created__gt=now - TROUBLE_WINDOW)


def unsent(calls: ServiceCallQuerySet, now: datetime) -> ServiceCallQuerySet:
    """Calls that wait only for a worker, and longer than a worker takes."""
    since = now - SEND_PATIENCE
    is_due = Q(queue=False) | Q(device__state__connected_since__lt=since, retry_at=None) | Q(retry_at__lt=since)
    return calls.to_be_sent(now).filter(is_due, created__lt=since)
