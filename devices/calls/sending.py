"""Claiming calls to send them, once each, and recording how the broker took them."""

import json
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import DateTimeField
from django.utils.translation import gettext_noop

from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.calls.refusal import DISABLED, MOVED, Refused
from devices.calls.states import Source, Status, Word, silence
from devices.calls.transition import CLOSE_LIMIT, apply, forget_secrets
from devices.models import ServiceCall, ServiceCallSecret
from mqtt_bridge import router
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared
from mqtt_bridge.line.publisher import Receipt
from mqtt_bridge.protocol import envelope, topics
from mqtt_bridge.protocol.errors import LocalProtocolError
from organizations.language.stored import english

# Calls claimed at once: so many may have to be called "unknown" if the worker is killed before it has published them.
AT_ONCE: Final = 100
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

    def word(call: ServiceCall) -> Word:
        try:
            claims.append(_claim(METHODS[call.method], call, now))
        except (Refused, LocalProtocolError) as error:
            return Word(Source.WORKER, Status.EXPIRED, text=english(error))
        return Word(Source.WORKER, Status.SENT)

    changed = {call.pk for call in apply(wanted, word, now=now)}
    forget_secrets([taken.call for taken in claims])
    return sorted((taken for taken in claims if taken.call.pk in changed), key=lambda taken: taken.call.created)


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
    """Note how the broker took calls that were just sent. Without a receipt nothing changes: the deadline decides."""
    wait = Word(Source.WORKER, Status.QUEUED)
    words: dict[uuid.UUID, Word] = {}
    for call, receipt in receipts:
        match receipt:
            case Receipt.NO_SUBSCRIBER:
                words[call.pk] = wait if call.queue else _not_sent(gettext_noop("the dock is not connected."))
            case Receipt.REFUSED:
                words[call.pk] = _not_sent(gettext_noop("the broker refused it: its access list or a quota."))
            case Receipt.NOT_SENT:
                lost = _not_sent(gettext_noop("the broker was lost."))
                words[call.pk] = lost if METHODS[call.method].secrets else wait
    if words:
        with transaction.atomic():
            # Of a dock that has answered by now we know better.
            sent = ServiceCall.objects.filter(pk__in=words, status=Status.SENT)
            apply(sent.lock_in_order(), lambda call: words[call.pk])


def _not_sent(why: str) -> Word:
    return Word(Source.WORKER, Status.EXPIRED, text=why)
