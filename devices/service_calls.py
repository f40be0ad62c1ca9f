"""Asking docks for services: issue, send, hear the answers, close, cancel, retry.

Every change of a call follows `devices/call_states.py`, is made while the row is locked, raises its version by one and
leaves an event behind. Nothing is sent twice: whoever turns a call from queued to sent, sends it, once.
"""

import json
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from devices import accounts, live
from devices.call_states import (
    Heard,
    Source,
    Status,
    Word,
    describe,
    event_word,
    hear,
    reply_word,
    silence,
    unreadable_word,
    with_message,
)
from devices.methods import LOGIN, METHODS, Method, is_storable
from devices.models import Device, ServiceCall, ServiceCallBatch, ServiceCallEvent, ServiceCallSecret
from devices.presence import Presence, Watch, watch
from mqtt_bridge import router
from mqtt_bridge.protocol import envelope, topics
from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data
from mqtt_bridge.publisher import Receipt
from mqtt_bridge.timeouts import is_away
from organizations import audit
from organizations.audit import Actor
from organizations.models import CLOCK_TOLERANCE, AuditEvent

__all__ = [
    "Claim",
    "FollowUp",
    "Issued",
    "Refused",
    "Report",
    "abandon",
    "cancel",
    "cancel_many",
    "check",
    "claim",
    "claim_many",
    "close_overdue",
    "describe",
    "hear_docks",
    "issue",
    "issue_each",
    "issue_many",
    "read",
    "record_receipt",
    "record_receipts",
    "retry",
    "service",
    "waiting",
    "why_not",
]

logger = logging.getLogger(__name__)

SECRET_LIFE: Final = timedelta(seconds=120)
LOGIN_EXPIRY: Final = 15  # seconds that a broker may hold a message with a secret in it
GRACE: Final = timedelta(seconds=5)  # for what the broker kept while no bridge listened
MOVED: Final = "This dock belongs to another organization meanwhile, or to none."
MOST_NOTE: Final = 2000  # characters; it is in every frame about a call
MOST_KEY: Final = 255  # characters of an idempotency key
HANGS: Final = 1.0  # seconds; a Redis that is dead, or back already, says so sooner
PAUSE: Final = 5.0  # seconds for which no worker is told anything after Redis hung
CLOSE_LIMIT: Final = 1000  # calls closed in one transaction
_CHANGING: Final = (
    "status", "late", "percent", "result_code", "result_text", "output", "version", "sent", "replied", "closed",
    "deadline", "updated",
)  # fmt: skip


class Refused(Exception):  # noqa: N818  (a verdict that every door reads out)
    """A call is not made, and the text says to a person why."""

    class Kind(Enum):
        """For whoever has to choose a status code or a page."""

        INVALID = "invalid"
        UNCLAIMED = "unclaimed"
        DISABLED = "disabled"
        OFFLINE = "offline"
        BUSY = "busy"
        CLOSED = "closed"
        UNAVAILABLE = "unavailable"

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Issued(NamedTuple):
    """The calls that were made, and the devices that got none."""

    calls: list[ServiceCall]
    refused: list[tuple[Device, Refused]]


class Claim(NamedTuple):
    """A call that is ours to send, once: the topic, the bytes, and how many seconds a broker may keep them."""

    call: ServiceCall
    topic: str
    payload: bytes
    qos: int
    expiry: int

    def __repr__(self) -> str:
        return f"Claim({self.call.pk})"  # the bytes may hold a password


class FollowUp(NamedTuple):
    """What the end of a call makes worth asking the same dock next."""

    method: str
    data: Mapping[str, Any]


class Report(NamedTuple):
    """What a gateway said on its own topic about a call: a reply or an event, with `data` as it came."""

    sn: str
    source: Source
    tid: str
    bid: str
    data: Any


# --- issue ---------------------------------------------------------------------------------------


