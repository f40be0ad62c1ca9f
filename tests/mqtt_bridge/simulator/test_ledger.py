"""What the ledger finds: unanswered requests, differing answers, latencies."""

import tracemalloc
import uuid

import pytest

from mqtt_bridge.simulator.ledger import Ledger


def asked(ledger: Ledger, tid: str, *, sn: str = "DOCK1", method: str = "config") -> None:
    ledger.asked(sn, method=method, tid=tid, bid=f"b{tid}")


def test_question_without_answer_is_unanswered() -> None:
    ledger = Ledger()
    asked(ledger, "1")
    asked(ledger, "2", method="airport_bind_status")
    ledger.answered("DOCK1", "1", "content")
    assert [one.tid for one in ledger.unanswered()] == ["2"]
    assert ledger.unanswered("config") == []


def test_answer_at_another_dock_does_not_count() -> None:
    ledger = Ledger()
    asked(ledger, "1")
    assert not ledger.answered("DOCK2", "1", "content")
    assert len(ledger.unanswered()) == 1


def test_repeats_are_one_transaction() -> None:
    ledger = Ledger()
    asked(ledger, "1")
    asked(ledger, "1")
    ledger.answered("DOCK1", "1", "content")
    ledger.answered("DOCK1", "1", "content")
    [transaction] = ledger.transactions()
    assert (transaction.sends, transaction.answers) == (2, 2)
    assert ledger.answered_more_than_once() == [transaction]
    assert ledger.answered_more_often_than_asked() == []
    assert ledger.answered_differently() == []


def test_answers_that_differ_are_found() -> None:
    ledger = Ledger()
    asked(ledger, "1")
    for content in ("first", "first", "second"):
        ledger.answered("DOCK1", "1", content)
    assert [one.tid for one in ledger.answered_differently()] == ["1"]
    assert [one.tid for one in ledger.answered_more_often_than_asked()] == ["1"]


def test_latency_percentiles_use_the_first_answer() -> None:
    ledger = Ledger()
    for number in range(101):
        asked(ledger, str(number))
        ledger.answered("DOCK1", str(number), "")
        transaction = ledger.transactions()[-1]
        transaction.first_answer = transaction.asked + number / 100
    assert ledger.latency(0, 50, 95, 100) == pytest.approx([0, 0.5, 0.95, 1])


def test_latency_without_answers_is_empty_and_bad_percentiles_are_refused() -> None:
    assert Ledger().latency(50) == []
    with pytest.raises(ValueError, match="from 0 to 100"):
        Ledger().latency(101)


def test_summary_counts_what_matters() -> None:
    ledger = Ledger()
    asked(ledger, "1")
    ledger.complain("DOCK1", "topic", "1", ["wrong", "worse"])
    assert ledger.summary() == "1 requests, 1 unanswered, 0 answered differently, 2 complaints"


@pytest.mark.turns(3)
def test_twenty_thousand_requests_cost_less_than_40_megabytes() -> None:
    ledger = Ledger()
    tracemalloc.start()
    for number in range(20_000):
        sn, tid, bid = f"DOCK{number % 100}", str(uuid.uuid4()), str(uuid.uuid4())
        for direction in ("sent", "received"):
            topic = f"thing/product/{sn}/requests"
            ledger.record(direction, sn, topic, method="config", tid=tid, bid=bid, mid=number)
        ledger.asked(sn, method="config", tid=tid, bid=bid)
        ledger.answered(sn, tid, "content")
    used, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 40_000_000


def test_old_messages_are_forgotten_but_no_transaction() -> None:
    ledger = Ledger(kept_messages=10)
    for number in range(20):
        asked(ledger, str(number))
        ledger.record("sent", "DOCK1", "t", method="config", tid=str(number), bid="", mid=0)
    assert (len(ledger.messages), len(ledger.unanswered())) == (10, 20)
