"""Who is let in."""

from mqtt_bridge.line.admission import Admission
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.rate_limit import ENROLMENT_BURST


def test_only_the_last_ping_that_was_sent_is_taken_and_once():
    admission = Admission("bridge/one/ping")

    def is_taken(payload):
        return admission.admit(Delivery(topic="bridge/one/ping", payload=payload, mid=1))

    assert not is_taken(b"")
    admission.ping = b"earlier"
    admission.ping = b"last"
    taken = [is_taken(said) for said in (b"", b"guess", b"earlier", b"last", b"last")]
    assert taken == [False, False, False, True, False]
    assert admission.drops == {"forged_pings": 5}


def test_what_was_admitted_is_dropped_when_its_sender_owes_tokens():
    admission = Admission("bridge/ping/ping")
    topics = "thing/product/GUESSER/requests", "thing/product/OTHER/requests", "bridge/ping/ping"
    guess, other, ping = (Delivery(topic=topic, payload=b"{}", mid=1) for topic in topics)
    assert admission.admit(guess)
    admission.limiter.charge("GUESSER", 2_000)
    admission.limiter.charge("ping", 2_000)
    assert [admission.is_overdrawn(delivery) for delivery in (guess, other, ping)] == [True, False, False]
    assert admission.drops == {"overdrawn": 1}


def test_all_that_comes_through_enrolment_has_its_own_tokens():
    admission = Admission("bridge/one/ping")

    def admitted(count, topic):
        return sum(
            admission.admit(Delivery(topic=topic.format(number), payload=b"{}", mid=1)) for number in range(count)
        )

    count = 2 * int(ENROLMENT_BURST)
    assert ENROLMENT_BURST <= admitted(count, "enrol/thing/product/NEW{}/requests") < count
    assert admission.drops["enrolment_limited"] > 0
    assert admitted(count, "thing/product/DOCK{}/requests") == count


def test_what_a_dock_sends_is_weighed():
    admission = Admission("bridge/one/ping")
    delivery = Delivery(topic="thing/product/DOCK1/services_reply", payload=b" " * 2**20, mid=1)
    assert sum(admission.admit(delivery) for _ in range(100)) == 7
    assert delivery.cost == 129
    assert admission.drops["rate_limited"] == 93
