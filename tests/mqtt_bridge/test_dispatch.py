"""A batch through decoding, waves, handlers and answers, without a broker."""

import json
from contextlib import closing
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from mqtt_bridge import dispatch, router
from mqtt_bridge.database.timeouts import DatabaseUnavailableError
from mqtt_bridge.dispatch import Result
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.protocol.messages import ConfigReply
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.router import Reply, Route, failed

pytestmark = pytest.mark.django_db


def delivery(sn="DOCK1", method="echo", data=None, *, channel="requests", tid="t1", retained=False, **fields):
    message = {"tid": tid, "bid": "b1", "method": method, "timestamp": 1654070968655, "data": data or {}, **fields}
    root = "sys" if channel == "status" else "thing"
    return Delivery(
        topic=f"{root}/product/{sn}/{channel}", payload=json.dumps(message).encode(), mid=1, retained=retained
    )


def handle(*deliveries):
    return [result for wave in dispatch.handle(deliveries) for result in wave.results]


def answers(*deliveries):
    return [json.loads(result.reply) if result.reply else None for result in handle(*deliveries)]


def tids_in_waves(*deliveries):
    return [[result.decoded.envelope.tid for result in wave.results] for wave in dispatch.handle(deliveries)]


@pytest.fixture
def routes(monkeypatch):
    """A routing table of the test's own."""
    table = {}
    monkeypatch.setattr(router, "tables", lambda _module: SimpleNamespace(ROUTES=table))
    return table


def echo(messages):
    return [Reply({"result": 0, "output": {"size": len(messages)}}) for _ in messages]


def test_answer_copies_tid_bid_and_method_and_goes_to_the_reply_topic(routes):
    routes[Channel.REQUESTS, "echo"] = Route(echo)
    [item] = handle(delivery())
    reply = json.loads(item.reply)
    assert item.reply_topic == "thing/product/DOCK1/requests_reply"
    assert (reply["tid"], reply["bid"], reply["method"], reply["gateway"]) == ("t1", "b1", "echo", "DOCK1")
    assert len(str(reply["timestamp"])) == 13
    assert item.outcome == "answered"


def test_method_without_a_line_goes_to_the_handler_of_any_method(routes):
    routes[Channel.REQUESTS, router.ANY] = Route(echo)
    assert answers(delivery(method="unheard_of"))[0]["data"]["output"] == {"size": 1}


def test_messages_of_different_docks_reach_the_handler_together(routes):
    routes[Channel.REQUESTS, "echo"] = Route(echo)
    replies = answers(*(delivery(f"DOCK{number}") for number in range(5)))
    assert [reply["data"]["output"]["size"] for reply in replies] == [5] * 5


def test_messages_of_one_dock_are_handled_one_after_another(routes):
    routes[Channel.REQUESTS, "echo"] = Route(echo)
    waves = tids_in_waves(delivery(tid="1"), delivery(tid="2"), delivery("DOCK2", tid="3"), delivery(tid="4"))
    assert waves == [["1", "3"], ["2"], ["4"]]


def test_runs_of_one_dock_are_handled_together_where_the_route_takes_them(routes):
    routes[Channel.REQUESTS, "echo"] = Route(echo, runs=True)
    routes[Channel.REQUESTS, "other"] = Route(echo)
    said = [("1", "echo"), ("2", "echo"), ("3", "other"), ("4", "other"), ("5", "echo")]
    waves = tids_in_waves(*(delivery(tid=tid, method=method) for tid, method in said))
    assert waves == [["1", "2"], ["3"], ["4"], ["5"]]


def test_one_bad_message_does_not_harm_the_others_of_its_group(routes):
    def picky(messages):
        for message in messages:
            Device.objects.create(sn=f"{message.sn}x")
            if message.sn == "BAD":
                raise ValueError("no")
        return echo(messages)

    routes[Channel.REQUESTS, "echo"] = Route(picky, failure=failed(210231, err_infos=[]))
    items = handle(delivery("DOCK1"), delivery("BAD"), delivery("DOCK2"))
    assert [item.outcome for item in items] == ["answered", "error", "answered"]
    assert json.loads(items[1].reply)["data"] == {"result": 210231, "output": {"err_infos": []}}
    assert set(Device.objects.values_list("sn", flat=True)) == {"DOCK1x", "DOCK2x"}


