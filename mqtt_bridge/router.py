"""From (channel, method) to the handler: the forms that the routing table is written in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from mqtt_bridge.protocol.messages import EventAck, ResultReply
from mqtt_bridge.protocol.result_codes import Code
from mqtt_bridge.protocol.topics import Channel


class Message(NamedTuple):
    """One decoded message of a device: `sn` is the topic's, the only identity that is believed."""

    sn: str
    channel: Channel
    method: str
    tid: str
    bid: str
    data: Any
    received_at: datetime


class Reply(NamedTuple):
    """What goes back to the device, and what only the journal learns."""

    data: Any
    reason: str = ""
    organization_id: int | None = None  # whom the exchange concerns if nobody owns the gateway
    cost: int = 0  # tokens that it costs the device beside those of the message (`mqtt_bridge/rate_limit.py`)


Handler = Callable[[Sequence[Message]], Sequence[Reply | None]]


@dataclass(frozen=True)
class Route:
    """Messages of one method: the type of their data, who answers them, and what to say if that fails.

    With `runs` the handler also takes what one device said in a row, in its order; without, one message per device.
    With `passing` nobody acts on it: the journal keeps the latest and a count.
    """

    handler: Handler
    data: type[msgspec.Struct] | None = None  # None: as it came
    failure: Any = None
    writes: bool = True
    runs: bool = False
    passing: bool = False


Routes = Mapping[tuple[Channel, str], Route]
ANY = ""  # in the table: whatever method has no line of its own, and what came without one


def failed(code: int, **output: Any) -> ResultReply:
    """The `data` of an answer that says no."""
    return ResultReply(int(code), output)


def unknown_request(messages: Sequence[Message]) -> list[Reply | None]:
    """A method we do not know is refused at once: an unanswered dock waits for 40 s before each take-off."""
    return [Reply(failed(Code.METHOD_NOT_SUPPORTED), reason="unknown method") for _ in messages]


def accepted(messages: Sequence[Message]) -> list[Reply | None]:
    """Say "received" and nothing more."""
    return [Reply(EventAck()) for _ in messages]


def noted(messages: Sequence[Message]) -> list[Reply | None]:
    """Journal the messages; they want no answer."""
    return [None for _ in messages]


# What becomes of a method that has no line in the table.
FALLBACKS: Mapping[Channel, Route] = {
    Channel.REQUESTS: Route(unknown_request, writes=False, runs=True),
    Channel.EVENTS: Route(accepted, writes=False, runs=True, passing=True),
    Channel.STATUS: Route(accepted, writes=False, runs=True),
    Channel.SERVICES_REPLY: Route(noted, writes=False, runs=True),
    Channel.PROPERTY_SET_REPLY: Route(noted, writes=False, runs=True),
}


# What settings.MQTT_LEAVE_METHODS names: another service of the operator's answers it.
LEFT = Route(noted, writes=False, runs=True)
LEFT_PASSING = Route(noted, writes=False, runs=True, passing=True)
# Events that a device repeats all the time.
PERIODIC = frozenset(
    {
        "airsense_warning", "fileupload_progress", "flighttask_progress", "fly_to_point_progress", "hms",
        "ota_progress", "poi_status_notify", "takeoff_to_point_progress",
    }
)  # fmt: skip


@cache
def tables(module: str) -> Any:
    """The module with the tables: imported late, for it knows the apps, and they know us."""
    return import_module(module)


def find(channel: Channel, method: str) -> Route:
    """The route of a message, by the table that settings.MQTT_ROUTES names, unless it is left to others."""
    if method in settings.MQTT_LEAVE_METHODS and channel in (Channel.REQUESTS, Channel.EVENTS):
        return LEFT_PASSING if method in PERIODIC else LEFT
    routes: Routes = tables(settings.MQTT_ROUTES).ROUTES
    return routes.get((channel, method)) or routes.get((channel, ANY)) or FALLBACKS[channel]


def outcome(method: str) -> Callable[[Any, Any], Any] | None:
    """What the end of a service call means beyond itself, by the table OUTCOMES; None if nothing."""
    outcomes: Mapping[str, Callable[[Any, Any], Any]] = tables(settings.MQTT_ROUTES).OUTCOMES
    return outcomes.get(method)


def payload(method: str) -> Callable[[Any], msgspec.Struct] | None:
    """What builds the message of a service call, by the table PAYLOADS; None if it carries the call's own data."""
    payloads: Mapping[str, Callable[[Any], msgspec.Struct]] = tables(settings.MQTT_ROUTES).PAYLOADS
    return payloads.get(method)
