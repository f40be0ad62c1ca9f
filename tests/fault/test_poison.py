"""Hostile messages among good ones (docs/reliability.md, test 5): the good are answered, the bridge goes on."""

import functools
import json
import time
from collections import defaultdict

import pytest

from mqtt_bridge.protocol import topics
from mqtt_bridge.protocol.envelope import decode
from mqtt_bridge.protocol.errors import RemoteProtocolError
from mqtt_bridge.protocol.topics import Channel
from tests.fault.altered_bridge import command
from tests.fault.load import QUIET, size, under_load
from tests.fault.strangers import stranger
from tests.samples.poison import ACCEPTED, POISON
from tests.stack import CODE, wait_for

pytestmark = pytest.mark.fault

CONTROL = [poison for poison in POISON if poison.channel is not Channel.OSD]
ROUNDS = size(1, 5)
GOOD = size(2, 10)  # good messages to each hostile one
JOURNAL = """SELECT (SELECT count(*) FROM mqtt_bridge_exchange),
 (SELECT coalesce(sum(count), 0) FROM mqtt_bridge_passingevent)"""


def sn_of(place):
    return f"POISON{place:04}"


def refused_at_sight(poison):
    """Whether the envelope itself is refused, whatever the method makes of its data."""
    return poison.expected not in (ACCEPTED, "data_invalid")


@functools.cache  # some are long
def wants_reply(poison):
    """The tid to which the sender must get an answer, "" if it cannot get one."""
    try:
        envelope = decode(poison.payload, channel=poison.channel)
    except RemoteProtocolError as error:
        envelope = error.envelope
    if envelope is None or topics.reply_channel(poison.channel) is None:
        return ""
    return envelope.tid if poison.channel is not Channel.EVENTS or envelope.need_reply else ""


def run(stack, corpus, *, grace=20.0, until=lambda client: True, **options):
    """One hostile message to GOOD good ones; returns the load, the stranger and the bridge.

    The stranger stays to hear answers `until` this is true of it.
    """
    bridge = stack.start_bridge(**options)
    with under_load(stack, at_least=GOOD * len(corpus), grace=grace) as load, stranger(stack, load.loop) as client:
        for place, poison in enumerate(corpus):
            client.say(topics.build(poison.channel, sn_of(place)), poison.payload)
            wait_for(lambda goal=GOOD * place: load.sent >= goal)
        load.finish(at_least=GOOD * len(corpus), grace=grace)
        wait_for(lambda: until(client))
    return load, client, bridge


def test_poison_harms_no_good_message(stack, report):
    load, _, bridge = run(stack, CONTROL * ROUNDS, until=lambda client: not list(wrongly_answered(client)))
    # The journal follows the answers, and the load waits for those to good messages only.
    wait_for(lambda: wrongly_journaled(stack) == [])
    outcomes = dict(stack.rows("SELECT outcome, count(*) FROM mqtt_bridge_exchange GROUP BY outcome"))
    report(
        f"{stack.database.name}: {len(CONTROL) * ROUNDS} hostile messages, {outcomes}, good: {load.ledger.summary()}"
    )
    assert load.ledger.unanswered() == []
    assert load.ledger.complaints == []
    assert (bridge.poll(), stack.served()) == (None, 1)
    assert outcomes["quarantined"] >= 60
    assert "error" not in outcomes
    assert is_all_acknowledged(stack, bridge)


def wrongly_journaled(stack):
    """The corpus entries that are not in the journal as the corpus says."""
    rows = "SELECT gateway_sn, outcome, reason FROM mqtt_bridge_exchange WHERE gateway_sn LIKE 'POISON%'"
    found = {sn: (outcome, reason) for sn, outcome, reason in stack.rows(rows)}
    passing = stack.rows("SELECT gateway_sn FROM mqtt_bridge_passingevent WHERE gateway_sn LIKE 'POISON%'")
    found |= {sn: ("passing", "") for (sn,) in passing}
    return [
        (poison.name, found.get(sn_of(place)))
        for place, poison in enumerate(CONTROL)
        if sn_of(place) not in found
        or (refused_at_sight(poison) and found[sn_of(place)][0] != "quarantined")
        or (refused_at_sight(poison) and not found[sn_of(place)][1].startswith(poison.expected))
        or (poison.expected == ACCEPTED and found[sn_of(place)][0] == "quarantined")
    ]


def wrongly_answered(client):
    """The corpus entries whose sender can be answered and was not, or the other way round."""
    by_sn = defaultdict(dict)
    for key, data in client.replies.copy().items():  # more may come in meanwhile
        by_sn[key[0].split("/")[2]][key] = data
    for place, poison in enumerate(CONTROL):
        tid, answers = wants_reply(poison), by_sn[sn_of(place)]
        wanted = {(topics.build(topics.reply_channel(poison.channel), sn_of(place)), tid)} if tid else set()
        if set(answers) != wanted or (refused_at_sight(poison) and not all(map(is_error, answers.values()))):
            yield poison


