"""What a worker's publisher reports of each message, on a real broker."""

import os
import queue
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.line import publisher as publisher_module
from mqtt_bridge.line.client import build_client, connect_properties, parse_url, subscriptions
from mqtt_bridge.line.publisher import Message, Publisher, Receipt, publisher

TOPIC = "thing/product/DOCK1/services"


@pytest.fixture(scope="module")
def broker():
    with Mosquitto() as running:
        yield running


@pytest.fixture
def own_broker():
    """A broker that a test may freeze or kill."""
    with Mosquitto() as running:
        yield running


@pytest.fixture
def make_publisher():
    made = []

    def make(url):
        made.append(Publisher(url))
        assert made[-1].connect()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def quick_puback(monkeypatch):
    """How long a publisher waits for a broker here, in seconds."""
    monkeypatch.setattr(publisher_module, "PUBACK_TIMEOUT", 1.0)
    return 1.0


@contextmanager
def dock(broker, topic=TOPIC, *, client_id="dock", session_expiry=0, clean_start=True):
    """A subscriber; yields the queue of (payload, QoS, seconds until it would have expired)."""
    received, ready = queue.SimpleQueue(), threading.Event()
    address = parse_url(broker.url)
    client = build_client(address, client_id=client_id)
    client.on_connect = lambda client, *_: client.subscribe(subscriptions([topic], qos=1))
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: received.put(
        (message.payload, message.qos, message.properties.MessageExpiryInterval)
    )
    properties = connect_properties(session_expiry=session_expiry, receive_maximum=100)
    client.connect(address.host, address.port, clean_start=clean_start, properties=properties)
    client.loop_start()
    assert ready.wait(30)
    try:
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


def network_threads():
    """The threads of publishers that are not done with."""
    return [thread for thread in threading.enumerate() if "dock-cloud-publisher" in thread.name]


def publish(line, payload=b"{}", *, qos=1, expiry=15):
    [receipt] = line.publish_many([Message(TOPIC, payload, qos, expiry)])
    return receipt


@pytest.mark.parametrize("qos", [0, 1])
def test_message_reaches_a_dock_with_its_expiry(broker, make_publisher, qos):
    with dock(broker) as received:
        assert publish(make_publisher(broker.url), b"hello", qos=qos) is Receipt.DELIVERED
        payload, got_qos, expiry = received.get(timeout=30)
    assert (payload, got_qos) == (b"hello", qos)
    assert 0 < expiry <= 15


def test_nobody_subscribed_is_told(broker, make_publisher):
    assert publish(make_publisher(broker.url)) is Receipt.NO_SUBSCRIBER


def test_qos_0_counts_as_delivered_when_it_is_written(broker, make_publisher):
    assert publish(make_publisher(broker.url), qos=0) is Receipt.DELIVERED


def test_topic_that_the_access_list_denies_is_refused(tmp_path, make_publisher):
    rules = tmp_path / "acl"
    rules.write_text("topic read thing/#\n")
    with Mosquitto(config=f"acl_file {rules}") as broker, dock(broker) as received:
        assert publish(make_publisher(broker.url)) is Receipt.REFUSED
        assert received.empty()


def test_without_a_broker_nothing_is_sent(own_broker):
    own_broker.stop()
    line = Publisher(own_broker.url)
    assert not line.connect()
    assert publish(line) is Receipt.NOT_SENT


def test_message_that_was_not_sent_never_arrives(own_broker, make_publisher):
    line = make_publisher(own_broker.url)
    own_broker.kill()
    wait_for(lambda: publish(line, b"stale") is Receipt.NOT_SENT)
    own_broker.start()
    with dock(own_broker) as received:
        wait_for(line.connect)
        assert publish(line, b"fresh") is Receipt.DELIVERED
        assert received.get(timeout=30)[0] == b"fresh"
        assert received.empty()


def test_frozen_broker_leaves_it_open_whether_a_message_arrived(own_broker, make_publisher, quick_puback):
    line = make_publisher(own_broker.url)
    own_broker.freeze()
    began = time.monotonic()
    assert publish(line) is Receipt.UNCONFIRMED
    assert time.monotonic() - began > 0.9 * quick_puback
    assert publish(line) is Receipt.NOT_SENT  # that client is thrown away
    wait_for(lambda: not network_threads())
    own_broker.thaw()
    wait_for(line.connect)
    assert publish(line) is Receipt.NO_SUBSCRIBER


def test_broker_that_dies_under_a_message_leaves_it_open(own_broker, make_publisher, monkeypatch):
    monkeypatch.setattr(publisher_module, "PUBACK_TIMEOUT", 600.0)  # not that ends it
    line = make_publisher(own_broker.url)
    own_broker.freeze()
    with ThreadPoolExecutor(1) as pool:
        receipt = pool.submit(publish, line)
        time.sleep(0.2)
        own_broker.kill()
        assert receipt.result(timeout=60) is Receipt.UNCONFIRMED


