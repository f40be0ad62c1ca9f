"""TLS to a real broker: what is let in, what is refused, and in which words."""

import logging
import os
import socket
import time
from contextlib import closing, nullcontext
from types import SimpleNamespace

import pytest

from cloudapi.embedded.lifecycle import free_port
from mqtt_bridge.line import publisher as publisher_module
from mqtt_bridge.line.client import parse_url
from mqtt_bridge.line.connection import BrokerUnavailableError, TelemetryConnection
from mqtt_bridge.line.pipe import Options, Pipe
from mqtt_bridge.line.publisher import Message, Publisher, Receipt, publisher
from mqtt_bridge.line.session import Session
from mqtt_bridge.line.tls import Certificates, build_context
from mqtt_bridge.simulator.connection import Connection
from tests.certificates import DAY, Authority
from tests.stack import CODE, Mosquitto, running_stack, wait_for

HOST = "127.0.0.1"


class Listeners:
    """A broker with TLS listeners: {name: port}; `authority` signed all but the one of a stranger."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.other = Authority(folder, "Another CA")
        authority = self.authority
        self.servers = {
            "good": authority.issue("good", hosts=[HOST, "localhost"]),
            "expired": authority.issue("expired", hosts=[HOST], ends=-DAY),
            "wrong host": authority.issue("wrong host", hosts=["broker.example.com"]),
            "unknown": self.other.issue("unknown", hosts=[HOST]),
            "wants certificate": authority.issue("wants certificate", hosts=[HOST]),
        }
        self.ports = {name: free_port() for name in self.servers}
        lines = []
        for name, (certificate, key) in self.servers.items():
            lines += [f"listener {self.ports[name]} {HOST}", f"certfile {certificate}", f"keyfile {key}"]
            lines += ["allow_anonymous true", "tls_version tlsv1.2"]
            if name == "wants certificate":
                lines += [f"cafile {authority.ca_file}", "require_certificate true"]
        self.broker = Mosquitto(config="\n".join(lines))
        self.ports["plain"] = 0

    def url(self, name):
        return f"mqtts://{HOST}:{self.ports[name] or self.broker.port}"


@pytest.fixture(scope="module")
def listeners(tmp_path_factory):
    made = Listeners(tmp_path_factory.mktemp("certificates"))
    with made.broker:
        yield made


@pytest.fixture(scope="module")
def clients(listeners):
    """{name: Certificates} that clients come with."""
    ca = str(listeners.authority.ca_file)

    def client(authority, name, **options):
        return Certificates(ca, *map(str, authority.issue(name, **options)))

    return {
        "no": Certificates(ca),
        "right": client(listeners.authority, "bridge"),
        "strange": client(listeners.other, "stranger"),
        "expired": client(listeners.authority, "late bridge", ends=-DAY),
    }


def control(url, certificates):
    return Session(Options(parse_url(url, certificates), "bridge", ["thing/#"], "ping"), Silent())


class Silent(Pipe):
    """A pipe from which no orders come."""

    def __init__(self):
        ours, self._theirs = socket.socketpair()
        super().__init__(ours)

    def __del__(self):
        self.end.close(), self._theirs.close()


def telemetry(url, certificates):
    return TelemetryConnection(parse_url(url, certificates), client_id="t", sink=print)


@pytest.mark.parametrize("make", [control, telemetry])
@pytest.mark.parametrize(("listener", "client"), [("good", "no"), ("wants certificate", "right")])
def test_the_bridge_is_let_in(listeners, clients, make, listener, client):
    connection = make(listeners.url(listener), clients[client])
    connection.open()
    with closing(connection):
        connection.check()
        sock = getattr(connection._client.socket(), "_wrapped", connection._client.socket())
        assert sock.version() in ("TLSv1.2", "TLSv1.3")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


REFUSED = [
    ("expired", "no", "the broker's certificate has expired"),
    ("wrong host", "no", "the broker's certificate is not for the host name 127.0.0.1"),
    ("unknown", "no", "signed by an unknown authority"),
    ("plain", "no", "no TLS at this port"),
    ("wants certificate", "no", "require.* client certificate"),
    ("wants certificate", "strange", "refuse.* our client certificate"),
    ("wants certificate", "expired", "refuse.* our client certificate"),
]


@pytest.mark.parametrize(("listener", "client", "words"), REFUSED)
def test_what_is_wrong_is_named_by_bridge_and_worker(listeners, clients, caplog, listener, client, words):
    url, certificates = listeners.url(listener), clients[client]
    connection = control(url, certificates)
    with pytest.raises(BrokerUnavailableError, match=words):
        connection.open()
    assert not Publisher(url, certificates).connect()
    [warning] = [one.getMessage() for one in caplog.records if one.name == "mqtt_bridge.line.publisher"]
    assert warning.startswith(f"No connection to the broker at {url}: ")
    assert words.rpartition("*")[2] in warning


@pytest.mark.asyncio
async def test_a_dock_names_it_too(listeners, clients):
    for listener, client, words in REFUSED:
        dock = dock_at(listeners.url(listener), clients[client])
        with pytest.raises(ConnectionError, match=words):
            await dock.open()


def dock_at(url, certificates):
    return Connection(url, client_id="dock", topics=["a"], on_message=print, certificates=certificates)


def test_a_plain_client_at_a_port_with_tls_is_told_to_write_mqtts(listeners):
    connection = control(listeners.url("good").replace("mqtts", "mqtt"), Certificates())
    with pytest.raises(BrokerUnavailableError, match="a port with TLS needs mqtts://"):
        connection.open()


def test_without_a_ca_file_the_system_is_asked(listeners, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(listeners.authority.ca_file))
    connection = control(listeners.url("good"), Certificates())
    connection.open()
    connection.close()


def test_a_file_that_vanished_is_tried_again_and_named(listeners, tmp_path):
    with pytest.raises(BrokerUnavailableError, match=r"gone\.pem"):
        control(listeners.url("good"), Certificates(str(tmp_path / "gone.pem")))
    assert not Publisher(listeners.url("good"), Certificates(str(tmp_path / "gone.pem"))).connect()


def test_a_context_is_shared_until_a_file_changes(listeners, tmp_path):
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(listeners.authority.ca_file.read_bytes())
    first = build_context(Certificates(str(trusted)))
    assert build_context(Certificates(str(trusted))) is first
    os.utime(trusted, ns=(1, 1))
    assert build_context(Certificates(str(trusted))) is not first


@pytest.mark.asyncio
async def test_all_are_back_after_the_broker_got_a_new_certificate(tmp_path, caplog):
    """The old one ran out; its successor has another authority, whose certificate replaces the one we trusted."""
    old, new = Authority(tmp_path, "Old CA"), Authority(tmp_path, "New CA")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.ca_file.read_bytes())
    certificate, key = old.issue("broker", hosts=[HOST])
    port = free_port()
    url, certificates = f"mqtts://{HOST}:{port}", Certificates(str(trusted))
    config = f"listener {port} {HOST}\ncertfile {certificate}\nkeyfile {key}\nallow_anonymous true"
    worker, dock = Publisher(url, certificates), dock_at(url, certificates)
    with Mosquitto(config=config) as broker:
        await dock.open()
        assert worker.connect()
        assert worker.publish_many([Message("a", b"1", 1, 9)]) == [Receipt.DELIVERED]
        broker.stop()
        await dock.wait_lost()
        new.issue("broker", hosts=[HOST])
        broker.start()
        wait_for(lambda: worker._line.lost)
        assert not worker.connect()
        assert "unknown authority" in caplog.text
        trusted.write_bytes(new.ca_file.read_bytes())
        wait_for(worker.connect)
        await dock.open_patiently(logging.info)
        assert worker.publish_many([Message("a", b"2", 1, 9)]) == [Receipt.DELIVERED]
        worker.close()
        await dock.close()


def test_bridge_worker_and_simulated_docks_take_their_certificates_from_the_settings(
    listeners, clients, prepared, tmp_path, settings, monkeypatch
):
    """A dock is bound over TLS, both sides with a client certificate; then a worker's publisher reaches the broker."""
    broker, url = nullcontext(SimpleNamespace(url=listeners.url("wants certificate"))), listeners.url
    ca, certificate, key, _ = clients["right"]
    env = {"MQTT_CA_FILE": ca, "MQTT_CLIENT_CERT_FILE": certificate, "MQTT_CLIENT_KEY_FILE": key}
    with running_stack("sqlite", tmp_path, broker=broker, template=prepared("sqlite"), **env) as stack:
        stack.start_bridge()
        options = ["--ca-file", ca, "--client-cert-file", certificate, "--client-key-file", key]
        options += ["--organization-id", "12345678", "--binding-code", CODE, "--exit-when-onboarded"]
        stack.manage("simulate_docks", "--mqtt-url", url("wants certificate"), *options)
        assert stack.bound()["SIMDOCK00001"] == "12345678"
    monkeypatch.setattr(publisher_module, "_publishers", {})
    settings.MQTT_URL, settings.MQTT_CERTIFICATES = url("wants certificate"), clients["right"]
    with closing(publisher()) as line:
        assert line.connect()


def test_a_round_trip_over_tls_takes_no_longer(listeners, clients, report):
    """Nagle's algorithm would cost 40 ms each."""
    times = {}
    for url in (listeners.broker.url, listeners.url("good")):
        worker = Publisher(url, clients["no"])
        assert worker.connect()
        taken = []
        for _ in range(40):
            began = time.perf_counter()
            worker.publish_many([Message("a", b"{}", 1, 9)])
            taken.append(time.perf_counter() - began)
        times[url[:5]] = sorted(taken)[20] * 1000
        worker.close()
    report(f"median of a QoS 1 round trip: {times['mqtt:']:.2f} ms plain, {times['mqtts']:.2f} ms over TLS")
    assert times["mqtts"] < times["mqtt:"] + 20
