"""Claiming calls to send them, once each, and recording how the broker took them."""

import json
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import DateTimeField
from django.utils import timezone
from django.utils.translation import gettext_noop

from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.calls.refusal import DISABLED, MOVED, Refused
from devices.calls.states import CALLED_OFF, Source, Status, Word, silence
from devices.calls.transition import CLOSE_LIMIT, apply, forget_secrets
from devices.models import LONGEST_PAUSE, ServiceCall, ServiceCallBatch, ServiceCallSecret
from mqtt_bridge import router
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared
from mqtt_bridge.line.publisher import Receipt
from mqtt_bridge.protocol import envelope, topics
from mqtt_bridge.protocol.errors import LocalProtocolError
from organizations.language.stored import english

# Calls claimed at once: so many may have to be called "unknown" if the worker is killed before it has published them.
AT_ONCE: Final = 100
FIRST_PAUSE: Final = timedelta(seconds=5)  # before the second attempt; it doubles up to LONGEST_PAUSE
NOT_CONNECTED: Final = gettext_noop("the dock is not connected.")
_MAY_ARRIVE: Final = (Receipt.DELIVERED, Receipt.UNCONFIRMED)
_ATTEMPT: Final = ("status", "sent", "deadline", "tried_at", "retry_at", "updated")  # `updated` as it was: no version
LOGIN_EXPIRY: Final = 15  # seconds that a broker may hold a message with a secret in it

TO_BE_SENT = Prepared(
    ServiceCall,
    lambda: (
        ServiceCall.objects.to_be_sent(Parameter("now", DateTimeField())).filter(AnyOf("pk", "calls")).lock_in_order()
    ),
)


class Claim(NamedTuple):
    """A call that is ours to send, once: the topic, the bytes, and how many seconds a broker may keep them."""

    call: ServiceCall
    topic: str
    payload: bytes
    qos: int
    expiry: int

    def __repr__(self) -> str:
        return f"Claim({self.call.pk})"  # the bytes may hold a password


def waiting(now: datetime, *, limit: int = CLOSE_LIMIT) -> list[uuid.UUID]:
    """Which calls are to be sent though no task took them up within 2 s, oldest first."""
    calls = ServiceCall.objects.to_be_sent(now).filter(created__lt=now - timedelta(seconds=2))
    return list(calls.order_by("created").values_list("pk", flat=True)[:limit])


@transaction.atomic
def claim_many(call_ids: Iterable[uuid.UUID], *, now: datetime) -> list[Claim]:
    """Take those of these calls that are to be sent now and nobody took, oldest first; a constant number of statements.

    Final: no call is taken twice. Who asks for one that another is taking waits, and then does not get it.
    """
    wanted = TO_BE_SENT(calls=list(call_ids), now=now)
    claims: list[Claim] = []
    words: dict[uuid.UUID, Word] = {}
    patient: list[ServiceCall] = []
    for call in wanted:
        try:
            claims.append(_claim(METHODS[call.method], call, now))
        except (Refused, LocalProtocolError) as error:
            words[call.pk] = Word(Source.WORKER, Status.EXPIRED, text=english(error))
        else:
            if call.queue:
                # People hear of it only with the receipt: it may be one attempt of many that reaches no dock.
                call.status, call.sent, call.deadline = Status.SENT, now, now + silence(call.method)
                patient.append(call)
            else:
                words[call.pk] = Word(Source.WORKER, Status.SENT)
    ServiceCall.objects.write_fields(patient, _ATTEMPT)
    apply([call for call in wanted if call.pk in words], lambda call: words[call.pk], now=now)
    forget_secrets([taken.call for taken in claims])
    return sorted(claims, key=lambda taken: taken.call.created)