def issue(*, device: Device, method: str, data: Mapping[str, Any] | None = None, **options: Any) -> ServiceCall:
    """Ask one dock for a service; raises Refused. The options are those of `issue_many` and `retry_of`."""
    if method == LOGIN:
        options.setdefault("retry_of", accounts.unverified_attempt(device))
    issued = issue_many(devices=[device], method=method, data=data, **options)
    if issued.refused:
        raise issued.refused[0][1]
    return issued.calls[0]


@transaction.atomic
def issue_many(
    *,
    devices: Iterable[Device],
    method: str,
    actor: Actor,
    data: Mapping[str, Any] | None = None,
    note: str = "",
    queue: bool = False,
    expires_in: timedelta | None = None,
    batch: ServiceCallBatch | None = None,
    retry_of: ServiceCall | None = None,
    idempotency_key: str = "",
) -> Issued:
    """Ask each dock for the same service; a constant number of statements.

    With `queue` an offline dock gets it when it is back, until `expires_in` has passed. Raises Refused for what is
    wrong with the request itself; docks that cannot get it are told with the reason in the result.
    """
    spec = check(method, note=note, queue=queue, idempotency_key=idempotency_key)
    given = read(spec, data)
    subject = spec.subject(given)
    found = _make(
        spec,
        [_Wish(device, subject, given) for device in {device.pk: device for device in devices}.values()],
        actor=actor,
        life=_life(expires_in, queue=queue),
        common={
            "requested_by": actor.user,
            "requested_with": actor.key,
            "note": note,
            "queue": queue,
            "batch": batch,
            "retry_of": retry_of,
            "idempotency_key": idempotency_key,
        },
    )
    issued = Issued([], [])
    for device, _, made in found:
        if isinstance(made, Refused):
            issued.refused.append((device, made))
        else:
            issued.calls.append(made)
    return issued


@transaction.atomic
def issue_each(
    *,
    requests: Iterable[tuple[Device, Mapping[str, Any]]],
    method: str,
    actor: Actor,
    note: str = "",
    queue: bool = False,
    batch: ServiceCallBatch | None = None,
) -> list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]]:
    """Ask docks for one service, each with data of its own, a dock perhaps several times; like `issue_many`.

    Returns, by serial number of the dock, what became of each request.
    """
    spec = check(method, note=note, queue=queue)
    wishes = []
    for device, data in requests:
        given = read(spec, data)
        wishes.append(_Wish(device, spec.subject(given), given))
    common = {
        "requested_by": actor.user,
        "requested_with": actor.key,
        "note": note,
        "queue": queue,
        "batch": batch,
    }
    return _make(spec, wishes, actor=actor, life=_life(None, queue=queue), common=common)


class _Wish(NamedTuple):
    """One dock, as whoever asks knows it, and what it is to be asked."""

    device: Device
    subject: str
    given: Mapping[str, Any]


def _life(expires_in: timedelta | None, *, queue: bool) -> timedelta:
    return expires_in or timedelta(seconds=settings.SERVICE_CALL_EXPIRES["queue" if queue else ""])


def _make(
    spec: Method, wishes: Sequence[_Wish], *, actor: Actor, life: timedelta, common: Mapping[str, Any]
) -> list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]]:
    """A call for every wish that can be granted, else why not, in the order of the docks' serial numbers."""
    now = timezone.now()
    found: list[tuple[Device, Mapping[str, Any], ServiceCall | Refused]] = []
    made: list[tuple[ServiceCall, Mapping[str, Any]]] = []
    for device, wish, reason in _judge(wishes, spec, queue=common["queue"], now=now):
        if reason is not None:
            found.append((device, wish.given, reason))
            continue
        call = ServiceCall(
            device=device,
            organization=device.organization,
            method=spec.name,
            subject=wish.subject,
            data=spec.masked(dict(wish.given)),
            created=now,
            updated=now,
            expires=now + life,
            **common,
        )
        made.append((call, wish.given))
        found.append((device, wish.given, call))
    calls = [call for call, _ in made]
    _check_payloads(spec, calls)
    if spec.supersedes:
        _supersede(spec, calls, actor=actor, now=now)
    _insert(spec, made, actor=actor, now=now)
    _enqueue(calls, common["batch"])
    return found


