"""The asyncio connection against a real Mosquitto."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloudapi.embedded import programs
from cloudapi.embedded.servers import Mosquitto
from mqtt_bridge.simulator.connection import Connection, Incoming, RefusedError
from tests.mqtt_bridge.simulator.cloud import until

pytestmark = pytest.mark.asyncio
Connect = Callable[..., Connection]


@pytest_asyncio.fixture
async def connection(broker: Mosquitto) -> AsyncIterator[Connect]:
    """Build connections that are closed at the end; `heard` on each holds what came."""
    made: list[Connection] = []

    def make(url: str = broker.url, **changes: Any) -> Connection:
        heard: list[Incoming] = []
        given: dict[str, Any] = {"client_id": f"c{len(made)}", "topics": ["echo/#"], "timeout": 10}
        one = Connection(url, **{**given, "on_message": heard.append, **changes})
        one.heard = heard  # type: ignore[attr-defined]
        made.append(one)
        return one

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def guarded_broker() -> Iterator[Mosquitto]:
    with Mosquitto(username="dock1", password="right") as broker:
        yield broker


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1])
async def test_message_comes_back(connection: Connect, mqtt: str, qos: int) -> None:
    one: Any = connection(mqtt=mqtt)
    await one.open()
    assert await one.publish("echo/a", b"payload", qos) == 0
    await until(lambda: bool(one.heard))
    assert one.heard[0][:3] == ("echo/a", b"payload", qos)


async def test_puback_says_when_nobody_listens(connection: Connect) -> None:
    one = connection()
    await one.open()
    assert await one.publish("nobody/listens", b"", 1) == 0x10


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
async def test_wrong_password_is_reported(connection: Connect, guarded_broker: Mosquitto, mqtt: str) -> None:
    with pytest.raises(RefusedError, match="Not authorized"):
        await connection(guarded_broker.url.replace("right", "wrong"), mqtt=mqtt).open()
    await connection(guarded_broker.url, mqtt=mqtt).open()


async def test_peer_that_says_nothing_times_out(connection: Connect) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await connection(f"mqtt://127.0.0.1:{port}", timeout=0.1).open()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker of the tests")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(key.private_bytes(pem, *plain))
    return folder / "certificate", folder / "key"


async def test_messages_that_share_a_tls_record_all_arrive(
    connection: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)  # CONNECT
        writer.write(b"\x20\x02\x00\x00")
        subscribe = await reader.read(1000)
        # SUBACK and two PUBLISH in one write, hence in one record; Mosquitto makes a record of each.
        publish = b"\x30\x05\x00\x01a" + b"hi"
        writer.write(b"\x90\x03" + subscribe[2:4] + b"\x01" + publish * 2)
        await reader.read()
        writer.close()

    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        one: Any = connection(f"mqtts://127.0.0.1:{port}", mqtt="3.1.1")
        await one.open()
        await until(lambda: len(one.heard) == 2)
        one.drop()
    assert [message.payload for message in one.heard] == [b"hi", b"hi"]


async def test_connection_over_tls_to_a_real_broker(
    connection: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with Mosquitto(config=f"listener {port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}"):
        one: Any = connection(f"mqtts://127.0.0.1:{port}")
        await one.open()
        payload = b"x" * 200_000
        await one.publish("echo/a", payload)
        await until(lambda: bool(one.heard))
        assert one.heard[0].payload == payload
        await one.close()


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
async def test_denied_subscription_is_reported(connection: Connect, tmp_path: Path, mqtt: str) -> None:
    access = {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    }
    rules = tmp_path / "dynamic-security.json"
    rules.write_text(json.dumps({"defaultACLAccess": {**access, "subscribe": False}}))
    plugin = next(programs.find("mosquitto").path.parents[1].rglob("mosquitto_dynamic_security.so"))
    with Mosquitto(config=f"plugin {plugin}\nplugin_opt_config_file {rules}") as broker:
        one = connection(broker.url, mqtt=mqtt)
        with pytest.raises(RefusedError, match="denied the subscription to echo/#"):
            await one.open()


async def test_no_broker_at_the_address_is_an_oserror(connection: Connect, own_broker: Mosquitto) -> None:
    own_broker.kill()
    with pytest.raises(OSError, match="refused"):
        await connection(own_broker.url).open()


async def test_send_without_connection_is_an_error(connection: Connect) -> None:
    with pytest.raises(ConnectionError, match="Not connected"):
        connection().send("echo/a", b"")


async def test_lost_connection_fails_what_waits_for_a_puback(connection: Connect, own_broker: Mosquitto) -> None:
    one = connection(own_broker.url)
    await one.open()
    sent = one.send("echo/a", b"")
    own_broker.kill()
    await one.wait_lost()
    with pytest.raises(ConnectionError, match="before the broker acknowledged"):
        await sent.acknowledged()
    assert not one.is_open


async def test_patience_outlasts_a_broker_that_comes_later(connection: Connect, own_broker: Mosquitto) -> None:
    own_broker.kill()
    failures: list[Exception] = []
    one = connection(own_broker.url, backoff=(0.02, 0.05))
    opening = asyncio.ensure_future(one.open_patiently(failures.append))
    await until(lambda: len(failures) > 2)
    await asyncio.to_thread(own_broker.start)
    await opening
    assert one.is_open


@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
@pytest.mark.parametrize(("expiry", "kept"), [(60, 1), (0, 0)])
async def test_session_keeps_messages_only_if_asked(connection: Connect, mqtt: str, expiry: int, kept: int) -> None:
    away: Any = connection(mqtt=mqtt, client_id=f"away-{mqtt}-{expiry}", session_expiry=expiry)
    await away.open()
    away.drop()
    other = connection(topics=["other"])
    await other.open()
    await other.publish("echo/kept", b"")
    await away.open()
    await away.publish("echo/later", b"")
    await until(lambda: any(message.topic == "echo/later" for message in away.heard))
    assert [message.topic for message in away.heard].count("echo/kept") == kept
    await away.close()


async def test_drop_is_noticed_and_can_be_opened_again(connection: Connect) -> None:
    one = connection()
    await one.open()
    one.drop()
    assert await one.wait_lost()
    await one.open()
    assert await one.publish("echo/a", b"") == 0


async def test_fault_in_a_handler_does_not_break_the_connection(connection: Connect) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))

    def fail(_incoming: Incoming) -> None:
        raise ZeroDivisionError

    one = connection(on_message=fail)
    await one.open()
    await one.publish("echo/a", b"")
    await one.publish("echo/b", b"")
    await until(lambda: len(faults) == 2)
    assert one.is_open


async def test_many_messages_at_once_all_arrive(connection: Connect) -> None:
    one: Any = connection()
    await one.open()
    sent = [one.send("echo/a", str(number).encode()) for number in range(2000)]
    await asyncio.gather(*(each.acknowledged() for each in sent))
    await until(lambda: len(one.heard) == 2000)
    assert [int(message.payload) for message in one.heard] == list(range(2000))


async def test_bad_address_and_version_are_refused_at_once(connection: Connect) -> None:
    with pytest.raises(ValueError, match="Not an MQTT address"):
        connection("http://x")
    with pytest.raises(ValueError, match="Unknown MQTT version '4'"):
        connection(mqtt="4")


async def test_work_goes_on_until_it_ends_or_the_connection_does(connection: Connect) -> None:
    one = connection()
    await one.open()
    assert await one.while_open(asyncio.sleep(0)) is None
    endless = asyncio.ensure_future(one.while_open(asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    one.drop()
    assert await endless


async def test_work_that_fails_says_so(connection: Connect) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    one = connection()
    await one.open()
    with pytest.raises(ZeroDivisionError):
        await one.while_open(fail())
