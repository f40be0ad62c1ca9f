"""From (channel, method) to the handler: the forms that the routing table is written in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from django.conf import settings
from django.utils.translation import gettext_noop

from mqtt_bridge.protocol.messages import EventAck, ResultReply
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import Channel

Data = TypeVar("Data", covariant=True)
ReplyData = msgspec.Struct | Mapping[str, object]


class Message(NamedTuple, Generic[Data]):
    """One decoded message of a device, as a handler gets it."""

    sn: str  # the topic's, the only identity that is believed
    channel: Channel
    method: str
    tid: str
    bid: str
    data: Data  # of the type that the route names; plain JSON if it names none
    received_at: datetime
    by_enrolment: bool = False  # as in `topics.Topic`: then `sn` is only a claim


class Reply(NamedTuple):
    """What goes back to the device, and what only the journal and the rate limit learn."""

    data: ReplyData
    reason: str = ""  # why it refuses something
    organization_id: int | None = None  # whom the exchange concerns if nobody owns the gateway
    cost: int = 0  # tokens that it costs the device beside those of the message (`mqtt_bridge/rate_limit.py`)
    is_owner: bool = False  # that organization owns the gateway: the journal need not ask


Handler = Callable[[Sequence[Message[Data]]], Sequence[Reply | None]]


def failed(code: int, **output: object) -> ResultReply:
    """The `data` of an answer that says no."""
    return ResultReply(int(code), output)


MALFORMED = failed(Code.ILLEGAL_ARGUMENT)


@dataclass(frozen=True)
class Route(Generic[Data]):
    """Messages of one method: the type of their data, who answers them, and what to say if that fails."""

    handler: Handler[Data]
    data: type[Data] | None = None  # a message type, into which it is decoded; None: left as plain JSON
    failure: ReplyData = MALFORMED  # the answer to what is malformed, or if the handler fails
    writes: bool = True  # it goes after those that only read, in a transaction
    atomic: bool = True  # that transaction is opened for it; else by the handler, if there is anything to write
    runs: bool = False  # it also takes what one device sent in a row, in its order; else one message per device
    enrols: bool = False  # it is also answered through enrolment; else it is refused there
    passing: bool = False  # nobody acts on these: the journal keeps the latest and a count
    left: bool = False  # another service of the operator's answers these


Routes = Mapping[tuple[Channel, str], Route[Any]]  # each of another type of data
ANY = ""  # in the table: whatever method has no line of its own, and what came without one


def unknown_request(messages: Sequence[Message[object]]) -> list[Reply | None]:
    """Refuse a method we do not know at once: an unanswered dock waits for 40 s before each take-off."""
    return [Reply(failed(Code.METHOD_NOT_SUPPORTED), reason=gettext_noop("unknown method")) for _ in messages]


def accepted(messages: Sequence[Message[object]]) -> list[Reply | None]:
    """Say "received" and nothing more."""
    return [Reply(EventAck()) for _ in messages]


def noted(messages: Sequence[Message[object]]) -> list[Reply | None]:
    """Only journal the messages; they want no answer."""
    return [None for _ in messages]


# What becomes of a method that is not answered through enrolment.
NOT_ENROLLING: Route[object] = Route(noted, failure=failed(Code.METHOD_NOT_SUPPORTED))

# What becomes of a method that has no line in the table.
FALLBACKS: Mapping[Channel, Route[object]] = {
    Channel.REQUESTS: Route(unknown_request, writes=False, runs=True),
    Channel.EVENTS: Route(accepted, writes=False, runs=True, passing=True),
    Channel.STATUS: Route(accepted, writes=False, runs=True),
    Channel.SERVICES_REPLY: Route(noted, writes=False, runs=True),
    Channel.PROPERTY_SET_REPLY: Route(noted, writes=False, runs=True),
}


# What settings.MQTT_LEAVE_METHODS names.
LEFT: Route[object] = Route(noted, writes=False, runs=True, left=True)
LEFT_PASSING: Route[object] = Route(noted, writes=False, runs=True, left=True, passing=True)
# Events that a device repeats all the time.
PERIODIC = frozenset(
    {
        "airsense_warning", "fileupload_progress", "flighttask_progress", "fly_to_point_progress", "hms",
        "ota_progress", "poi_status_notify", "takeoff_to_point_progress",
    }
)  # fmt: skip


@cache
def tables(module: str) -> ModuleType:
    """The module with the tables: imported late, for it knows the apps, and they know us."""
    return import_module(module)


def find(channel: Channel, method: str, *, by_enrolment: bool = False) -> Route[Any]:
    """The route of a message, by the table that settings.MQTT_ROUTES names, unless it is left to others.

    Through enrolment only what its route says: no other service hears what comes that way.
    """
    routes: Routes = tables(settings.MQTT_ROUTES).ROUTES
    route, is_left = routes.get((channel, method)), method in settings.MQTT_LEAVE_METHODS
    if by_enrolment:
        return route if route is not None and route.enrols and not is_left else NOT_ENROLLING
    if is_left and channel in (Channel.REQUESTS, Channel.EVENTS):
        return LEFT_PASSING if method in PERIODIC else LEFT
    return route or routes.get((channel, ANY)) or FALLBACKS[channel]


def label(channel: Channel, method: str) -> str:
    """What metrics call this method: "other" if it is not one that we know, for devices may make methods up."""
    table = tables(settings.MQTT_ROUTES)
    is_known = method in PERIODIC or method in getattr(table, "SIMULATED", ()) or (channel, method) in table.ROUTES
    return method if is_known and method else "other"


def outcome(method: str) -> Callable[[Any], Any] | None:
    """What the ends of service calls mean beyond themselves, by the table OUTCOMES; None if nothing."""
    outcomes: Mapping[str, Callable[[Any], Any]] = tables(settings.MQTT_ROUTES).OUTCOMES
    return outcomes.get(method)


def payload(method: str) -> Callable[[Any], msgspec.Struct] | None:
    """What builds the message of a service call, by the table PAYLOADS; None if it carries the call's own data."""
    payloads: Mapping[str, Callable[[Any], msgspec.Struct]] = tables(settings.MQTT_ROUTES).PAYLOADS
    return payloads.get(method)
