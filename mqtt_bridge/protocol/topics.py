"""MQTT topics of docks: which device, which channel (DJI: topic definition)."""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError

# Real serial numbers are letters and digits; those in DJI's examples have a hyphen ("dock-sn"). 64 is our own limit.
# Old pages write {pid} in its place in a topic, which is the same number.
SN_PATTERN: Final = r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
_SN = re.compile(SN_PATTERN)


class Channel(StrEnum):
    """The part of a topic after the serial number; up is from the device, down from the cloud."""

    # Not here: `drc/up` and `drc/down` (live flight, without tid), and `state_reply` and `network/probe` of V1.1.
    OSD = "osd"  # up, properties at a fixed rate, 0.5 Hz; of a dock or of an aircraft
    STATE = "state"  # up, properties that changed; of a dock or of an aircraft
    SERVICES = "services"  # down, commands
    SERVICES_REPLY = "services_reply"  # up, with tid and bid of the command; about 3 s later from real docks
    EVENTS = "events"  # up, notices and the progress of commands; may overtake the reply
    EVENTS_REPLY = "events_reply"  # down, if the event has `need_reply`
    REQUESTS = "requests"  # up, what the dock asks of the cloud
    REQUESTS_REPLY = "requests_reply"  # down, with tid, bid and method of the request
    PROPERTY_SET = "property/set"  # down, one property, without a method
    PROPERTY_SET_REPLY = "property/set_reply"  # up, `{property: {result}}`: 0 done, 1 failed, 2 timed out
    STATUS = "status"  # up, the topology (`update_topo`)
    STATUS_REPLY = "status_reply"  # down; the gateway repeats its topology until it has one


class Topic(NamedTuple):
    """Who a message is from or to (the topic is the identity, not the payload), and on which channel.

    `by_enrolment`: it came through the enrolment broker, where any account may use any serial number, so that this one
    is a claim (docs/decisions/0008).
    """

    sn: str
    channel: Channel
    by_enrolment: bool = False


# The topology lives under "sys", everything else under "thing"; some send the topology there, too (decision 36).
_PREFIXES: Final[dict[Channel, str]] = {
    channel: "sys/product/" if channel in (Channel.STATUS, Channel.STATUS_REPLY) else "thing/product/"
    for channel in Channel
}
_CHANNELS: Final[dict[tuple[str, str], Channel]] = {
    (root, channel.value): channel
    for channel, prefix in _PREFIXES.items()
    for root in {"thing", prefix.partition("/")[0]}
}
_REPLIES: Final[dict[Channel, Channel]] = {
    Channel.SERVICES: Channel.SERVICES_REPLY,
    Channel.EVENTS: Channel.EVENTS_REPLY,
    Channel.REQUESTS: Channel.REQUESTS_REPLY,
    Channel.PROPERTY_SET: Channel.PROPERTY_SET_REPLY,
    Channel.STATUS: Channel.STATUS_REPLY,
}

# What the enrolment broker puts before the topics of the messages that it hands on.
ENROLMENT_PREFIX: Final = "enrol/"
_ENROLMENT_CHANNELS: Final = frozenset({Channel.REQUESTS, Channel.REQUESTS_REPLY})

# What the bridge subscribes to, at QoS 1: a lost request would leave a dock waiting.
CONTROL_FILTERS: Final[tuple[str, ...]] = (
    "sys/product/+/status",
    "thing/product/+/status",
    "thing/product/+/requests",
    "thing/product/+/events",
    "thing/product/+/services_reply",
    "thing/product/+/property/set_reply",
    f"{ENROLMENT_PREFIX}thing/product/+/requests",
)
# What other services on the same broker answer to the methods that are left to them (decision 37).
ANSWER_FILTERS: Final[tuple[str, ...]] = ("thing/product/+/requests_reply", "thing/product/+/events_reply")
# At QoS 0: the next frame comes within two seconds.
TELEMETRY_FILTERS: Final[tuple[str, ...]] = ("thing/product/+/osd", "thing/product/+/state")
# The bridge and each `run_telemetry`: the broker gives every message to one of them (MQTT 5: shared subscriptions).
SHARED_TELEMETRY_FILTERS: Final[tuple[str, ...]] = tuple(f"$share/telemetry/{one}" for one in TELEMETRY_FILTERS)


def is_sn(text: str) -> bool:
    """Say whether the text may be a serial number: 1 to 64 letters, digits, `_` and `-`, in ASCII."""
    return _SN.match(text) is not None


def parse(topic: str) -> Topic:
    """Split a topic of either direction; RemoteProtocolError "topic_unknown" for any other."""
    plain = topic.removeprefix(ENROLMENT_PREFIX)
    by_enrolment = topic.startswith(ENROLMENT_PREFIX)
    parts = plain.split("/", 3)
    if len(parts) == 4:
        root, product, sn, rest = parts
        channel = _CHANNELS.get((root, rest))
        is_open = not by_enrolment or channel in _ENROLMENT_CHANNELS
        if channel is not None and is_open and product == "product" and _SN.match(sn):
            return Topic(sn, channel, by_enrolment)
    raise RemoteProtocolError("topic_unknown", f"{len(topic)} characters")


def build(channel: Channel, sn: str) -> str:
    """Name the topic of a device's channel; LocalProtocolError if `sn` is not a serial number."""
    if not is_sn(sn):
        raise LocalProtocolError("no topic for this: not a serial number")
    return f"{_PREFIXES[channel]}{sn}/{channel.value}"


def reply_topic(topic: str) -> str:
    """Name the topic that answers a message on this one, whichever of its two topics a topology came on."""
    return f"{topic}_reply"


def reply_channel(channel: Channel) -> Channel | None:
    """Name the channel that answers this one; None for telemetry and for answers."""
    return _REPLIES.get(channel)