def _judge(
    wishes: Sequence[_Wish], spec: Method, *, queue: bool, now: datetime
) -> list[tuple[Device, _Wish, Refused | None]]:
    """The docks of the wishes, locked, each with the reason why it cannot be asked, or None.

    Whoever asks was allowed to for the owner that the given device names: one with another owner now is refused.
    """
    rows = Device.objects.filter(pk__in={wish.device.pk for wish in wishes})
    devices = {row.pk: row for row in rows.select_related("organization", "state").lock_in_order()}
    places = {key: place for place, key in enumerate(devices)}
    open_calls = ServiceCall.objects.open().filter(device__in=devices, subject__in={wish.subject for wish in wishes})
    busy = set(open_calls.exclude(method__in=spec.supersedes).values_list("device_id", "subject"))
    watched = watch(now)
    judged: list[tuple[Device, _Wish, Refused | None]] = []
    there = [wish for wish in wishes if wish.device.pk in devices]
    for wish in sorted(there, key=lambda wish: places[wish.device.pk]):
        device = devices[wish.device.pk]
        if device.organization_id != wish.device.organization_id:
            judged.append((wish.device, wish, Refused(Refused.Kind.UNCLAIMED, MOVED)))
            continue
        reason = _unfit(device, spec, queue=queue, watched=watched)
        if reason is None and (device.pk, wish.subject) in busy:
            text = f"{spec.label}: this dock is busy with another call of this kind."
            reason = Refused(Refused.Kind.BUSY, text)
        busy.add((device.pk, wish.subject))
        judged.append((device, wish, reason))
    return judged


def check(method: object, *, note: object = "", queue: bool = False, idempotency_key: object = "") -> Method:
    """The service of this name; raises Refused for what no dock could be asked, whatever the data."""
    spec = service(method)
    if not settings.COMMANDS_AVAILABLE:
        raise Refused(
            Refused.Kind.UNAVAILABLE, "No worker sends commands here: REDIS_URL is not set (see docs/configuration.md)."
        )
    _check_text("A note", note, MOST_NOTE)
    _check_text("An idempotency key", idempotency_key, MOST_KEY)
    if queue and spec.secrets:
        raise Refused(Refused.Kind.INVALID, f"{spec.label}: a password does not wait for a dock to come online.")
    return spec


def service(method: object) -> Method:
    """The service of this name; raises Refused if there is none."""
    if not isinstance(method, str):
        raise Refused(Refused.Kind.INVALID, "The name of a service is text.")
    spec = METHODS.get(method)
    if spec is None:
        raise Refused(Refused.Kind.INVALID, f"There is no service {method!r:.70}.")
    return spec


def _check_text(what: str, text: object, most: int) -> None:
    if not isinstance(text, str) or len(text) > most or not is_storable(text):
        raise Refused(
            Refused.Kind.INVALID, f"{what} is text of at most {most} characters, all of them ones that can be stored."
        )


