"""Where the demo runs and where not, and what it says."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys

import pytest
from channels.layers import get_channel_layer
from django.core.management import CommandError, call_command

from cloudapi.embedded import demo
from cloudapi.embedded.memory_layer import MemoryChannelLayer
from tests.demo import free_port
from tests.stack import ROOT, wait_for


@pytest.fixture
def taken_port():
    """The demo starts nothing on it, whatever else it forgets to check."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_demo_does_not_write_into_a_database_that_somebody_named(settings, monkeypatch, taken_port):
    settings.DEBUG = True
    monkeypatch.setenv("DATABASE_URL", "postgres://127.0.0.1/production")
    with pytest.raises(CommandError, match="DATABASE_URL"):
        call_command("demo", port=taken_port)


def test_without_one_it_goes_on(settings, monkeypatch, taken_port):
    settings.DEBUG = True
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(CommandError, match="is not free"):
        call_command("demo", port=taken_port)


def test_browsers_of_another_server_hear_nothing_of_the_demo(settings):
    """Groups are named after primary keys: through a common Redis its frames would reach another's members."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    demo._configure(8000, 1883)
    assert isinstance(get_channel_layer(), MemoryChannelLayer)


@pytest.fixture
def start_demo(tmp_path):
    """Start `manage.py demo` on a port and with data of its own; returns (process, what it has said by then)."""
    started = []

    def start():
        command = [sys.executable, "-u", "manage.py", "demo", f"--port={free_port()}", f"--data={tmp_path}"]
        env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        lines = []
        while (line := process.stdout.readline()) and "Ctrl-C ends it" not in line:
            lines.append(line)
        return process, "".join(lines)

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def test_the_demo_keeps_its_data_in_a_folder_of_its_own_and_says_so(start_demo, tmp_path):
    _, said = start_demo()
    assert f"{tmp_path}, kept for the next start; delete this folder to start afresh" in said
    users = sqlite3.connect(tmp_path / "db.sqlite3").execute("SELECT username FROM auth_user WHERE is_superuser")
    assert users.fetchall() == [("admin",)]


def test_the_demo_says_who_there_is_and_what_a_technician_types(start_demo):
    _, said = start_demo()
    for words in (
        "alice, manager of Harbour Survey",
        "bob, viewer of Harbour Survey",
        "charlie, manager of Northern Grid",
        "DEMODOCK00003 is online and belongs to nobody yet.",
        "10000001 DEMO-HARB-2345        binds it to Harbour Survey",
        "10000002 DEMO-GRID-2345        binds it to Northern Grid",
    ):
        assert words in said


def test_a_later_start_says_how_to_watch_a_dock_bind_that_is_bound(start_demo, tmp_path):
    process, _ = start_demo()
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        wait_for(lambda: database.execute("SELECT 1 FROM devices_device WHERE sn = 'DEMODOCK00003'").fetchall())
    process.terminate()
    assert process.wait(timeout=20) == 0
    with database:
        database.execute("UPDATE devices_device SET organization_id = 1 WHERE sn LIKE 'DEMODOCK00003%'")
    _, said = start_demo()
    assert "DEMODOCK00003 is bound already: release it in the admin" in said
    assert "DEMO-HARB-2345" in said


def test_the_broker_has_its_usual_port_unless_somebody_has_that():
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # another demo has it already
            somebody.bind((demo.HOST, demo.BROKER_PORT))
            somebody.listen()
        with contextlib.closing(demo._start_broker()) as broker:
            assert broker.is_running()
            assert broker.port != demo.BROKER_PORT


def test_a_second_demo_with_the_same_data_says_that_it_cannot_run(start_demo):
    start_demo()
    process, said = start_demo()
    assert "Another demo uses this database." in said
    assert process.wait(timeout=60) == 1
