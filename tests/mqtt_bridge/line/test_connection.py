"""Connections to a real broker, and why they end."""

import pytest
from paho.mqtt.client import DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.connection import (
    BrokerUnavailableError,
    ConnectionClosedError,
    ControlConnection,
    TelemetryConnection,
)
from tests.stack import Mosquitto, wait_for


@pytest.fixture(scope="module")
def address():
    with Mosquitto() as broker:
        yield parse_url(broker.url)


@pytest.mark.parametrize(("kind", "options"), [(ControlConnection, {}), (TelemetryConnection, {"sink": print})])
def test_who_loses_its_client_id_to_another_says_so_and_what_to_do(address, kind, options):
    first, second = (kind(address, client_id="same", filters=["a"], **options) for _ in range(2))
    first.open()
    second.open()
    try:
        wait_for(lambda: first.lost)
        with pytest.raises(ConnectionClosedError, match=r"another client connected as 'same'.*MQTT_CLIENT_ID"):
            first.check()
        second.check()
    finally:
        second.close()
        first.close()


def test_a_broker_that_gives_the_reason_is_believed(address):
    connection = ControlConnection(address, client_id="same", filters=[])
    reason = ReasonCode(PacketTypes.DISCONNECT, "Session taken over")
    connection._on_disconnect(None, None, DisconnectFlags(is_disconnect_packet_from_server=True), reason, None)
    with pytest.raises(ConnectionClosedError, match=r"^another client connected as 'same'; stop that one"):
        connection.check()


def test_a_connection_that_we_closed_was_not_closed_by_the_broker(address):
    connection = ControlConnection(address, client_id="mine", filters=["a"])
    connection.open()
    connection.close()
    with pytest.raises(BrokerUnavailableError, match="closed by us") as caught:
        connection.check()
    assert type(caught.value) is BrokerUnavailableError


@pytest.mark.parametrize(("is_first_handled", "left"), [(False, ["first", "refused", "last"]), (True, ["last"])])
def test_what_is_refused_at_arrival_is_acknowledged_in_its_turn_and_never_taken(address, is_first_handled, left):
    def open_connection(**options):
        connection = ControlConnection(address, client_id=f"turns-{is_first_handled}", filters=["to/us/+"], **options)
        connection.open()
        return connection

    def take(connection, count):
        taken = []
        wait_for(lambda: taken.extend(connection.take(limit=9, timeout=0.1)) or len(taken) == count)
        return taken

    connection = open_connection(admit=lambda delivery: delivery.payload != b"refused")
    for payload in (b"first", b"refused", b"last"):
        connection.publish("to/us/now", payload)
    first, _ = take(connection, 2)
    connection.handled([first] if is_first_handled else [])
    connection.close()
    again = open_connection()
    assert [delivery.payload.decode() for delivery in take(again, len(left))] == left
    again.close()


def test_what_a_broker_sends_again_before_it_is_acknowledged_is_taken_once(address, monkeypatch):
    connection = ControlConnection(address, client_id="once", filters=["a"])
    acknowledged = []
    monkeypatch.setattr(connection._client, "ack", lambda mid, _qos: acknowledged.append(mid))
    message = MQTTMessage(mid=7, topic=b"thing/product/DOCK1/requests")
    message.qos = 1
    connection._on_message(None, None, message)
    connection._on_message(None, None, message)
    [delivery] = connection.take(limit=9, timeout=0)
    connection.handled([delivery])
    assert acknowledged == [7]
    connection._on_message(None, None, message)  # another one that has the same packet id
    assert len(connection.take(limit=9, timeout=0)) == 1


def test_what_is_answered_at_qos_0_is_acknowledged_once_the_answer_is_sent(address, monkeypatch):
    connection = ControlConnection(address, client_id="zero", filters=["to/us/+"])
    connection.open()
    sent, send = [], connection._client._sock_send
    monkeypatch.setattr(connection._client, "_sock_send", lambda data: sent.append(data[0] & 0xF0) or send(data))
    connection.publish("to/us/now", b"request")
    taken = []
    wait_for(lambda: taken.extend(connection.take(limit=9, timeout=0.1)) or taken)
    wait_for(lambda: not connection.backlog().unconfirmed)
    sent.clear()
    connection.publish("to/dock", b"license", answers=taken[0], qos=0)
    connection.handled(taken)
    wait_for(lambda: not connection.backlog().unacknowledged and PacketTypes.PUBACK << 4 in sent)
    assert sent == [PacketTypes.PUBLISH << 4, PacketTypes.PUBACK << 4]
    assert not connection.backlog().unconfirmed
    connection.close()