def test_failing_method_does_not_roll_back_another_method(routes):
    def create(messages):
        Device.objects.create(sn="KEPT")
        return echo(messages)

    def fail(_messages):
        raise ValueError("no")

    routes[Channel.REQUESTS, "create"] = Route(create)
    routes[Channel.REQUESTS, "fail"] = Route(fail)
    items = handle(delivery("DOCK1", "create"), delivery("DOCK2", "fail"))
    assert [item.outcome for item in items] == ["answered", "error"]
    assert Device.objects.filter(sn="KEPT").exists()


def test_every_group_has_a_transaction_of_its_own_so_that_locks_keep_their_order(routes):
    """Two groups in one transaction lock rows out of order, and the deadlock kills it or a person's request."""
    routes[Channel.REQUESTS, "one"] = routes[Channel.REQUESTS, "other"] = Route(echo)
    with CaptureQueriesContext(connection) as queries:
        handle(delivery("DOCK1", "one"), delivery("DOCK2", "other"), delivery("DOCK3", "one"))
    begun = [query["sql"].split()[0] for query in queries]
    assert begun == ["SAVEPOINT", "RELEASE"] * 2


def test_what_only_reads_is_handled_before_what_writes_even_if_that_opens_its_own_transaction(routes):
    seen = []

    def note(messages):
        seen.append(messages[0].method)
        return [None for _ in messages]

    routes[Channel.REQUESTS, "bind"] = Route(note, atomic=False)
    routes[Channel.REQUESTS, "ask"] = Route(note, writes=False)
    handle(delivery("DOCK1", "bind"), delivery("DOCK2", "ask"))
    assert seen == ["ask", "bind"]


def test_transient_error_is_tried_again(routes):
    tries = []

    def flaky(messages):
        tries.append(len(messages))
        if len(tries) == 1:
            raise IntegrityError("somebody was quicker")
        return echo(messages)

    routes[Channel.REQUESTS, "echo"] = Route(flaky, writes=False)
    assert [item.outcome for item in handle(delivery("DOCK1"), delivery("DOCK2"))] == ["answered", "answered"]
    assert tries == [2, 2]


def test_database_that_does_not_answer_stops_the_batch(routes, monkeypatch):
    def unreachable(_messages):
        raise OperationalError("gone")

    def refuse(*_args):
        raise OperationalError("still gone")

    routes[Channel.REQUESTS, "echo"] = Route(unreachable, writes=False)
    monkeypatch.setattr(connection, "close", lambda: None)
    monkeypatch.setattr(connection, "cursor", refuse)
    with pytest.raises(DatabaseUnavailableError):
        handle(delivery())


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_changes_the_type_of_a_column_costs_no_dock_its_answer(dock):
    """PostgreSQL refuses a prepared statement whose result has another type than when it was prepared."""
    question = delivery(dock.sn, "airport_bind_status", {"devices": [{"sn": dock.sn}]})
    for _ in range(2):  # the second time it is prepared
        handle(question)
    with closing(connections.create_connection("default")) as migration, migration.cursor() as cursor:
        cursor.execute("ALTER TABLE devices_device ALTER callsign TYPE text")
        try:
            [result] = handle(question)
        finally:
            cursor.execute("ALTER TABLE devices_device ALTER callsign TYPE varchar(128)")
    assert (result.outcome, result.reason) == (Exchange.Outcome.ANSWERED, "")
    assert dock.callsign in result.reply.decode()


def test_handler_that_answers_too_few_is_an_error_for_each(routes):
    routes[Channel.REQUESTS, "echo"] = Route(lambda messages: echo(messages)[1:], writes=False)
    assert [item.outcome for item in handle(delivery("DOCK1"), delivery("DOCK2"))] == ["error", "error"]


def test_unknown_request_is_refused_at_once():
    assert answers(delivery(method="moon_get"))[0]["data"] == {"result": 210003, "output": {}}


def test_malformed_request_gets_the_failure_of_its_method():
    [item] = handle(delivery(method="airport_bind_status", data={"devices": 7}))
    assert item.outcome == "quarantined"
    assert json.loads(item.reply)["data"] == {"result": 210233, "output": {"bind_status": []}}


def test_event_is_answered_only_if_it_wants_to_be():
    wants, does_not = handle(
        delivery(method="hms", channel="events", need_reply=1),
        delivery("DOCK2", method="hms", channel="events", need_reply=0),
    )
    assert json.loads(wants.reply)["data"] == {"result": 0}
    assert (does_not.reply, does_not.outcome) == (b"", "ignored")


def test_event_whose_data_is_a_list_is_answered():
    assert answers(delivery(method="airsense_warning", channel="events", data=[{"icao": "x"}], need_reply=1))[0]


