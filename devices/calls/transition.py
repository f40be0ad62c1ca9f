"""The one way in which a call changes: `devices/calls/states.py` decides, while the row is locked.

Every change raises the version of the call by one, leaves an event behind, and is broadcast after the commit.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_noop
from msgspec import Struct
from prometheus_client import Counter

from devices.calls.method import Data
from devices.calls.methods import METHODS
from devices.calls.refusal import Refused
from devices.calls.states import Heard, Source, Status, Word, hear
from devices.live import broadcast
from devices.models import ServiceCall, ServiceCallEvent, ServiceCallSecret
from mqtt_bridge import router
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import pipeline
from mqtt_bridge.database.timeouts import is_away
from organizations.audit import Actor
from organizations.models import AuditEvent

logger = logging.getLogger(__name__)

ended = Counter("service_calls_ended", "Ends of calls; a late answer is one more.", ["method", "status"])

AFTER: Final = gettext_noop("after {method}")  # a note
ASK: Final = "devices.calls.asking.issue_many"  # by name, since it changes calls, too: a logout ends a login
SECRET_LIFE: Final = timedelta(seconds=120)
CLOSE_LIMIT: Final = 1000  # calls closed in one transaction
_CHANGING: Final = (
    "status", "late", "percent", "result_code", "result_text", "output", "version", "sent", "replied", "closed",
    "deadline", "updated",
)  # fmt: skip


Event = Mapping[str, object]  # a row of ServiceCallEvent that is not saved


class End(NamedTuple):
    """A call that has ended, and the dock's last data; None if the dock did not end it, or cannot be understood."""

    call: ServiceCall
    data: Struct | None


class FollowUp(NamedTuple):
    """What to ask the dock of a call next, after its end."""

    call: ServiceCall
    method: str
    data: Data


def apply(
    calls: Iterable[ServiceCall], word: Callable[[ServiceCall], Word], *, now: datetime | None = None
) -> list[ServiceCall]:
    """Let every call hear its word; returns those that it changed. They are locked (`ServiceCall.lock_in_order`)."""
    now = now or timezone.now()
    changed: list[ServiceCall] = []
    events: list[Event] = []
    for call in calls:
        said, unsaid = word(call), sending_of(call)
        if hear(call, said, now=now) is Heard.CHANGE:
            changed.append(call)
            events += [*unsaid, event_of(call, said.source, now)]
    save(changed, events)
    broadcast.tell_calls(changed)
    conclude([End(call, None) for call in changed if not call.is_open])
    return changed


def save(calls: Iterable[ServiceCall], events: Sequence[Event]) -> None:
    """Save calls that are locked, and their events, in two statements sent together."""
    with pipeline():
        ServiceCall.objects.write_fields(calls, _CHANGING)
        bulk.insert(ServiceCallEvent, events)


def conclude(ends: Sequence[End]) -> None:
    """Apply what the ends of calls mean beyond themselves, and ask after the commit what is to be asked next."""
    wanted = [following for group in in_turn(ends) for following in _outcome(group)]
    for call, _ in ends:
        ended.labels(call.method if call.method in METHODS else "other", call.status).inc()
    forget_secrets([call for call, _ in ends])
    if wanted:
        # After the commit: asking locks docks, which must not come after the lock on a call.
        transaction.on_commit(lambda: _follow_up(wanted), robust=True)


def in_turn(ends: Iterable[End]) -> Iterable[list[End]]:
    """Ends of one method together; those of one dock stay in order, and no subject of it is twice in a group."""
    groups: dict[tuple[int, str, bool], list[End]] = {}
    latest: dict[int, tuple[int, str, set[str]]] = {}  # of each dock: its turn, the method and the subjects in it
    for end in ends:
        call = end.call
        turn, method, subjects = latest.get(call.device_id, (0, call.method, set()))
        if method != call.method or call.subject in subjects:
            turn, subjects = turn + 1, set()
        latest[call.device_id] = turn, call.method, {*subjects, call.subject}
        groups.setdefault((turn, call.method, end.data is None), []).append(end)
    return [groups[key] for key in sorted(groups)]


def _outcome(ends: Sequence[End]) -> Iterable[FollowUp]:
    """Apply what these ends of one method mean; if the docks did not bring them about, each on its own if need be."""
    outcome = router.outcome(ends[0].call.method)
    if outcome is None:
        return ()
    try:
        with transaction.atomic() if ends[0].data is None else contextlib.nullcontext():
            return outcome(ends) or ()
    except Exception as error:
        if ends[0].data is not None or is_away(error):
            raise
        if len(ends) > 1:
            return [following for end in ends for following in _outcome([end])]
        # The dock did not end it: a fault here must not keep all other calls open, again and again.
        logger.exception("The end of service call %s has no effect", ends[0].call.pk)
        return ()


def _follow_up(wanted: Iterable[FollowUp]) -> None:
    """Ask on behalf of who asked before; docks that are asked the same for the same person together."""
    groups: defaultdict[tuple[object, ...], list[FollowUp]] = defaultdict(list)
    for following in wanted:
        call = following.call
        actor = (call.requested_by_id, call.requested_with_id)
        groups[actor, call.method, following.method, repr(following.data)].append(following)
    for group in groups.values():
        call, method, data = group[0]
        try:
            issued = import_string(ASK)(
                devices=[following.call.device for following in group],
                method=method,
                data=data,
                actor=Actor(AuditEvent.Through.BRIDGE, user=call.requested_by, key=call.requested_with),
                note=AFTER.format(method=call.method),
            )
        except Refused as refused:
            logger.warning("Nothing is asked after %s: %s", call.method, refused)
            continue
        for device, reason in issued.refused:  # one is under way already, or the dock has gone
            logger.info("No %s after %s of %s: %s", method, call.method, device.sn, reason)


def forget_secrets(calls: Iterable[ServiceCall]) -> None:
    """Delete the passwords and codes of these calls; no query if their methods have none."""
    secretive = [call.pk for call in calls if call.method in METHODS and METHODS[call.method].secrets]
    if secretive:
        ServiceCallSecret.objects.filter(call__in=secretive).delete()


def sending_of(call: ServiceCall) -> list[Event]:
    """The entry for its sending, where the history lacks it: the next report came before the broker's receipt."""
    if call.status != Status.SENT or call.sent is None or call.updated >= call.sent:
        return []
    call.version += 1
    call.updated = call.sent
    return [event_of(call, Source.WORKER, call.sent)]


def event_of(call: ServiceCall, source: Source, now: datetime) -> Event:
    """The entry of a call's history for what it is now."""
    return {
        "call_id": call.pk,
        "version": call.version,
        "at": now,
        "source": source,
        "status": call.status,
        "percent": call.percent,
        "result_code": call.result_code,
        "text": call.result_text,
    }