def read(spec: Method, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """The data of a call, checked; raises Refused for what no dock could be asked."""
    try:
        return spec.read({} if data is None else data)
    except ValueError as error:
        raise Refused(Refused.Kind.INVALID, f"{spec.label}: {error}.") from None


def why_not(
    device: Device, method: str, data: Mapping[str, Any] | None = None, *, queue: bool = False, watch: Watch
) -> Refused | None:
    """Why this dock cannot be asked now, as far as its row tells; None if it can. No query.

    Without `data` only the device and the service are looked at.
    """
    try:
        spec = service(method)
        if data is not None:
            read(check(method, queue=queue), data)
    except Refused as refused:
        return refused
    return _unfit(device, spec, queue=queue, watched=watch)


def _unfit(device: Device, spec: Method, *, queue: bool, watched: Watch) -> Refused | None:
    kind = Refused.Kind
    if device.is_aircraft:
        return Refused(kind.INVALID, "An aircraft takes no commands itself: ask its dock.")
    if device.organization is None:
        return Refused(kind.UNCLAIMED, "This dock belongs to no organization.")
    if not device.is_enabled:
        return Refused(kind.DISABLED, "This dock is disabled.")
    presence = watched.presence(getattr(device, "state", None))
    if spec.secrets and presence != Presence.ONLINE:
        return Refused(kind.OFFLINE, "A password is sent only to a dock that is online.")
    if presence in (Presence.OFFLINE, Presence.NEVER) and not queue:
        return Refused(kind.OFFLINE, "This dock is offline.")
    return None


def _check_payloads(spec: Method, calls: Iterable[ServiceCall]) -> None:
    """Raise Refused now for what could not be sent later; once per organization and data."""
    build = router.payload(spec.name)
    if build is not None:
        for call in {(call.organization_id, repr(call.data)): call for call in calls}.values():
            build(call)


def _insert(
    spec: Method, made: Sequence[tuple[ServiceCall, Mapping[str, Any]]], *, actor: Actor, now: datetime
) -> None:
    calls = [call for call, _ in made]
    ServiceCall.objects.bulk_create(calls)
    if spec.secrets:
        ServiceCallSecret.objects.bulk_create(
            ServiceCallSecret(
                call=call,
                sealed=json.dumps({name: given[name] for name in spec.secrets if name in given}),
                expires=now + SECRET_LIFE,
            )
            for call, given in made
        )
    accounts.begin(calls)
    _note(calls, Source.ISSUED, now)
    audit.record(
        audit.event(
            actor,
            "command",
            call.device,
            organization_id=call.organization_id,
            after={"method": call.method, "data": call.data, "call": str(call.pk)},
        )
        for call in calls
    )
    live.tell_calls(calls)


def _enqueue(calls: Sequence[ServiceCall], batch: ServiceCallBatch | None) -> None:
    """Tell a worker after the commit; if that fails the sweep finds the calls all the same."""
    if not calls:
        return
    if batch is not None:
        tasks = [("devices.tasks.publish_service_calls", str(batch.pk))]
    else:
        tasks = [("devices.tasks.publish_service_call", str(call.pk)) for call in calls]
    transaction.on_commit(partial(_send_tasks, tasks), robust=True)


class _Pause:
    """Until when this process leaves a Redis alone that hung: it would hold thread after thread that asks it."""

    until = 0.0  # by time.monotonic()


def _send_tasks(tasks: Iterable[tuple[str, str]]) -> None:
    began = time.monotonic()
    if began < _Pause.until:
        return  # the sweep will find them
    try:
        for name, key in tasks:
            current_app.send_task(name, [key])
    except Exception as error:
        # Whatever a broken Redis raises: the row is the truth and the task only a hint.
        logger.warning("No worker could be told, the sweep will find it: %s: %s", type(error).__name__, error)
        now = time.monotonic()
        if now - began > HANGS:
            _Pause.until = now + PAUSE


def retry(
    call: ServiceCall, *, actor: Actor, data: Mapping[str, Any] | None = None, idempotency_key: str = ""
) -> ServiceCall:
    """Ask again, as a new call linked to the one that ended; what is secret must be given anew. Raises Refused."""
    if call.is_open:
        raise Refused(Refused.Kind.BUSY, "This call has not ended yet.")
    if call.device.organization_id != call.organization_id:
        raise Refused(Refused.Kind.UNCLAIMED, MOVED)
    if data is None and call.method in METHODS and METHODS[call.method].secrets:
        raise Refused(Refused.Kind.INVALID, "The password must be entered again.")
    return issue(
        device=call.device,
        method=call.method,
        data=call.data if data is None else data,
        actor=actor,
        note=call.note,
        queue=call.queue,
        retry_of=call,
        idempotency_key=idempotency_key,
    )


# --- send ----------------------------------------------------------------------------------------


def waiting(now: datetime, *, batch: uuid.UUID | None = None, limit: int = CLOSE_LIMIT) -> list[uuid.UUID]:
    """Which calls are to be sent, oldest first: of a batch all, else those that no task took up within 2 s."""
    calls = ServiceCall.objects.to_be_sent(now)
    calls = calls.filter(batch=batch) if batch else calls.filter(created__lt=now - timedelta(seconds=2))
    return list(calls.order_by("created").values_list("pk", flat=True)[:limit])


def claim(call_id: uuid.UUID | str, *, now: datetime) -> Claim | None:
    """Take a call to send it; None if it is not to be sent now, or another took it. Final: nobody gets it twice."""
    return next(iter(claim_many([call_id], now=now)), None)


@transaction.atomic
def claim_many(call_ids: Iterable[uuid.UUID | str], *, now: datetime) -> list[Claim]:
    """Take those of these calls that are to be sent now and nobody took, oldest first; a constant number of statements.

    Whoever asks for a call that another is taking waits, and then does not get it.
    """
    wanted = ServiceCall.objects.to_be_sent(now).filter(pk__in=list(call_ids))
    claims: list[Claim] = []

    def word(call: ServiceCall) -> Word:
        try:
            _check_device(call)
            claims.append(_claim(METHODS[call.method], call, now))
        except (Refused, LocalProtocolError) as error:
            return Word(Source.WORKER, Status.EXPIRED, text=str(error))
        return Word(Source.WORKER, Status.SENT)

    changed = {call.pk for call in _tell(wanted, word, now=now)}
    _forget_secrets([taken.call for taken in claims])
    return sorted((taken for taken in claims if taken.call.pk in changed), key=lambda taken: taken.call.created)


def _claim(spec: Method, call: ServiceCall, now: datetime) -> Claim:
    patience = max(1, int(silence(call.method).total_seconds()))
    expiry = min(LOGIN_EXPIRY, patience) if spec.secrets else patience
    topic = topics.build(topics.Channel.SERVICES, call.device.sn)
    return Claim(call, topic, _payload(spec, call, now), spec.qos, expiry)


def _check_device(call: ServiceCall) -> None:
    """Raise Refused for a device that became another's, or was disabled, after it was asked for something."""
    if call.device.organization_id != call.organization_id:
        raise Refused(Refused.Kind.UNCLAIMED, MOVED)
    if not call.device.is_enabled:
        raise Refused(Refused.Kind.DISABLED, "This dock is disabled.")


def _payload(spec: Method, call: ServiceCall, now: datetime) -> bytes:
    build = router.payload(spec.name)
    data = build(call) if build else call.data | _secrets(spec, call, now)
    return envelope.encode(
        tid=call.tid,
        bid=call.bid,
        method=call.method,
        timestamp=int(now.timestamp() * 1000),
        gateway=call.device.sn,
        data=data,
    )


def _secrets(spec: Method, call: ServiceCall, now: datetime) -> dict[str, Any]:
    if not spec.secrets:
        return {}
    row = ServiceCallSecret.objects.filter(call=call, expires__gte=now).first()
    if row is None:
        raise Refused(Refused.Kind.CLOSED, "it waited too long, and the password was forgotten.")
    secrets: dict[str, Any] = json.loads(row.sealed)
    return secrets


def record_receipt(call: ServiceCall, receipt: Receipt) -> None:
    """Note how the broker took a call that was just sent."""
    record_receipts([(call, receipt)])


def record_receipts(receipts: Iterable[tuple[ServiceCall, Receipt]]) -> None:
    """Note how the broker took calls that were just sent. Silence is not news: the deadline decides then."""
    words = {call.pk: word for call, receipt in receipts if (word := _receipt_word(call, receipt)) is not None}
    if words:
        with transaction.atomic():
            # A dock that has answered meanwhile knows better.
            _tell(ServiceCall.objects.filter(pk__in=words, status=Status.SENT), lambda call: words[call.pk])


def _receipt_word(call: ServiceCall, receipt: Receipt) -> Word | None:
    wait = Word(Source.WORKER, Status.QUEUED)
    words = {
        Receipt.NO_SUBSCRIBER: wait if call.queue else _not_sent("the dock is not connected."),
        Receipt.REFUSED: _not_sent("the broker refused it: its access list or a quota."),
        Receipt.NOT_SENT: _not_sent("the broker was lost.") if METHODS[call.method].secrets else wait,
    }
    return words.get(receipt)


def _not_sent(why: str) -> Word:
    return Word(Source.WORKER, Status.EXPIRED, text=why)


# --- hear ----------------------------------------------------------------------------------------


def hear_docks(reports: Sequence[Report], *, now: datetime) -> list[str]:
    """Apply what docks said, in order; returns for each why it was not used, "" if it was.

    A reply counts by its tid, an event by its bid, else its tid, and only from the gateway that was asked. An event
    that nobody can read is not the end of a call: the next one, or the clock, will tell. Must run
    in a transaction; a constant number of statements and what the outcomes of closed calls need.
    """
    found = _find(reports)
    heard: dict[uuid.UUID, ServiceCall] = {}
    events: list[ServiceCallEvent] = []
    closed: list[tuple[ServiceCall, Any]] = []
    reasons = []
    for report in reports:
        call = found.get((report.sn, report.source, report.tid, report.bid))
        if call is None:
            reasons.append("no call of ours")
            continue
        word, data = _understand(report, call)
        if word.source == Source.EVENT and data is None:
            reasons.append(word.text)
            continue
        change = hear(call, word, now=now)
        reasons.append("" if change is not Heard.NOTHING else _why_unheard(call))
        if change is not Heard.NOTHING:
            heard[call.pk] = call
        if change is Heard.CHANGE:
            events.append(_event(call, word.source, now))
            live.tell_calls([call])
            if not call.is_open:
                closed.append((call, data))
    _write_locked(heard.values(), events)
    _conclude(closed)
    return reasons


def _why_unheard(call: ServiceCall) -> str:
    return "too much was said of this call" if call.is_open else f"the call had ended: {call.status}"


def _find(reports: Sequence[Report]) -> dict[tuple[str, Source, str, str], ServiceCall]:
    """The call that each report is about, locked in the order of their keys."""
    tids = {report.tid for report in reports if report.tid}
    bids = {report.bid for report in reports if report.bid and report.source == Source.EVENT}
    rows = (
        ServiceCall.objects.filter(Q(tid__in=tids) | Q(bid__in=bids), device__sn__in={r.sn for r in reports})
        .select_related("device", "organization", "requested_by", "requested_with")
        .select_for_update(no_key=True, of=("self",))
        .order_by("pk")
    )
    calls = list(rows)
    by_tid = {(call.device.sn, call.tid): call for call in calls}
    by_bid = {(call.device.sn, call.bid): call for call in calls}
    found = {}
    for sn, source, tid, bid, _ in reports:
        call = (by_bid.get((sn, bid)) if source == Source.EVENT else None) or by_tid.get((sn, tid))
        if call is not None:
            found[sn, source, tid, bid] = call
    return found


def _understand(report: Report, call: ServiceCall) -> tuple[Word, Any]:
    """The word that a report is, and its data, None if unreadable; the call's method decides how it is read."""
    spec = METHODS.get(call.method)
    type_ = spec and (spec.reply if report.source == Source.REPLY else spec.event)
    if spec is None or type_ is None:
        return unreadable_word(report.source, "unexpected"), None
    try:
        data = decode_data(type_, report.data)
    except RemoteProtocolError as error:
        return unreadable_word(report.source, error.detail or error.reason), None
    word = (reply_word if report.source == Source.REPLY else event_word)(spec, data)
    return with_message(word, report.data), data


# --- end -----------------------------------------------------------------------------------------


def cancel(call: ServiceCall, *, actor: Actor) -> None:
    """Call it off before it is sent; raises Refused once it is, or has ended."""
    rows = ServiceCall.objects.filter(pk=call.pk)
    if not cancel_many(rows, actor=actor):
        why = "sent already: nobody can take it back" if rows.open().exists() else "closed already"
        raise Refused(Refused.Kind.CLOSED, f"It has been {why}.")


@transaction.atomic
def cancel_many(calls: QuerySet[ServiceCall], *, actor: Actor) -> int:
    """Call off those that are not sent; returns how many."""
    queued = calls.filter(status=Status.QUEUED)
    canceled = _tell(queued, lambda call: Word(Source.PERSON, Status.CANCELED, text="before it was sent."))
    _audit_canceled(canceled, actor=actor)
    return len(canceled)


def _audit_canceled(calls: Iterable[ServiceCall], *, actor: Actor) -> None:
    audit.record(
        audit.event(
            actor,
            "cancel command",
            call.device,
            organization_id=call.organization_id,
            after={"method": call.method, "call": str(call.pk), "reason": call.result_text},
        )
        for call in calls
    )


def _supersede(spec: Method, calls: Sequence[ServiceCall], *, actor: Actor, now: datetime) -> None:
    """Close the open calls that these take the place of. A dock's later word on such a call changes nothing."""
    docks = {call.device_id: call.subject for call in calls}
    rows = ServiceCall.objects.open().filter(
        device__in=docks, subject__in=set(docks.values()), method__in=spec.supersedes
    )

    def word(call: ServiceCall) -> Word:
        outcome = "" if call.status == Status.QUEUED else " What the dock did is unknown."
        return Word(Source.PERSON, Status.CANCELED, text=f"superseded by a logout.{outcome}")

    _audit_canceled(_tell(rows, word, now=now), actor=actor)


def abandon(device_ids: Iterable[int]) -> None:
    """Close what is open for devices that leave their organization; must run in a transaction."""

    def word(call: ServiceCall) -> Word:
        outcome = "" if call.status == Status.QUEUED else " What the dock did is unknown."
        return Word(Source.PERSON, Status.CANCELED, text=f"the dock was released.{outcome}")

    _tell(ServiceCall.objects.open().filter(device__in=list(device_ids)), word)


@transaction.atomic
def close_overdue(*, now: datetime | None = None, listening_since: datetime | None = None) -> int:
    """Close what was not sent or not answered in time; returns how many. Called by the bridge's timer and by beat.

    A bridge that listens only since a moment ago waits: what docks answered before is on its way to it.
    """
    now = now or timezone.now()
    if listening_since is not None and now - listening_since < GRACE:
        return 0
    from_future = Q(expires__gt=now + SECRET_LIFE + CLOCK_TOLERANCE)  # our clock was set back
    ServiceCallSecret.objects.filter(Q(expires__lt=now) | from_future).delete()
    return len(_tell(ServiceCall.objects.overdue(now), _overdue, limit=CLOSE_LIMIT, skip_locked=True))


def _overdue(call: ServiceCall) -> Word:
    if call.status == Status.QUEUED:
        why = "the dock did not come online in time." if call.queue else "no worker sent it in time."
        return Word(Source.CLOCK, Status.EXPIRED, text=why)
    return Word(Source.CLOCK, Status.TIMED_OUT)


# --- write ---------------------------------------------------------------------------------------


def _tell(
    calls: QuerySet[ServiceCall],
    word: Callable[[ServiceCall], Word],
    *,
    now: datetime | None = None,
    limit: int | None = None,
    skip_locked: bool = False,
) -> list[ServiceCall]:
    """Let every call hear its word; returns those that it changed. Must run in a transaction.

    A call that another transaction is changing is waited for, and left out if it is no longer one of `calls` then.
    """
    now = now or timezone.now()
    rows = calls.select_related("device", "organization", "requested_by", "requested_with").order_by("pk")
    locked = rows.select_for_update(no_key=True, of=("self",), skip_locked=skip_locked)[:limit]
    changed: list[ServiceCall] = []
    events: list[ServiceCallEvent] = []
    for call in locked:
        said = word(call)
        if hear(call, said, now=now) is Heard.CHANGE:
            changed.append(call)
            events.append(_event(call, said.source, now))
    _write_locked(changed, events)
    live.tell_calls(changed)
    _conclude([(call, None) for call in changed if not call.is_open])
    return changed


def _write_locked(calls: Iterable[ServiceCall], events: Sequence[ServiceCallEvent]) -> None:
    """Save calls that are locked, and their events, in two statements."""
    rows = list(calls)
    if rows:
        ServiceCall.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=_CHANGING)
    ServiceCallEvent.objects.bulk_create(events)