def is_error(data):
    codes = [entry["err_code"] for entry in data.get("output", {}).get("err_infos", [])]
    return data["result"] != 0 or (codes and all(codes))


def is_all_acknowledged(stack, bridge):
    """Whether a new bridge gets nothing again."""
    stack.stop_bridge(bridge)
    [before] = stack.rows(JOURNAL)
    stack.start_bridge()
    time.sleep(0.5)
    return stack.rows(JOURNAL) == [before]


@pytest.mark.turns(5)
def test_checker_reports_the_loss_without_quarantine(postgres_stack, report):
    load, _, bridge = run(postgres_stack, CONTROL[:20], command=command("no_quarantine"), grace=1.0)
    report(f"without quarantine: exit code {bridge.poll()}, good: {load.ledger.summary()}")
    assert bridge.poll() not in (None, 0)
    assert load.ledger.unanswered() != []


# --- messages that must have no effect at all


BIND = {
    "tid": "t-1",
    "bid": "b-1",
    "timestamp": 1654070968655,
    "method": "airport_organization_bind",
    "data": {"bind_devices": [{"sn": "X", "organization_id": "12345678", "device_binding_code": CODE}]},
}
HOSTILE_SNS = ["", " ", "A B", "$share", "$SYS", "-A", "Ä", "机场", "A.B", "'; DROP TABLE x; --", "A" * 65, "B" * 5_000]
HOSTILE_TOPICS = [
    *(f"thing/product/{sn}/requests" for sn in HOSTILE_SNS),
    *(f"sys/product/{sn}/status" for sn in HOSTILE_SNS),
    "thing/product/X/requests/extra",
    "thing/product/X/Y/requests",
    "thing/product/X/requests_reply",
    "thing/product/requests",
    "/thing/product/X/requests",
    "THING/product/X/requests",
]


def bind(sn):
    message = json.loads(json.dumps(BIND))
    message["data"]["bind_devices"][0]["sn"] = sn
    return json.dumps(message).encode()


def say_hostile_topics(stack):
    """Ask on all these topics for a binding; returns the answers, without our own words on a reply topic."""
    with stack.fleet(options=QUIET) as (_, loop), stranger(stack, loop) as client:
        for topic in HOSTILE_TOPICS:
            client.say(topic, bind("X"))
        client.say("thing/product/GOOD/requests", bind("GOOD"))
        wait_for(lambda: ("thing/product/GOOD/requests_reply", "t-1") in client.replies)
        time.sleep(0.3)
    return [topic for topic, _ in client.replies if topic not in HOSTILE_TOPICS]


def test_messages_on_hostile_topics_have_no_effect(stack):
    bridge = stack.start_bridge()
    assert say_hostile_topics(stack) == ["thing/product/GOOD/requests_reply"]
    assert stack.bound() == {"GOOD": "12345678"}
    journal = "SELECT gateway_sn FROM mqtt_bridge_exchange"
    wait_for(lambda: stack.rows(journal))
    assert stack.rows(journal) == [("GOOD",)]
    assert (bridge.poll(), stack.served()) == (None, 1)
    assert is_all_acknowledged(stack, bridge)


@pytest.mark.turns(5)
def test_messages_on_hostile_topics_are_seen_when_any_topic_is_believed(new_stack):
    with new_stack("sqlite") as stack:
        stack.start_bridge(command=command("any_topic"))
        with stack.fleet(options=QUIET) as (_, loop), stranger(stack, loop) as client:
            client.say("thing/product/A B/requests", bind("A B"))
            wait_for(lambda: client.replies)


def start_with_retained_requests(stack, **options):
    """Leave requests with the broker, then start a bridge; returns what it answered and did."""
    with stack.fleet(options=QUIET) as (_, loop), stranger(stack, loop) as client:
        for sn in ("KEPT1", "KEPT2"):
            client.say(f"thing/product/{sn}/requests", bind(sn), retain=True)
        stack.start_bridge(**options)
        client.say("thing/product/GOOD/requests", bind("GOOD"))
        wait_for(lambda: ("thing/product/GOOD/requests_reply", "t-1") in client.replies)
    return client.replies, stack.bound()


def test_retained_requests_have_no_effect(stack):
    replies, bound = start_with_retained_requests(stack)
    assert len(replies) == 1
    assert bound == {"GOOD": "12345678"}


@pytest.mark.turns(5)
def test_retained_requests_are_seen_when_they_are_asked_for(new_stack):
    with new_stack("sqlite") as stack:
        replies, bound = start_with_retained_requests(stack, command=command("retained_messages"))
        assert len(replies) == 3
        assert set(bound) == {"KEPT1", "KEPT2", "GOOD"}
