"""Private servers answer, survive what they should, and end."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import paho.mqtt.client as mqtt
import psycopg
import pytest
import redis
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloudapi.embedded import lifecycle, processes, programs, servers

SERVERS = [servers.Mosquitto, servers.Redis, servers.PostgreSQL]
every_server = pytest.mark.parametrize("make", SERVERS)

pytestmark = pytest.mark.turns(2)
OWNER = """
import threading, time
from cloudapi.embedded import servers
started = [servers.Mosquitto(), servers.Redis(), servers.PostgreSQL()]
for server in started:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
print(*[server.process.pid for server in started], flush=True)
time.sleep(60)
"""


def mqtt_client(server, client_id, **options):
    """Return a connected MQTT 5 client, with CONNACK in `.connack` and messages in `.received`."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
    client.received, connected = [], Event()

    def on_connect(client, userdata, flags, reason, properties):
        client.connack = (reason, properties)
        connected.set()

    client.on_connect = on_connect
    client.on_message = lambda client, userdata, message: client.received.append(message.payload)
    if server.username and options.pop("login", True):
        client.username_pw_set(server.username, server.password)
    client.connect(servers.HOST, server.port, **options)
    client.loop_start()
    assert connected.wait(30)
    return client


def leave(client):
    client.disconnect()
    client.loop_stop()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@every_server
def test_server_leaves_neither_process_nor_data(make):
    with make() as server:
        pids = [server.process.pid, *processes.children(server.process.pid)]
        assert server.answers(server.process.pid)
    assert not any(processes.is_alive(pid) for pid in pids)
    assert not server.directory.exists()


@every_server
def test_killed_server_starts_again_where_it_was(make):
    with make() as server:
        url, pids = server.url, [server.process.pid, *processes.children(server.process.pid)]
        server.kill()
        assert not any(processes.is_alive(pid) for pid in pids)
        server.start()
        assert server.url == url


@every_server
def test_stopped_server_starts_again_where_it_was(make):
    with make() as server:
        url = server.url
        server.stop()
        assert not server.answers(server.process.pid)
        server.start()
        assert server.url == url


@every_server
def test_frozen_server_can_be_closed(make):
    with make() as server:
        server.freeze()
    assert server.process.returncode == 0  # stopped cleanly, not killed because it did not answer


@every_server
def test_taken_port_is_refused_when_it_was_asked_for(make, monkeypatch):
    monkeypatch.setattr(lifecycle, "PORT_ATTEMPTS", 2)
    with make() as first, pytest.raises(servers.ServerError, match=r"in use"), make(port=first.port):
        pass


@every_server
def test_port_lost_to_another_process_is_replaced(make, monkeypatch):
    with make() as first:
        ports = [lifecycle.free_port(), first.port]
        monkeypatch.setattr(lifecycle, "free_port", ports.pop)
        with make() as second:
            assert second.port != first.port


def test_broken_configuration_shows_the_log():
    with (
        pytest.raises(servers.ServerError, match="no_such_option"),
        servers.Mosquitto(config="no_such_option 1"),
    ):
        pass


def test_second_start_is_refused():
    with servers.Redis() as server, pytest.raises(servers.ServerError, match="running already"):
        server.start()


def test_servers_outlive_the_starting_thread_but_not_the_process():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        time.sleep(0.3)
        alive = [processes.is_alive(pid) for pid in pids]
        children = [child for pid in pids for child in processes.children(pid)]
        owner.kill()
    assert alive == [True] * len(SERVERS)
    assert children
    wait_for(lambda: not any(processes.is_alive(pid) for pid in pids + children))


def test_data_of_a_killed_owner_are_removed_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    claims = [tmp_path / f"{lifecycle.PREFIX}{name}/claim" for name in ("abandoned", "held", "new")]
    for claim in claims:
        claim.parent.mkdir()
        claim.touch()
        os.utime(claim, (0, 0))
    claims[2].touch()
    with lifecycle._claim(claims[1].parent), servers.Redis():
        assert [claim.exists() for claim in claims] == [False, True, True]


def test_mosquitto_takes_a_thousand_publishes_at_once():
    with servers.Mosquitto() as server:
        client = mqtt_client(server, "reader")
        leave(client)
    assert client.connack[1].ReceiveMaximum >= 1000


def test_queued_message_survives_a_killed_broker():
    keep = Properties(PacketTypes.CONNECT)
    keep.SessionExpiryInterval = 3600
    with servers.Mosquitto(persistence=True) as server:
        # A session begun with clean_start is not in the file of Mosquitto 2.0.11, whatever its expiry.
        reader = mqtt_client(server, "reader", clean_start=False, properties=keep)
        reader.subscribe("a", qos=1)
        leave(reader)
        writer = mqtt_client(server, "writer")
        writer.publish("a", b"kept", qos=1).wait_for_publish(30)
        leave(writer)
        time.sleep(2.5)  # it saves every other second at best
        server.kill()
        server.start()
        reader = mqtt_client(server, "reader", clean_start=False, properties=keep)
        wait_for(lambda: reader.received == [b"kept"])
        leave(reader)


def test_mosquitto_asks_for_the_password():
    with servers.Mosquitto(username="bridge", password="secret") as server:
        known, stranger = mqtt_client(server, "known"), mqtt_client(server, "stranger", login=False)
        leave(known)
        leave(stranger)
    assert not known.connack[0].is_failure
    assert stranger.connack[0].is_failure


def test_redis_writes_nothing():
    with servers.Redis() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("a", "b")
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("a") is None


def test_postgresql_keeps_committed_rows_when_killed():
    with servers.PostgreSQL() as server:
        with psycopg.connect(server.url) as db:
            db.execute("CREATE TABLE a AS SELECT 1 AS b")
        server.kill()
        server.start()
        with psycopg.connect(server.url) as db:
            assert db.execute("SELECT b FROM a").fetchall() == [(1,)]


def test_frozen_postgresql_holds_open_sessions_too():
    with servers.PostgreSQL() as server, psycopg.connect(server.url) as db, ThreadPoolExecutor() as threads:
        server.freeze()
        answer = threads.submit(db.execute, "SELECT 1")
        time.sleep(0.3)
        assert not answer.done()
        server.thaw()
        assert answer.result(30).fetchone() == (1,)


@pytest.mark.skipif(not shutil.which("apt-get"), reason="fetched through apt")
def test_fetched_postgresql_runs_from_a_folder_its_user_may_not_enter(tmp_path):
    fetched = programs.find("postgresql", search_path="")
    private = tmp_path / "private"
    subprocess.run(["cp", "-a", fetched.root, private], check=True)
    private.chmod(0o700)
    with servers.PostgreSQL(program=fetched.moved_to(private)) as server, psycopg.connect(server.url) as db:
        assert db.execute("SELECT now() AT TIME ZONE 'Asia/Shanghai'").fetchone()
        copied = Path(f"/proc/{server.process.pid}/exe").resolve().is_relative_to(server.directory)
        assert copied == (os.geteuid() == 0)