def test_connect_to_a_frozen_broker_gives_up(own_broker):
    own_broker.freeze()
    line = Publisher(own_broker.url)
    began = time.monotonic()
    assert not line.connect()
    gave_up = time.monotonic()
    assert not line.connect()  # at once: others wait in the queue
    assert time.monotonic() - gave_up < (gave_up - began) / 2


def test_wrong_password_is_no_connection():
    with Mosquitto(username="worker", password="right") as broker:
        assert not Publisher(broker.url.replace("right", "wrong")).connect()


def test_many_threads_share_a_connection(make_publisher):
    with Mosquitto(config="log_type all") as broker, dock(broker) as received:
        line = make_publisher(broker.url)
        with ThreadPoolExecutor(40) as pool:
            receipts = list(pool.map(lambda number: publish(line, b"%d" % number), range(400)))
        got = {received.get(timeout=30)[0] for _ in range(400)}
        connects = broker.log.read_text().count("as dock-cloud-publisher-")
    assert set(receipts) == {Receipt.DELIVERED}
    assert len(got) == 400
    assert received.empty()
    assert connects == 1


@pytest.mark.usefixtures("quick_puback")
def test_no_more_messages_are_under_way_than_the_broker_takes(make_publisher):
    with Mosquitto(config="max_inflight_messages 5") as broker:
        line = make_publisher(broker.url)
        broker.freeze()
        with ThreadPoolExecutor(20) as pool:
            receipts = Counter(pool.map(lambda _: publish(line), range(20)))
    assert receipts == {Receipt.UNCONFIRMED: 5, Receipt.NOT_SENT: 15}


def test_many_messages_keep_their_order_and_each_has_its_receipt(broker, make_publisher):
    line = make_publisher(broker.url)
    topics = [TOPIC, "thing/product/NOBODY/services"] * 30
    with dock(broker) as received:
        receipts = line.publish_many([Message(topic, b"%d" % number, 1, 15) for number, topic in enumerate(topics)])
        got = [received.get(timeout=30)[0] for _ in range(30)]
    assert got == [b"%d" % number for number in range(0, 60, 2)]
    assert receipts == [Receipt.DELIVERED, Receipt.NO_SUBSCRIBER] * 30


def test_many_messages_pass_through_a_small_window(make_publisher):
    with Mosquitto(config="max_inflight_messages 5") as broker, dock(broker) as received:
        receipts = make_publisher(broker.url).publish_many([Message(TOPIC, b"{}", 1, 15)] * 100)
        for _ in range(100):
            received.get(timeout=30)
    assert receipts == [Receipt.DELIVERED] * 100


def test_frozen_broker_ends_many_messages_at_once(make_publisher, quick_puback):
    with Mosquitto(config="max_inflight_messages 5") as broker:
        line = make_publisher(broker.url)
        broker.freeze()
        began = time.monotonic()
        receipts = line.publish_many([Message(TOPIC, b"{}", 1, 15)] * 100)
    assert receipts == [Receipt.UNCONFIRMED] * 5 + [Receipt.NOT_SENT] * 95
    assert time.monotonic() - began < 10 * quick_puback  # one window after the other would take 20 times that


def test_expired_message_does_not_wait_for_an_absent_dock(broker, make_publisher):
    with dock(broker, client_id="absent", session_expiry=60):
        pass
    line = make_publisher(broker.url)
    assert publish(line, b"short", expiry=1) is Receipt.DELIVERED  # it is queued for the session
    assert publish(line, b"long", expiry=60) is Receipt.DELIVERED
    time.sleep(2.1)
    with dock(broker, client_id="absent", clean_start=False) as received:
        assert received.get(timeout=30)[0] == b"long"
        assert received.empty()


@pytest.mark.parametrize(("qos", "expiry"), [(2, 15), (1, 0)])
def test_qos_2_and_messages_without_end_are_not_sent(broker, make_publisher, qos, expiry):
    line = make_publisher(broker.url)
    with pytest.raises(ValueError, match="Cannot publish"):
        publish(line, qos=qos, expiry=expiry)


def test_each_process_makes_its_own_publisher_at_first_use(broker, settings, monkeypatch):
    settings.MQTT_URL = broker.url
    monkeypatch.setattr(publisher_module, "_publishers", {})
    mine = publisher()
    assert publisher() is mine
    assert mine.connect()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        theirs = publisher()
        fresh = theirs is not mine and theirs.connect() and publish(theirs) is Receipt.NO_SUBSCRIBER
        os.write(writing, b"fresh" if fresh else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"fresh"
    assert publish(mine) is Receipt.NO_SUBSCRIBER
    mine.close()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
