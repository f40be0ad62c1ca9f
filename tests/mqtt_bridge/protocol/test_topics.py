"""Topics in both directions."""

import pytest

from mqtt_bridge.protocol.errors import LocalProtocolError, RemoteProtocolError
from mqtt_bridge.protocol.topics import (
    CONTROL_FILTERS,
    TELEMETRY_FILTERS,
    Channel,
    Topic,
    build,
    is_sn,
    parse,
    reply_channel,
    reply_topic,
)

TOPICS = [
    ("thing/product/DOCK1/osd", Channel.OSD),
    ("thing/product/DOCK1/state", Channel.STATE),
    ("thing/product/DOCK1/services", Channel.SERVICES),
    ("thing/product/DOCK1/services_reply", Channel.SERVICES_REPLY),
    ("thing/product/DOCK1/events", Channel.EVENTS),
    ("thing/product/DOCK1/events_reply", Channel.EVENTS_REPLY),
    ("thing/product/DOCK1/requests", Channel.REQUESTS),
    ("thing/product/DOCK1/requests_reply", Channel.REQUESTS_REPLY),
    ("thing/product/DOCK1/property/set", Channel.PROPERTY_SET),
    ("thing/product/DOCK1/property/set_reply", Channel.PROPERTY_SET_REPLY),
    ("sys/product/DOCK1/status", Channel.STATUS),
    ("sys/product/DOCK1/status_reply", Channel.STATUS_REPLY),
]


@pytest.mark.parametrize(("topic", "channel"), TOPICS)
def test_topic_is_read_and_written(topic, channel):
    assert parse(topic) == Topic("DOCK1", channel)
    assert build(channel, "DOCK1") == topic


def test_topology_is_read_on_either_of_its_topics_and_answered_on_the_same():
    assert parse("thing/product/DOCK1/status") == parse("sys/product/DOCK1/status")
    assert parse(reply_topic("thing/product/DOCK1/status")).channel == Channel.STATUS_REPLY
    assert reply_topic("thing/product/DOCK1/status") == "thing/product/DOCK1/status_reply"


def test_every_channel_has_a_topic():
    assert {channel for _, channel in TOPICS} == set(Channel)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "thing/product/DOCK1",
        "thing/product/DOCK1/",
        "thing/product//requests",
        "thing/product/DOCK1/requests/",
        "thing/product/DOCK1/requests/more",
        "/thing/product/DOCK1/requests",
        "sys/product/DOCK1/requests",
        "thing/model/DOCK1/requests",
        "thing/product/DOCK1/Requests",
        "thing/product/DOCK1/drc/up",
        "thing/product/DOCK1/property",
        "thing/product/+/requests",
        "thing/product/DO#K/requests",
        "thing/product/DOCK 1/requests",
        "thing/product/-DOCK/requests",
        "thing/product/_DOCK/requests",
        "thing/product/机场/requests",
        "thing/product/DOCK1\n/requests",
        f"thing/product/{'A' * 65}/requests",
        "$share/bridge/thing/product/DOCK1/requests",
        "$SYS/broker/uptime",
    ],
)
def test_other_topics_are_unknown(topic):
    with pytest.raises(RemoteProtocolError) as caught:
        parse(topic)
    assert caught.value.reason == "topic_unknown"


@pytest.mark.parametrize("sn", ["A", "1", "dock-sn", "a_b-C9", "A" * 64])
def test_serial_numbers_have_1_to_64_letters_digits_and_dashes(sn):
    assert is_sn(sn)
    assert parse(build(Channel.STATUS, sn)).sn == sn


@pytest.mark.parametrize("sn", ["", "+", "#", "a/b", "A" * 65, "DOCK1\n", "-a"])
def test_no_topic_is_built_for_what_is_no_serial_number(sn):
    with pytest.raises(LocalProtocolError):
        build(Channel.SERVICES, sn)


@pytest.mark.parametrize(
    "channel",
    [Channel.SERVICES, Channel.EVENTS, Channel.REQUESTS, Channel.PROPERTY_SET, Channel.STATUS],
)
def test_reply_goes_to_the_channel_of_the_same_name(channel):
    assert reply_channel(channel) == f"{channel}_reply"
    assert reply_topic(build(channel, "DOCK1")) == build(Channel(f"{channel}_reply"), "DOCK1")


@pytest.mark.parametrize("channel", [Channel.OSD, Channel.STATE, Channel.REQUESTS_REPLY])
def test_telemetry_and_answers_are_not_answered(channel):
    assert reply_channel(channel) is None


def test_filters_cover_every_topic_a_dock_publishes():
    filters = {*CONTROL_FILTERS, *TELEMETRY_FILTERS}
    uplink = {parse(name.replace("+", "DOCK1")).channel for name in filters}
    downlink = {
        Channel.SERVICES,
        Channel.EVENTS_REPLY,
        Channel.REQUESTS_REPLY,
        Channel.PROPERTY_SET,
        Channel.STATUS_REPLY,
    }
    assert uplink == set(Channel) - downlink
    assert len(filters) == len(uplink) + len({"thing/product/+/status", "enrol/thing/product/+/requests"})


def test_topic_of_the_enrolment_broker_says_so():
    assert parse("enrol/thing/product/DOCK1/requests") == Topic("DOCK1", Channel.REQUESTS, by_enrolment=True)
    assert reply_topic("enrol/thing/product/DOCK1/requests") == "enrol/thing/product/DOCK1/requests_reply"


@pytest.mark.parametrize(
    "topic",
    ["enrol/thing/product/DOCK1/events", "enrol/sys/product/DOCK1/status", "enrol/enrol/thing/product/DOCK1/requests"],
)
def test_nothing_but_requests_comes_through_enrolment(topic):
    with pytest.raises(RemoteProtocolError):
        parse(topic)
