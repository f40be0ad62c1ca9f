"""An MQTT client that a test drives: what any dock, or somebody with a dock's account, can send to a broker."""

import threading
import time

from mqtt_bridge.line.client import MQTTProtocolVersion, build_client, connect_properties, cut, parse_url
from mqtt_bridge.line.tls import Certificates

V3, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
PATIENCE = 20.0  # seconds, for a busy machine


class Client:
    """One connection; `received` are (topic, payload), `refusal` why there is none, `ended` when it was over."""

    def __init__(self, url, certificates, *, client_id="", protocol=V5, will=None, session=0):
        address = parse_url(url, certificates)
        self.received, self.granted, self.refusal, self.ended = [], {}, "", None
        self._known = threading.Event()
        self._over = threading.Event()
        self.protocol = protocol
        self._client = client = build_client(
            address, client_id=client_id or address.username, protocol=protocol, clean_start=not session
        )
        if will is not None:
            client.will_set(*will)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message = lambda _client, _data, message: self.received.append((message.topic, message.payload))
        client.on_subscribe = lambda _client, _data, mid, reasons, _properties: self.granted.update({mid: reasons[0]})
        client.on_publish = lambda _client, _data, mid, reason, _properties: self.granted.update({-mid: reason})
        more = {}
        if protocol == V5:
            more = {
                "properties": connect_properties(session_expiry=session, receive_maximum=1000),
                "clean_start": not session,
            }
        client.connect(address.host, address.port, keepalive=60, **more)
        client.loop_start()
        assert self._known.wait(PATIENCE), "the broker does not answer"

    @property
    def is_connected(self):
        return not self.refusal and not self._over.is_set()

    def subscribe(self, name, qos=1):
        """Whether the broker granted it."""
        _, mid = self._client.subscribe(name, qos)
        return self._answer(mid)

    def publish(self, topic, payload=b"{}", *, qos=1, retain=False):
        """Whether the broker says that it took it; over 3.1.1 it always says so."""
        info = self._client.publish(topic, payload, qos, retain)
        return self._answer(-info.mid) if qos else None

    def wait_for_end(self, seconds=PATIENCE):
        """When the broker ended the connection, by time.monotonic()."""
        assert self._over.wait(seconds), "still connected"
        return self.ended

    def close(self, *, politely=True):
        if politely:
            self._client.disconnect()
            self._over.wait(1)
        cut(self._client)
        self._client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def _answer(self, key):
        deadline = time.monotonic() + PATIENCE
        while key not in self.granted:
            if self._over.is_set():  # it may throw out who asks for what is forbidden
                return False
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.002)
        return not self.granted[key].is_failure

    def _on_connect(self, _client, _data, _flags, reason, _properties):
        self.refusal = str(reason) if reason.is_failure else ""
        self._known.set()

    def _on_disconnect(self, _client, _data, _flags, reason, _properties):
        self.ended = time.monotonic()
        if not self._known.is_set():
            self.refusal = str(reason)
        self._over.set()
        self._known.set()


def certificates_of(broker):
    """What a client needs to trust this broker."""
    return Certificates(ca_file=str(broker.authority.ca_file))