def test_reply_of_a_dock_is_not_answered():
    [item] = handle(delivery(method="cover_open", channel="services_reply"))
    assert (item.reply, item.outcome) == (b"", "ignored")


def test_retained_message_has_no_effect():
    [item] = handle(delivery(method="config", retained=True))
    assert (item.reply, item.outcome, item.reason) == (b"", "ignored", "retained message")


@pytest.mark.parametrize("topic", ["thing/product/a b/requests", "thing/product/DOCK1/services", "nonsense"])
def test_topic_that_no_device_may_use_has_no_effect(topic):
    assert handle(Delivery(topic=topic, payload=b"{}")) == []


def test_what_cannot_be_parsed_is_quarantined_without_an_answer():
    [item] = handle(Delivery(topic="thing/product/DOCK1/requests", payload=b"{nonsense"))
    assert (item.outcome, item.reply) == ("quarantined", b"")
    assert item.reason.startswith("not_json")


def test_only_what_a_device_says_itself_is_a_sign_of_life():
    alive = [
        delivery("D1", "config"),
        delivery("D2", "hms", channel="events"),
        Delivery(topic="thing/product/D3/requests", payload=b"{"),
    ]
    not_alive = [
        delivery("D4", "config", retained=True),
        delivery("D5", "hms", channel="events", tid=None),
        delivery("AIRCRAFT", "hms", channel="events", gateway="D2"),
        delivery("D6", "update_topo", {"online": False}, channel="status"),
        delivery("D7", "update_topo", {"online": False}, channel="status", tid=None),
    ]
    said = [result.decoded for result in handle(*alive, *not_alive)]
    assert {decoded.sn for decoded in said if decoded.is_sign_of_life} == {"D1", "D2", "D3"}


def test_last_will_without_tid_is_handled_and_not_answered():
    [item] = handle(delivery("DOCK1", "update_topo", {"online": False}, channel="status", tid=None))
    assert (item.outcome, item.reply) == ("ignored", b"")
    assert not Device.objects.get(sn="DOCK1").state.online


def test_what_is_left_to_others_is_neither_answered_nor_refused(settings):
    settings.MQTT_LEAVE_METHODS = frozenset({"storage_config_get", "file_upload_callback", "config"})
    items = handle(
        delivery("D1", "storage_config_get"),
        delivery("D2", "file_upload_callback", channel="events", need_reply=1),
        delivery("D3", "config", {"config_type": []}),
    )
    assert [(item.outcome, item.reason, item.reply) for item in items] == [("left", "left to others", b"")] * 3


def test_event_that_is_left_to_others_and_wants_no_answer_just_passes_by(settings):
    settings.MQTT_LEAVE_METHODS = frozenset({"file_upload_callback"})
    [item] = handle(delivery("D1", "file_upload_callback", channel="events"))
    assert (item.outcome, item.is_passing) == ("ignored", True)


def test_unreadable_request_that_is_left_to_others_is_not_refused(settings):
    settings.MQTT_LEAVE_METHODS = frozenset({"storage_config_get"})
    payload = b'{"tid":"1","bid":"1","method":"storage_config_get","data":"\\u0000"}'
    [item] = handle(Delivery(topic="thing/product/D1/requests", payload=payload))
    assert (item.outcome, item.reply) == ("quarantined", b"")


def test_reading_requests_cost_one_query_however_many(dock):
    def queries(count):
        with CaptureQueriesContext(connection) as captured:
            handle(*(delivery(f"D{n}", "airport_bind_status", {"devices": [{"sn": dock.sn}]}) for n in range(count)))
        return len(captured)

    assert queries(1) == queries(100) == 1


def test_fault_in_the_decoder_is_an_answered_error(routes, monkeypatch):
    def break_down(*_args):
        raise RecursionError

    routes[Channel.REQUESTS, "echo"] = Route(echo, data=object)
    monkeypatch.setattr(dispatch, "decode_data", break_down)
    [item] = handle(delivery())
    assert (item.outcome, bool(item.reply)) == ("error", True)


def test_what_a_broker_must_not_keep_is_published_at_qos_0():
    """tests/fault/test_canary.py looks into its file."""
    secret = ConfigReply(app_id="1", app_key="k", app_license="l", ntp_server_host="h")
    qualities = [Result(None, Exchange.Outcome.ANSWERED, reply_data=data).qos for data in (secret, None)]
    assert qualities == [0, 1]
