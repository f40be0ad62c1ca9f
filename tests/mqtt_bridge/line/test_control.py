"""The control connection with a real broker, as a thread and as a process of its own: both ends of its pipe."""

import signal
import socket
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes

from mqtt_bridge.line import session as session_module
from mqtt_bridge.line.client import _BufferedSocket, parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError
from mqtt_bridge.line.control import ControlConnection
from mqtt_bridge.line.pipe import Options, Orders, Pipe, Take, decode_report, encode
from mqtt_bridge.line.session import Session
from tests.stack import Mosquitto, wait_for


@pytest.fixture(scope="module")
def broker():
    with Mosquitto() as running:
        yield running


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def in_process(request):
    return request.param


@pytest.fixture
def options(request, broker):
    """Of a session that no other test has."""
    return Options(parse_url(broker.url), f"client-{abs(hash(request.node.name))}", ["to/us/+"], "to/us/ping")


@contextmanager
def connected(options, in_process, counters=None):
    control = ControlConnection(options, Counter() if counters is None else counters, in_process=in_process)
    try:
        control.open()
        yield control
    finally:
        control.close()


def publish(control, *payloads, topic="to/us/now"):
    for payload in payloads:
        control.publish(topic, payload.encode())
    control.flush()


def take(control, count):
    """So many deliveries, in as many batches as they come in."""
    taken = []
    wait_for(lambda: taken.extend(control.take(limit=9, timeout=0.1)) or len(taken) >= count)
    return taken


def texts(deliveries):
    return [delivery.payload.decode() for delivery in deliveries]


def test_who_loses_its_client_id_to_another_says_so_and_what_to_do(options, in_process):
    with connected(options, in_process) as first, connected(options, in_process):
        expected = pytest.raises(ConnectionClosedError, match=r"another client connected as 'client-.*MQTT_CLIENT_ID")
        with expected:
            wait_for(lambda: first.take(limit=1, timeout=0.1))


def test_a_broker_that_is_not_there_is_named(in_process):
    nowhere = Options(parse_url("mqtt://127.0.0.1:1"), "client", ["a"], "ping")
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1: .*refused"), connected(nowhere, in_process):
        pass


@pytest.mark.parametrize(("is_first_handled", "left"), [(False, ["first", "forged", "last"]), (True, ["last"])])
def test_what_is_refused_at_arrival_is_acknowledged_in_its_turn_and_never_taken(options, is_first_handled, left):
    drops = Counter()
    with connected(options, False, drops) as control:
        publish(control, "first")
        publish(control, "forged", topic=options.ping_topic)
        publish(control, "last")
        first, last = take(control, 2)
        assert texts([first, last]) == ["first", "last"]
        assert drops == {"forged_pings": 1}
        control.handled([first] if is_first_handled else [])
    options.ping_topic = "another"
    with connected(options, False) as again:
        assert texts(take(again, len(left))) == left


def test_the_last_ping_comes_back_before_what_strangers_send(options, in_process):
    with connected(options, in_process) as control:
        control.ask(limit=9, timeout=0.0)
        publish(control, *(f"stranger {number}" for number in range(20)))
        control.ping(b"the ping")
        control.flush()
        control.take(limit=9, timeout=0.0)
        wait_for(lambda: control.take(limit=0, timeout=0.0) == [] and control.backlog().inbox == 21)
        assert texts(control.take(limit=9, timeout=1.0))[0] == "the ping"


def test_a_batch_comes_in_advance_when_it_is_asked_for(options, in_process):
    with connected(options, in_process) as control:
        control.ask(limit=9, timeout=30.0)
        publish(control, "early")
        assert texts(control.take(limit=9, timeout=30.0)) == ["early"]


def test_what_is_put_back_comes_again_and_what_its_gateway_owes_for_does_not(options, in_process):
    drops = Counter()
    with connected(options, in_process, drops) as control:
        publish(control, "locked", "dear")
        taken = take(control, 2)
        control.put_back(taken)
        again = take(control, 2)
        assert [(held.payload, held.was_held, held.mid) for held in again] == [
            (b"locked", True, taken[0].mid),
            (b"dear", True, taken[1].mid),
        ]
        control.put_back(again[1:])
        control.handled(again[:1])
        control.charge("now", 2_000)
        wait_for(lambda: not control.take(limit=9, timeout=0.1) and not control.backlog().unacknowledged)
        assert drops == {"overdrawn": 1}


def test_a_bridge_whose_session_is_killed_knows_at_once_and_gets_all_again(options):
    with connected(options, True) as control:
        publish(control, "unfinished")
        take(control, 1)
        control._other.kill()
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="the process of the control connection ended"):
            control.take(limit=9, timeout=30.0)
        assert time.monotonic() - began < 10
    with connected(options, True) as again:
        assert texts(take(again, 1)) == ["unfinished"]


