"""What each kind of account may do at the broker, as a table; of another serial number, nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt_bridge.protocol.access import Account, Action, Kind, covers, may, rules
from mqtt_bridge.protocol.errors import LocalProtocolError
from mqtt_bridge.protocol.topics import CONTROL_FILTERS, SN_PATTERN, TELEMETRY_FILTERS, Channel, build, is_sn

DOCK = Account("A1", Kind.DOCK, "A1", ("F1",))
ENROLMENT = Account("enrol-1", Kind.ENROLMENT)
SERVER = Account("bridge", Kind.SERVER)
BROKER = Account("enrolment", Kind.ENROLMENT_BROKER)
ADMIN = Account("admin", Kind.ADMIN)

PUBLISH, SUBSCRIBE, RECEIVE = Action

# (account, action, topics, whether it may)
DECISIONS = [
    # a dock, as itself
    (DOCK, PUBLISH, "thing/product/A1/requests thing/product/A1/events thing/product/A1/services_reply", True),
    (DOCK, PUBLISH, "thing/product/A1/osd thing/product/A1/state thing/product/A1/property/set_reply", True),
    (DOCK, PUBLISH, "sys/product/A1/status thing/product/A1/status thing/product/A1/drc/up", True),
    (DOCK, SUBSCRIBE, "thing/product/A1/services thing/product/A1/requests_reply thing/product/A1/drc/down", True),
    (DOCK, SUBSCRIBE, "thing/product/A1/# thing/product/A1/+ thing/product/A1/property/+ sys/product/A1/#", True),
    (DOCK, RECEIVE, "thing/product/A1/services thing/product/A1/requests_reply thing/product/A1/events_reply", True),
    (DOCK, RECEIVE, "thing/product/A1/state_reply thing/product/A1/property/set thing/product/A1/drc/down", True),
    (DOCK, RECEIVE, "sys/product/A1/status_reply thing/product/A1/status_reply sys/product/A1/network/probe", True),
    (DOCK, RECEIVE, "thing/product/A1/osd thing/product/A1/events thing/product/A1/requests", False),  # its own
    # a dock, as the server or in its own downlink
    (DOCK, PUBLISH, "thing/product/A1/services thing/product/A1/requests_reply sys/product/A1/status_reply", False),
    (DOCK, PUBLISH, "bridge/dock-cloud-bridge/ping enrol/thing/product/A1/requests $SYS/x $CONTROL/x", False),
    (DOCK, PUBLISH, "thing/product/A1/# thing/product/A1 thing/product/A1/ thing/product/A1/osd/more a /", False),
    (DOCK, PUBLISH, "thing/product/A11/osd thing/product/a1/osd /thing/product/A1/osd", False),
    (DOCK, SUBSCRIBE, "# +/# +/+/A1/# thing/# thing/product/# thing/product/+/# thing/+/A1/# +/product/A1/#", False),
    (DOCK, SUBSCRIBE, "thing/product/+/services thing/product/+/requests_reply thing/product/+/osd", False),
    (DOCK, SUBSCRIBE, "$SYS/# $SYS/broker/log/N $CONTROL/# $CONTROL/dynamic-security/v1/response", False),
    (DOCK, SUBSCRIBE, "$share/x/thing/product/A1/services $share/x/# $share/x/thing/product/B2/services", False),
    (DOCK, SUBSCRIBE, "bridge/dock-cloud-bridge/ping bridge/# enrol/# enrol/thing/product/A1/requests_reply", False),
    # its aircraft, which asks nothing and reports no topology
    (DOCK, PUBLISH, "thing/product/F1/osd thing/product/F1/state thing/product/F1/events", True),
    (DOCK, PUBLISH, "thing/product/F1/requests thing/product/F1/services_reply sys/product/F1/status", False),
    (DOCK, SUBSCRIBE, "thing/product/F1/osd thing/product/F1/# thing/product/F2/osd", False),
    (DOCK, RECEIVE, "thing/product/F1/osd", False),
    (DOCK, PUBLISH, "thing/product/F2/osd thing/product/F2/state thing/product/F2/events", False),  # not its own now
    # an enrolment account: any serial number, one at a time, and onboarding only
    (ENROLMENT, PUBLISH, "thing/product/A1/requests thing/product/B2/requests", True),
    (ENROLMENT, SUBSCRIBE, "thing/product/A1/requests_reply thing/product/B2/requests_reply", True),
    (ENROLMENT, RECEIVE, "thing/product/A1/requests_reply", True),
    (ENROLMENT, PUBLISH, "thing/product/A1/osd thing/product/A1/events sys/product/A1/status", False),
    (ENROLMENT, PUBLISH, "thing/product/A1/requests_reply thing/product/A1/services_reply", False),
    (ENROLMENT, SUBSCRIBE, "thing/product/+/requests_reply thing/product/# # thing/product/A1/#", False),
    (ENROLMENT, SUBSCRIBE, "thing/product/A1/services thing/product/A1/requests $SYS/# $share/x/#", False),
    # the bridge and the workers
    (SERVER, PUBLISH, "thing/product/A1/services sys/product/A1/status_reply bridge/dock-cloud-bridge/ping", True),
    (SERVER, PUBLISH, "enrol/thing/product/A1/requests_reply", True),
    (SERVER, SUBSCRIBE, "enrol/thing/product/+/requests bridge/dock-cloud-bridge/ping $SYS/broker/version", True),
    (SERVER, SUBSCRIBE, "$share/telemetry/thing/product/+/osd $share/telemetry/thing/product/+/state", True),
    (DOCK, SUBSCRIBE, "$share/telemetry/thing/product/+/osd $share/telemetry/thing/product/A1/osd", False),
    (SERVER, SUBSCRIBE, "# +/# $SYS/# $CONTROL/# $share/x/thing/product/+/requests", False),
    (SERVER, PUBLISH, "$CONTROL/dynamic-security/v1 $SYS/broker/version enrol/thing/product/A1/requests", False),
    # the enrolment broker, as a client of the main one
    (BROKER, PUBLISH, "enrol/thing/product/A1/requests", True),
    (BROKER, SUBSCRIBE, "enrol/thing/product/+/requests_reply", True),
    (BROKER, RECEIVE, "enrol/thing/product/A1/requests_reply", True),
    (BROKER, PUBLISH, "thing/product/A1/requests enrol/thing/product/A1/events enrol/sys/product/A1/status", False),
    (BROKER, SUBSCRIBE, "enrol/# thing/product/+/requests_reply enrol/thing/product/+/requests #", False),
    # who manages the accounts
    (ADMIN, PUBLISH, "$CONTROL/dynamic-security/v1", True),
    (ADMIN, SUBSCRIBE, "$CONTROL/dynamic-security/v1/response $SYS/broker/log/N $SYS/broker/log/M/subscribe", True),
    (ADMIN, SUBSCRIBE, "# thing/# $SYS/# $CONTROL/#", False),
    (ADMIN, PUBLISH, "thing/product/A1/services $SYS/broker/version", False),
]
ROWS = [(account, action, topic, want) for account, action, topics, want in DECISIONS for topic in topics.split()]


@pytest.mark.parametrize(("account", "action", "topic", "want"), ROWS)
def test_decision(account, action, topic, want):
    assert may(account, action, topic) is want


@pytest.mark.parametrize("sn", ["", "+", "#", "A/B", "A1\n", "A" * 65])
def test_what_is_no_serial_number_has_no_account(sn):
    with pytest.raises(LocalProtocolError):
        Account("x", Kind.DOCK, sn)
    with pytest.raises(LocalProtocolError):
        Account("x", Kind.DOCK, "A1", (sn,))


@pytest.mark.parametrize(
    "topic", ["", "\0", "thing/product/A1/\0", "thing/product/A1/#/osd", "thing/product/A1/o+", "A" * 65_536]
)
@pytest.mark.parametrize("action", Action)
def test_what_mqtt_forbids_is_denied(action, topic):
    assert not may(DOCK, action, topic)
    assert not may(SERVER, action, topic)


@pytest.mark.parametrize("name", [*CONTROL_FILTERS, *TELEMETRY_FILTERS])
def test_server_may_hear_what_the_bridge_subscribes_to_and_docks_may_say_it(name):
    assert may(SERVER, SUBSCRIBE, name)
    assert may(SERVER, RECEIVE, name.replace("+", "A1"))
    speaker = BROKER if name.startswith("enrol/") else DOCK
    assert may(speaker, PUBLISH, name.replace("+", "A1"))


@pytest.mark.parametrize("channel", Channel)
def test_dock_may_not_publish_what_the_server_says_to_it(channel):
    downlink = {Channel.SERVICES, Channel.PROPERTY_SET}
    downlink |= {Channel.EVENTS_REPLY, Channel.REQUESTS_REPLY, Channel.STATUS_REPLY}
    assert may(DOCK, PUBLISH, build(channel, "A1")) == (channel not in downlink)
    assert may(DOCK, RECEIVE, build(channel, "A1")) == (channel in downlink)


@pytest.mark.parametrize("kind", Kind)
def test_what_one_may_receive_one_may_subscribe_to(kind):
    account = DOCK if kind == Kind.DOCK else Account("x", kind)
    received = [rule.filter.replace("+", "A1") for rule in rules(account) if rule.action == RECEIVE]
    assert all(may(account, SUBSCRIBE, topic) for topic in received)


@pytest.mark.parametrize(
    ("allowed", "asked", "want"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a/+/#", True),
        ("a/#", "+/b", False),
        ("a/+/#", "a", False),
        ("a/+/#", "a/#", False),
        ("+", "$SYS", False),
        ("#", "$SYS/x", False),
        ("#", "#", True),
        ("#", "+/x", True),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/#", "+/x", False),
        ("+/x", "+/x", True),
        ("a", "a/b", False),
    ],
)
def test_a_filter_covers_another(allowed, asked, want):
    assert covers(allowed, asked) is want


sns = st.from_regex(SN_PATTERN, fullmatch=True).filter(is_sn)
levels = st.sampled_from(
    ["thing", "sys", "product", "A1", "B2", "F1", "F2", "osd", "state", "services", "requests", "property", "set",
     "status", "+", "#", "$share", "$SYS", "enrol", "", "drc", "up"]
)  # fmt: skip
topics = st.lists(levels, min_size=1, max_size=6).map("/".join)


def matches(name, topic):
    """By the text of MQTT, level by level, written otherwise than the code."""
    if name == [] or topic == []:
        return name == topic or name == ["#"]
    return name[0] == "#" or (name[0] in ("+", topic[0]) and matches(name[1:], topic[1:]))


@given(sns, st.sampled_from(Action), topics)
def test_no_filter_and_no_topic_of_another_is_ever_allowed(sn, action, topic):
    dock = Account(sn, Kind.DOCK, sn, ("F1",) if sn != "F1" else ())
    if may(dock, action, topic):
        _root, product, named, *_rest = topic.split("/")
        assert product == "product"
        assert named == sn or (named == "F1" and action == PUBLISH)


@given(sns, sns, st.sampled_from(Action), st.sampled_from(Channel), st.sampled_from(["thing", "sys"]))
def test_no_channel_of_another_is_ever_allowed(mine, other, action, channel, root):
    if mine != other:
        assert not may(Account(mine, Kind.DOCK, mine), action, f"{root}/product/{other}/{channel}")


@given(topics, topics.filter(lambda topic: not {"+", "#"} & set(topic.split("/"))))
def test_a_filter_covers_the_topics_that_match_it(name, topic):
    if "#" in name.split("/")[:-1]:
        return
    is_match = matches(name.split("/"), topic.split("/")) and (topic[:1] == "$") <= (name[:1] == "$")
    assert covers(name, topic) == is_match


@given(topics, topics, topics.filter(lambda topic: not {"+", "#"} & set(topic.split("/"))))
def test_what_a_filter_covers_it_covers_wholly(allowed, asked, topic):
    if all("#" not in name.split("/")[:-1] for name in (allowed, asked)) and covers(allowed, asked):
        assert covers(allowed, topic) or not covers(asked, topic)