def _claim(method: Method, call: ServiceCall, now: datetime) -> Claim:
    """The message of a call; raises Refused if its device became another's, or was disabled, since it was made."""
    if call.device.organization_id != call.organization_id:
        raise Refused(Refused.Kind.UNCLAIMED, MOVED)
    if not call.device.is_enabled:
        raise Refused(Refused.Kind.DISABLED, DISABLED)
    build = router.payload(method.name)
    data = build(call) if build else call.data
    if method.secrets:
        row = ServiceCallSecret.objects.filter(call=call, expires__gte=now).first()
        if row is None:
            raise Refused(Refused.Kind.CLOSED, gettext_noop("it waited too long, and the password was forgotten."))
        data = call.data | json.loads(row.sealed)
    payload = envelope.encode(
        tid=call.tid,
        bid=call.bid,
        method=call.method,
        timestamp=int(now.timestamp() * 1000),
        gateway=call.device.sn,
        data=data,
    )
    patience = max(1, int(silence(call.method).total_seconds()))
    expiry = min(LOGIN_EXPIRY, patience) if method.secrets else patience
    return Claim(call, topics.build(topics.Channel.SERVICES, call.device.sn), payload, method.qos, expiry)


def record_receipts(receipts: Iterable[tuple[ServiceCall, Receipt]]) -> None:
    """Note how the broker took calls that were just sent.

    Without a receipt nothing changes: the deadline decides. A call that waits for its dock goes back to the queue if it
    reached none; only the first time this is a change, with its reason. One of a batch that was stopped since is
    canceled instead.
    """
    now = timezone.now()
    known = [(call, receipt) for call, receipt in receipts if call.queue or receipt not in _MAY_ARRIVE]
    noted = {call.pk: receipt for call, receipt in known}
    if not noted:
        return
    with transaction.atomic():
        stopped = _stopped({call.batch_id for call, receipt in known if call.batch_id and receipt not in _MAY_ARRIVE})
        # Of a dock that has answered by now we know better.
        sent = list(ServiceCall.objects.filter(pk__in=noted, status=Status.SENT).lock_in_order())
        patient = [call for call in sent if call.queue]
        for call in patient:
            call.status, call.sent, call.deadline = Status.QUEUED, None, None
        words: dict[uuid.UUID, Word] = {}
        for call in sent:
            word = _word(call, noted[call.pk])
            if call.batch_id in stopped and (word is None or word.status == Status.QUEUED):
                word, call.sent, call.deadline = CALLED_OFF, None, None
            if word is not None:
                words[call.pk] = word
        apply([call for call in sent if call.pk in words], lambda call: words[call.pk], now=now)
        back = [call for call in patient if call.status == Status.QUEUED]
        for call in back:
            if call.pk in words:
                call.tried_at, call.retry_at = now, now + _pause(call, now)
        ServiceCall.objects.write_fields(back, _ATTEMPT)


def _stopped(batches: set[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these batches somebody has stopped; no query for none.

    They are locked, and before their calls, as `batches.stop` does: else one that stops now would not see the calls
    that go back to the queue now, and they would wait for nobody.
    """
    rows = ServiceCallBatch.objects.filter(pk__in=batches).order_by("pk").select_for_update(no_key=True)
    return {key for key, moment in rows.values_list("pk", "stopped") if moment} if batches else set()


def _word(call: ServiceCall, receipt: Receipt) -> Word | None:
    """What a receipt means for a call; None: that it was never tried."""
    match receipt:
        case Receipt.NO_SUBSCRIBER if call.queue:
            return Word(Source.WORKER, Status.QUEUED, text=NOT_CONNECTED)
        case Receipt.NO_SUBSCRIBER:
            return _not_sent(NOT_CONNECTED)
        case Receipt.REFUSED:
            return _not_sent(gettext_noop("the broker refused it: its access list or a quota."))
        case Receipt.NOT_SENT if call.queue:
            return None
        case Receipt.NOT_SENT if METHODS[call.method].secrets:
            return _not_sent(gettext_noop("the broker was lost."))
        case Receipt.NOT_SENT:
            return Word(Source.WORKER, Status.QUEUED)
    return Word(Source.WORKER, Status.SENT)


def _pause(call: ServiceCall, now: datetime) -> timedelta:
    """How long a call that reached no dock waits: twice as long as the last time, if that was just now."""
    if call.tried_at is None or call.retry_at is None or not now - 2 * LONGEST_PAUSE < call.tried_at <= now:
        return FIRST_PAUSE
    return min(2 * (call.retry_at - call.tried_at), LONGEST_PAUSE)


def _not_sent(why: str) -> Word:
    return Word(Source.WORKER, Status.EXPIRED, text=why)