def _conclude(closed: Sequence[tuple[ServiceCall, Any]]) -> None:
    """What the end of a call means beyond itself; `data` is what the dock said, None if it was not the dock."""
    wanted: list[tuple[ServiceCall, FollowUp]] = []
    for call, data in closed:
        outcome = router.outcome(call.method)
        if outcome is not None and data is not None:
            wanted += [(call, following) for following in outcome(call, data) or ()]
        elif outcome is not None:
            _conclude_silent(outcome, call)
    _forget_secrets([call for call, _ in closed])
    if wanted:
        # After the commit: asking locks docks, which must not come after the lock on a call.
        transaction.on_commit(lambda: _follow_up(wanted), robust=True)


def _follow_up(wanted: Iterable[tuple[ServiceCall, FollowUp]]) -> None:
    """Ask on behalf of whoever asked before; docks that are asked the same for the same person together."""
    groups: defaultdict[tuple[Any, ...], list[tuple[ServiceCall, FollowUp]]] = defaultdict(list)
    for call, following in wanted:
        whose = (call.requested_by_id, call.requested_with_id)
        groups[whose, call.method, following.method, repr(following.data)].append((call, following))
    for group in groups.values():
        call, following = group[0]
        actor = Actor(AuditEvent.Through.BRIDGE, user=call.requested_by, key=call.requested_with)
        try:
            issued = issue_many(
                devices=[ended.device for ended, _ in group],
                method=following.method,
                data=following.data,
                actor=actor,
                note=f"after {call.method}",
            )
        except Refused as refused:
            logger.warning("Nothing is asked after %s: %s", call.method, refused)
            continue
        for device, reason in issued.refused:  # one is under way already, or the dock has gone
            logger.info("No %s after %s of %s: %s", following.method, call.method, device.sn, reason)


def _conclude_silent(outcome: Callable[[Any, Any], Any], call: ServiceCall) -> None:
    """Of a call that the dock did not end; a fault here must not keep all other calls open, again and again."""
    try:
        with transaction.atomic():
            outcome(call, None)
    except Exception as error:
        if is_away(error):
            raise
        logger.exception("The end of service call %s has no effect", call.pk)


def _forget_secrets(calls: Iterable[ServiceCall]) -> None:
    secretive = [call.pk for call in calls if call.method in METHODS and METHODS[call.method].secrets]
    if secretive:
        ServiceCallSecret.objects.filter(call__in=secretive).delete()


def _note(calls: Iterable[ServiceCall], source: Source, now: datetime) -> None:
    ServiceCallEvent.objects.bulk_create([_event(call, source, now) for call in calls])


def _event(call: ServiceCall, source: Source, now: datetime) -> ServiceCallEvent:
    return ServiceCallEvent(
        call=call,
        version=call.version,
        at=now,
        source=source,
        status=call.status,
        percent=call.percent,
        result_code=call.result_code,
        text=call.result_text,
    )
