"""Who may say what at the broker: the rules of an account, and the one question that is asked of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mqtt_bridge.protocol.errors import LocalProtocolError
from mqtt_bridge.protocol.topics import ENROLMENT_PREFIX, SHARED_TELEMETRY_FILTERS, Channel, build, is_sn

LONGEST_TOPIC: Final = 65_535  # bytes, by MQTT


class Action(StrEnum):
    """What a client does with a topic; to subscribe it names a filter."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


class Kind(StrEnum):
    """What an account is for."""

    DOCK = "dock"
    ENROLMENT = "enrolment"  # at the enrolment broker: docks that have no account of their own yet
    SERVER = "server"  # bridge and workers
    ENROLMENT_BROKER = "enrolment_broker"  # at the main broker: the enrolment broker, which is a client there
    ADMIN = "admin"  # manages the accounts of a Mosquitto through its control topic


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the broker; `sn` and `aircraft`, which it carries now, are those of a dock's."""

    username: str
    kind: Kind
    sn: str = ""
    aircraft: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = (self.sn, *self.aircraft) if self.kind == Kind.DOCK else self.aircraft
        if not all(map(is_sn, named)):
            raise LocalProtocolError("no access for this: not a serial number")


class Rule(NamedTuple):
    """What is allowed: an action on every topic that matches the filter.

    With `is_literal` a client may only subscribe to one topic at a time, never to the wildcard itself.
    """

    action: Action
    filter: str
    is_literal: bool = False


# What a dock publishes of its aircraft, on the aircraft's own topics. The events are `hms`: a Dock 3 sends one every
# two seconds while its Matrice 4TD is on (recorded flight in github.com/SMengqi/sim_dji_cloud).
_OF_AIRCRAFT: Final = (Channel.OSD, Channel.STATE, Channel.EVENTS)
# What it publishes as a gateway.
_UPLINK: Final = (
    *_OF_AIRCRAFT,
    Channel.REQUESTS,
    Channel.SERVICES_REPLY,
    Channel.PROPERTY_SET_REPLY,
    Channel.STATUS,
)
_DOWNLINK: Final = (
    Channel.SERVICES,
    Channel.REQUESTS_REPLY,
    Channel.EVENTS_REPLY,
    Channel.STATUS_REPLY,
    Channel.PROPERTY_SET,
)
_OTHER_DOWNLINK: Final = (
    "thing/product/{}/status_reply",  # of a topology that came there
    "thing/product/{}/drc/down",  # live flight, from another service on the broker
    "thing/product/{}/state_reply",  # V1.1, as the next
    "sys/product/{}/network/probe",
)


def rules(account: Account) -> list[Rule]:
    """All that this account may do; what is not here is denied."""
    return list(_RULES[account.kind](account))


def _both_ways(*filters: str) -> Iterator[Rule]:
    return (Rule(action, one) for one in filters for action in Action)


def _reading(*filters: str) -> Iterator[Rule]:
    return (Rule(action, one) for one in filters for action in (Action.SUBSCRIBE, Action.RECEIVE))


def _of_dock(account: Account) -> Iterator[Rule]:
    sn = account.sn
    yield from (Rule(Action.PUBLISH, build(channel, sn)) for channel in _UPLINK)
    yield Rule(Action.PUBLISH, f"thing/product/{sn}/status")  # where some send the topology (decision 36)
    yield Rule(Action.PUBLISH, f"thing/product/{sn}/drc/up")  # live flight, for another service on the broker
    for aircraft in account.aircraft:
        yield from (Rule(Action.PUBLISH, build(channel, aircraft)) for channel in _OF_AIRCRAFT)
    # A dock may subscribe with a wildcard of its own. It does not get back what it says itself: one that does not read
    # would fill the broker's memory with that.
    yield from (Rule(Action.SUBSCRIBE, f"{root}/product/{sn}/#") for root in ("thing", "sys"))
    yield from (Rule(Action.RECEIVE, build(channel, sn)) for channel in _DOWNLINK)
    yield from (Rule(Action.RECEIVE, name.format(sn)) for name in _OTHER_DOWNLINK)


def _of_enrolment(_account: Account) -> Iterator[Rule]:
    # Any serial number, for it is not known yet. What may be said and learnt this way the bridge decides.
    yield Rule(Action.PUBLISH, "thing/product/+/requests")
    yield Rule(Action.SUBSCRIBE, "thing/product/+/requests_reply", is_literal=True)
    yield Rule(Action.RECEIVE, "thing/product/+/requests_reply")


def _of_server(_account: Account) -> Iterator[Rule]:
    yield from _both_ways("thing/product/+/#", "sys/product/+/#", "bridge/+/ping")
    yield from (Rule(Action.SUBSCRIBE, one) for one in SHARED_TELEMETRY_FILTERS)
    yield from _reading(f"{ENROLMENT_PREFIX}thing/product/+/requests")
    yield Rule(Action.PUBLISH, f"{ENROLMENT_PREFIX}thing/product/+/requests_reply")
    yield from _reading("$SYS/broker/#")  # version and settings, which `manage.py doctor` looks at


def _of_enrolment_broker(_account: Account) -> Iterator[Rule]:
    yield Rule(Action.PUBLISH, f"{ENROLMENT_PREFIX}thing/product/+/requests")
    yield from _reading(f"{ENROLMENT_PREFIX}thing/product/+/requests_reply")


def _of_admin(_account: Account) -> Iterator[Rule]:
    yield Rule(Action.PUBLISH, "$CONTROL/dynamic-security/v1")
    yield from _reading("$CONTROL/dynamic-security/v1/response", "$SYS/broker/#")  # the log says who connected


_RULES: Final = {
    Kind.DOCK: _of_dock,
    Kind.ENROLMENT: _of_enrolment,
    Kind.SERVER: _of_server,
    Kind.ENROLMENT_BROKER: _of_enrolment_broker,
    Kind.ADMIN: _of_admin,
}


def may(account: Account, action: Action, topic: str) -> bool:
    """Say whether the account may do this; to subscribe `topic` is the filter that it asks for.

    A filter is allowed only if one rule covers all of it. Shared subscriptions (`$share/...`) are but for the server's.
    """
    if not _is_valid(topic):
        return False
    has_wildcard = "+" in topic or "#" in topic
    if has_wildcard and action != Action.SUBSCRIBE:
        return False
    return any(
        rule.action == action and covers(rule.filter, topic) and not (rule.is_literal and has_wildcard)
        for rule in rules(account)
    )


def covers(allowed: str, asked: str) -> bool:
    """Say whether every topic that matches the filter `asked`, or the topic `asked` itself, matches `allowed`."""
    if asked.startswith("$") != allowed.startswith("$"):  # wildcards never match what begins with "$" (MQTT 4.7.2)
        return False
    allowed_levels, asked_levels = allowed.split("/"), asked.split("/")
    for index, level in enumerate(allowed_levels):
        if level == "#":  # all below, and the level above it (MQTT 4.7.1.2)
            return True
        if index == len(asked_levels):
            return False
        if asked_levels[index] == "#" or (level != "+" and level != asked_levels[index]):
            return False
    return len(allowed_levels) == len(asked_levels)


def _is_valid(topic: str) -> bool:
    """Say whether this is a filter by MQTT 4.7: a wildcard fills its level, and "#" is the last."""
    if not topic or "\0" in topic or len(topic.encode(errors="replace")) > LONGEST_TOPIC:
        return False
    *above, _last = levels = topic.split("/")
    return "#" not in above and not any(len(level) > 1 and ("+" in level or "#" in level) for level in levels)
