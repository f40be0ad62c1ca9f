"""Which gateway is served when many wait."""

import pytest

from mqtt_bridge.line.inbox import LEAST, LEAST_STRANGERS, WITH_STRANGERS, WORK, Delivery, Inbox, gateway_of
from mqtt_bridge.rate_limit import ENVELOPE


def delivery(sn, number=0, *, cost=1):
    objects = "{" * (cost + ENVELOPE)
    return Delivery(topic=f"thing/product/{sn}/requests", payload=f"{number} {objects}".encode(), mid=number + 1)


def filled(*deliveries):
    inbox = Inbox()
    for said in deliveries:
        inbox.put(said)
    return inbox


def take(inbox, limit=256):
    return [f"{said.gateway} {said.payload.split()[0].decode()}" for said in inbox.take(limit=limit)]


def test_a_dock_waits_for_no_more_than_one_batch_of_a_flood():
    inbox = filled(*(delivery("FLOODER", number) for number in range(1000)), delivery("OTHER"))
    batch = take(inbox)
    assert "OTHER 0" in batch
    assert len(batch) == WORK // LEAST + 1


def test_what_one_gateway_says_stays_in_order():
    inbox = filled(*(delivery(sn, number) for number in range(20) for sn in "AB"))
    batches = [take(inbox, limit=6) for _ in range(10)]
    assert [said for batch in batches for said in batch if said[0] == "A"] == [f"A {number}" for number in range(20)]
    assert (len(inbox), inbox.size) == (0, 0)


def test_a_message_that_makes_much_work_takes_the_share_of_many():
    inbox = filled(*(delivery("LISTS", number, cost=WORK) for number in range(3)), delivery("OTHER"))
    assert take(inbox) == ["LISTS 0", "OTHER 0"]
    assert take(inbox) == ["LISTS 1"]


def test_more_gateways_than_a_batch_holds_are_served_in_turn():
    inbox = filled(*(delivery(f"DOCK{number}", said) for said in range(2) for number in range(10)))
    assert take(inbox, limit=8) == [f"DOCK{number} 0" for number in range(8)]
    assert take(inbox, limit=8)[:2] == ["DOCK8 0", "DOCK9 0"]


def test_ever_new_gateways_do_not_crowd_out_those_that_are_preferred():
    inbox = filled(*(delivery(f"NEW{number}") for number in range(100)), delivery("KNOWN", 1), delivery("KNOWN", 2))
    inbox.prefer(["KNOWN", "QUIET"])
    inbox.put(delivery("KNOWN", 3))
    inbox.put(delivery("QUIET", 1))
    assert take(inbox, limit=8) == ["KNOWN 1", "QUIET 1", "KNOWN 2", "KNOWN 3", "NEW0 0", "NEW1 0", "NEW2 0", "NEW3 0"]


def test_preferred_gateways_leave_a_fourth_of_a_batch_to_the_others():
    inbox = filled(*(delivery(f"KNOWN{number}") for number in range(100)), *(delivery(f"NEW{n}") for n in range(100)))
    inbox.prefer(f"KNOWN{number}" for number in range(100))
    assert [said[:3] for said in take(inbox, limit=8)] == ["KNO"] * 6 + ["NEW"] * 2


@pytest.mark.parametrize(
    ("topic", "name"), [("sys/product/DOCK1/status", "DOCK1"), ("bridge/one/ping", "ping"), ("other", "")]
)
def test_gateway_is_the_third_part_of_the_topic(topic, name):
    assert gateway_of(topic) == name


def test_what_is_put_back_comes_again_after_its_rest_and_before_what_its_gateway_said_since(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("mqtt_bridge.line.inbox.monotonic", lambda: now)
    box = filled(delivery("LOCKED", 1), delivery("LOCKED", 2), delivery("LOCKED", 3), delivery("OTHER", 1))
    size = box.size
    taken = [said for said in box.take(limit=3) if said.gateway == "LOCKED"]
    box.put_back(taken, rest=0.5)
    box.put(delivery("LOCKED", 4))
    assert (len(box), box.size) == (4, size)
    assert take(box) == []
    box.prefer(["LOCKED"])
    now += 0.5
    assert take(box) == ["LOCKED 1", "LOCKED 2", "LOCKED 3", "LOCKED 4"]
    assert (len(box), box.size) == (0, 0)


def test_strangers_get_as_many_places_as_can_be_handled_soon(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("mqtt_bridge.line.inbox.monotonic", lambda: now)
    inbox = filled(*(delivery(f"NEW{number}") for number in range(10_000)))

    def handle(seconds_each):
        nonlocal now
        size = len(take(inbox))
        now += size * seconds_each
        return size

    assert [handle(0.001) for _ in range(10)][-1] == pytest.approx(WITH_STRANGERS / 0.001, rel=0.1)
    assert [handle(0.1) for _ in range(10)][-1] == LEAST_STRANGERS
    assert [handle(0.0001) for _ in range(30)][-1] == 256


def test_who_is_preferred_is_not_slowed_down_with_strangers(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("mqtt_bridge.line.inbox.monotonic", lambda: now)
    inbox = filled(*(delivery(f"NEW{number}") for number in range(1000)))
    for _ in range(10):
        take(inbox)
        now += 10
    inbox.prefer(f"KNOWN{number}" for number in range(1000))
    for number in range(1000):
        inbox.put(delivery(f"KNOWN{number}"))
    assert [said[:3] for said in take(inbox)] == ["KNO"] * (256 - LEAST_STRANGERS) + ["NEW"] * LEAST_STRANGERS


def enrolling(sn):
    return Delivery(topic=f"enrol/thing/product/{sn}/requests", payload=b"0 {}", mid=1)


def test_what_comes_through_enrolment_has_a_fourth_of_the_strangers_places():
    inbox = filled(*(enrolling(f"NEW{n}") for n in range(400)), *(delivery(f"DOCK{n}") for n in range(400)))
    inbox.prefer(["NEW0"])  # the real one, with its own account
    batch = take(inbox, limit=64)
    assert len([said for said in batch if said.startswith("enrol/NEW")]) == 16
    assert len(batch) == 64
    assert gateway_of("enrol/thing/product/DOCK1/requests") == "enrol/DOCK1"


def test_what_comes_through_enrolment_is_served_when_nobody_else_waits():
    inbox = filled(*(enrolling(f"NEW{n}") for n in range(3)))
    taken = [said for _ in range(4) for said in take(inbox, limit=8)]
    assert len(taken) == 3
