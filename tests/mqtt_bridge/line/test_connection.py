"""Why a connection to a broker ends."""

from contextlib import closing

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError, ConnectionClosedError, TelemetryConnection
from tests.stack import Mosquitto, wait_for


def connection(address, client_id):
    return TelemetryConnection(address, client_id=client_id, sink=print)


@pytest.fixture(scope="module")
def address():
    with Mosquitto() as broker:
        yield parse_url(broker.url)


def test_who_loses_its_client_id_to_another_says_so_and_what_to_do(address):
    first, second = (connection(address, "same") for _ in range(2))
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
    lost = connection(address, "same")
    reason = ReasonCode(PacketTypes.DISCONNECT, "Session taken over")
    lost.on_disconnect(reason)
    with (
        closing(lost),
        pytest.raises(ConnectionClosedError, match=r"^another client connected as 'same'; stop that one"),
    ):
        lost.check()


def test_a_connection_that_we_closed_was_not_closed_by_the_broker(address):
    closed = connection(address, "mine")
    closed.open()
    closed.close()
    with pytest.raises(BrokerUnavailableError, match="closed by us") as caught:
        closed.check()
    assert type(caught.value) is BrokerUnavailableError


def test_a_connection_that_was_never_made_can_be_closed():
    nowhere = connection(parse_url("mqtt://127.0.0.1:1"), "nowhere")
    with pytest.raises(BrokerUnavailableError, match="refused"):
        nowhere.open()
    nowhere.close()