def test_a_session_ends_with_its_bridge_and_acknowledges_what_was_finished_and_nothing_else(options, broker):
    control = ControlConnection(options, Counter(), in_process=True)
    control.open()
    publish(control, "finished", "unfinished")
    finished, _ = take(control, 2)
    for number in (signal.SIGTERM, signal.SIGINT):
        control._other.send_signal(number)
    assert not control.take(limit=9, timeout=0.2)
    control.handled([finished])
    control.flush()
    control._pipe.end.close()  # as the kernel does when the bridge is killed
    assert control._other.wait(timeout=30) == 0
    with connected(options, False) as again:
        assert texts(take(again, 1)) == ["unfinished"]


def test_no_more_is_published_than_the_broker_takes_at_a_time(options):
    with Mosquitto(config="max_inflight_messages 5") as narrow:
        options.address = parse_url(narrow.url)
        with connected(options, False) as control:
            publish(control, *map(str, range(50)))
            taken = take(control, 50)
            control.handled(taken)
            wait_for(lambda: not control.take(limit=9, timeout=0.1) and not control.backlog().unconfirmed)
        assert sorted(texts(taken), key=int) == [str(number) for number in range(50)]


def test_replies_that_the_broker_refuses_are_counted_and_no_reason_to_wait(options, tmp_path):
    drops = Counter()
    (tmp_path / "access").write_text("topic readwrite to/us/#\n")
    with Mosquitto(config=f"acl_file {tmp_path / 'access'}") as strict:
        options.address = parse_url(strict.url)
        with connected(options, False, drops) as control:
            publish(control, "question")
            taken = take(control, 1)
            control.publish("to/dock", b"answer", answers=taken[0])
            control.handled(taken)
            wait_for(lambda: not control.take(limit=9, timeout=0.1) and control.backlog()[2:4] == (0, 0))
            assert drops == {"replies_refused": 1}


@pytest.fixture
def session(options):
    """A session in this thread, which has connected, and the bridge's end of its pipe."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        session = Session(options, Pipe(theirs))
        session.open()
        yield session, Pipe(ours)
        session.close()


def turn(session, pipe):
    """Let it report."""
    pipe.send(encode(Orders(take=Take(9, 0.0))))
    session.turn()
    session.hand_out()
    return decode_report(pipe.wait())


def test_what_a_broker_sends_again_before_it_is_acknowledged_is_taken_once(session, monkeypatch):
    connection, pipe = session
    acknowledged = []
    monkeypatch.setattr(connection._client, "ack", lambda mid, _qos: acknowledged.append(mid))
    message = MQTTMessage(mid=7, topic=b"thing/product/DOCK1/requests")
    message.qos = 1
    connection.on_message(message)
    connection.on_message(message)
    [delivery] = turn(connection, pipe).deliveries
    connection._acknowledge([delivery.mid])
    assert acknowledged == [7]
    connection.on_message(message)  # another one that has the same packet id
    assert len(turn(connection, pipe).deliveries) == 1


def test_what_has_no_room_is_counted_and_acknowledged(session, monkeypatch):
    connection, pipe = session
    acknowledged = []
    monkeypatch.setattr(session_module, "INBOX_BYTES", 0)
    monkeypatch.setattr(connection._client, "ack", lambda mid, _qos: acknowledged.append(mid))
    message = MQTTMessage(mid=7, topic=b"thing/product/DOCK1/requests")
    message.qos = 1
    connection.on_message(message)
    report = turn(connection, pipe)
    assert (report.deliveries, report.drops, acknowledged) == ([], {"inbox_full": 1}, [7])


def test_what_is_answered_at_qos_0_is_acknowledged_once_the_answer_is_sent(options, monkeypatch):
    with connected(options, False) as control:
        publish(control, "request")
        taken = take(control, 1)
        wait_for(lambda: not control.take(limit=9, timeout=0.1) and not control.backlog().unconfirmed)
        sent, send = [], _BufferedSocket.send
        monkeypatch.setattr(_BufferedSocket, "send", lambda self, data: sent.append(data[0] & 0xF0) or send(self, data))
        control.publish("to/dock", b"license", answers=taken[0], qos=0)
        control.handled(taken)
        wait_for(lambda: not control.take(limit=9, timeout=0.1) and PacketTypes.PUBACK << 4 in sent)
        assert sent == [PacketTypes.PUBLISH << 4, PacketTypes.PUBACK << 4]
        assert control.backlog()[2:4] == (0, 0)
