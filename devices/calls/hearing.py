"""Replies and events of docks about calls, in any order."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q
from django.utils.translation import gettext_noop
from msgspec import Struct

from devices.calls.method import Method
from devices.calls.methods import METHODS
from devices.calls.states import Heard, Source, Word, answer, hear, unreadable
from devices.calls.transition import End, Event, conclude, event_of, save, sending_of
from devices.live import broadcast
from devices.live.frame_sender import Frame
from devices.models import ServiceCall
from mqtt_bridge.database.prepared import AnyOf, Prepared
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.messages import decode_data

# in the journal
OVERDONE = gettext_noop("too many reports of this command")
ENDED = gettext_noop("the command had ended")

# Locked in the order of their keys.
REPORTED = Prepared(
    ServiceCall,
    lambda: ServiceCall.objects.filter(
        Q(AnyOf("tid", "tids")) | Q(AnyOf("bid", "bids")), AnyOf("device__sn", "sns")
    ).lock_in_order(),
)


class Report(NamedTuple):
    """A gateway's reply or event about a call, on its own topic, with `data` as it came."""

    sn: str
    source: Source
    tid: str
    bid: str
    data: object


def hear_docks(reports: Sequence[Report], *, now: datetime) -> list[str]:
    """Apply replies and events, in order; returns for each why it was not used, "" if it was.

    A reply counts by its tid, an event by its bid, else its tid, and only from the gateway that was asked. An event
    that cannot be read does not end a call: the next one, or the clock, will. Must run in a transaction; a constant
    number of statements and what the outcomes of closed calls need.
    """
    calls = REPORTED(
        tids={report.tid for report in reports if report.tid},
        bids={report.bid for report in reports if report.bid and report.source == Source.EVENT},
        sns={report.sn for report in reports},
    )
    by_tid = {(call.device.sn, call.tid): call for call in calls}
    by_bid = {(call.device.sn, call.bid): call for call in calls}
    heard: dict[uuid.UUID, ServiceCall] = {}
    events: list[Event] = []
    frames: list[Frame] = []
    ends: list[End] = []
    reasons = []
    for report in reports:
        bid = report.bid if report.source == Source.EVENT else ""
        call = by_bid.get((report.sn, bid)) or by_tid.get((report.sn, report.tid))
        if call is None:
            reasons.append(gettext_noop("not a command of this server"))
            continue
        word, data = _read(report, METHODS.get(call.method))
        if word.source == Source.EVENT and data is None:
            reasons.append(word.text)
            continue
        unsaid = sending_of(call)
        change = hear(call, word, now=now)
        if change is Heard.NOTHING:
            reasons.append(OVERDONE if call.is_open else f"{ENDED}: {call.status}")
            continue
        reasons.append("")
        heard[call.pk] = call
        events += unsaid
        if change is Heard.CHANGE:
            events.append(event_of(call, word.source, now))
            frames += broadcast.call_frames(call)
            if not call.is_open:
                ends.append(End(call, data))
    save(heard.values(), events)
    broadcast.tell(frames)
    conclude(ends)
    return reasons


def _read(report: Report, method: Method | None) -> tuple[Word, Struct | None]:
    """What a report means, and its data, None if unreadable; the call's method decides how it is read."""
    type_ = None
    if method is not None:
        type_ = method.reply if report.source == Source.REPLY else method.event
    if method is None or type_ is None:
        return unreadable(report.source, gettext_noop("unexpected")), None
    try:
        data = decode_data(type_, report.data)
    except RemoteProtocolError as error:
        return unreadable(report.source, error.detail or error.reason), None
    return answer(report.source, method, data, report.data), data
