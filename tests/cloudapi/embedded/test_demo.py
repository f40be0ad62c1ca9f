"""Where the demo runs, and what it prints."""

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from cloudapi.embedded import demo, demo_data, demo_welcome
from cloudapi.embedded.memory_layer import MemoryChannelLayer
from organizations.models import BindingCode, Membership, Organization
from tests.demo import demo_environment, free_port, started_demo
from tests.stack import ROOT


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
    demo.configure("127.0.0.1:8000", 1883)
    assert isinstance(get_channel_layer(), MemoryChannelLayer)


def test_it_keeps_its_port_from_the_beginning():
    with (
        closing(demo.listen(0)) as listener,
        pytest.raises(demo_data.DemoError, match="is not free"),
        closing(demo.listen(listener.getsockname()[1])),
    ):
        pass


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A demo that started from nothing: (its data, what it said)."""
    data = tmp_path_factory.mktemp("demo")
    with started_demo(data) as (_, said):
        yield data, said


def test_the_demo_keeps_its_data_in_a_folder_of_its_own_and_says_so(first):
    data, said = first
    assert f"{data}, kept for the next start; delete this folder to start afresh" in said
    with closing(sqlite3.connect(data / "db.sqlite3")) as database:
        users = database.execute("SELECT username FROM auth_user WHERE is_superuser")
        assert users.fetchall() == [("admin",)]


def test_the_demo_says_who_there_is_and_what_a_technician_types_and_nothing_else(first):
    _, said = first
    assert said.startswith("\n  Admin  ")
    for words in (
        "alice, manager of Harbour Survey",
        "bob, viewer of Harbour Survey",
        "charlie, manager of Northern Grid",
        "DEMODOCK00003 is online and belongs to nobody yet.",
        "10000001 DEMO-HARB-2345        binds it to Harbour Survey",
        "10000002 DEMO-GRID-2345        binds it to Northern Grid",
    ):
        assert words in said


def test_a_second_demo_with_the_same_data_says_that_it_cannot_run(first):
    data, _ = first
    with started_demo(data) as (process, said):
        assert "Another demo uses this database." in said
        assert process.wait(timeout=60) == 1


WHAT_PEOPLE_DO = """
UPDATE devices_device SET is_enabled = 0 WHERE sn = 'DEMODOCK00001';
UPDATE devices_device SET organization_id = NULL WHERE sn LIKE 'DEMODOCK00002%';
UPDATE organizations_bindingcode SET revoked_at = '2026-01-01' WHERE hint = '2345' AND organization_id =
    (SELECT id FROM organizations_organization WHERE organization_id = '10000002');
UPDATE organizations_organization SET name = 'Harbour Works' WHERE organization_id = '10000001';
DELETE FROM organizations_membership WHERE user_id = (SELECT id FROM auth_user WHERE username = 'charlie');
UPDATE auth_user SET is_active = 0 WHERE username = 'bob';
"""


@pytest.mark.turns(4)
def test_whatever_people_did_it_starts_at_once_and_says_what_does_not_work(first, tmp_path):
    with (
        closing(sqlite3.connect(first[0] / "db.sqlite3")) as origin,
        closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database,
    ):
        origin.backup(database)
        database.executescript(WHAT_PEOPLE_DO)
    with started_demo(tmp_path) as (process, said):
        for words in (
            "alice, manager of Harbour Works",
            "charlie, in no organization now",
            "bob cannot sign in: not active.",
            "DEMODOCK00001 is not onboarded. Bound to Harbour Works, but step “DJI license” has failed since: Refused: "
            "device disabled.",
            "DEMODOCK00002 is not onboarded. Stopped at step “Organization and code”: Refused: code revoked.",
            "10000001 DEMO-HARB-2345        binds it to Harbour Works",
            "10000002 DEMO-GRID-2345        is refused now: code revoked",
        ):
            assert words in said
        # Its terminal is a pipe here; that ends, the demo does not.
        process.stdin.write("what?\n10000001 DEMO-HARB-2345\n")
        process.stdin.close()
        process.stdin = None
        heard = []
        while "update_topo ok" not in "".join(heard[-1:]):
            heard.append(process.stdout.readline())
            assert process.poll() is None
        assert any("Type an organization ID and a binding code" in line for line in heard)
        assert any("DEMODOCK00003: airport_organization_bind ok" in line for line in heard)
    with started_demo(tmp_path) as (process, said):
        assert "DEMODOCK00003 is bound already: release it in the admin" in said
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_deleted_organizations_and_users_are_made_again_with_their_members(db):
    demo_data.prepare()
    Organization.objects.get(organization_id="10000001").delete()
    get_user_model().objects.get(username="charlie").delete()
    demo_data.prepare()
    roles = [demo_welcome.roles(username) for username in ("alice", "bob", "charlie")]
    assert roles == ["manager of Harbour Survey", "viewer of Harbour Survey", "manager of Northern Grid"]


def test_who_was_taken_out_of_an_organization_stays_out(db):
    demo_data.prepare()
    Membership.objects.get(user__username="bob").delete()
    demo_data.prepare()
    assert demo_welcome.roles("bob") == "in no organization now"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "binds it to Harbour Survey"),
        ({"max_uses": 1, "uses": 1}, "is refused now: code used up"),
        ({"expires_at": timezone.now()}, "is refused now: code expired"),
    ],
)
def test_it_says_what_comes_of_a_code(db, change, words):
    demo_data.prepare()
    BindingCode.objects.filter(organization__organization_id="10000001").update(**change)
    assert demo_welcome.effect("10000001", "DEMO-HARB-2345") == words


OPENING = """
import gc, os, pathlib, uvicorn
from cloudapi.embedded import demo_data
gc.disable()  # else the migrations of three databases take half as long again
for data in os.environ["DATA"].split(":"):
    with demo_data.own_database(pathlib.Path(data)) as path:
        demo_data.open_database(path, uvicorn.Server(uvicorn.Config("")), print)
"""


@pytest.mark.turns(4)
def test_it_starts_with_data_that_are_damaged_made_by_another_version_or_locked(prepared, tmp_path):
    """All of them in one process, which takes seconds to start."""
    template = prepared("sqlite").url.removeprefix("sqlite:///")
    damaged, foreign, locked = files = [tmp_path / name / "db.sqlite3" for name in ("damaged", "foreign", "locked")]
    for file in files:
        file.parent.mkdir()
        shutil.copy(template, file)
    damaged.write_bytes(b"no database" * 1000)
    with closing(sqlite3.connect(foreign)) as database, database:
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('devices', '9999_later', '')")
    program = [sys.executable, "-u", "manage.py", "shell", "-v0", "-c", OPENING]
    environment = demo_environment() | {"DATA": ":".join(str(file.parent) for file in files)}
    with (
        closing(sqlite3.connect(locked, isolation_level=None)) as other,
        subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process,
    ):
        other.execute("BEGIN IMMEDIATE")
        for file, reason in ((damaged, "file is not a database"), (foreign, "another version made them")):
            line = process.stdout.readline()
            [aside] = file.parent.glob("unusable-*")
            assert reason in line
            assert f"they are in {aside} now, and the demo starts afresh." in line
            assert (aside / "db.sqlite3").exists()
        assert process.stdout.readline().startswith(f"  Another program has locked {locked};")
        other.execute("ROLLBACK")
        assert process.communicate(timeout=120)[0] == ""
    for file in files:
        with closing(sqlite3.connect(file)) as database:
            assert ("admin",) in database.execute("SELECT username FROM auth_user").fetchall()


def test_a_folder_that_cannot_be_used_is_named(tmp_path, settings, monkeypatch):
    settings.DEBUG = True
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"cannot be used: .* Name another folder with --data"):
        call_command("demo", port=free_port(), data=tmp_path / "file")


def test_the_broker_has_its_usual_port_unless_somebody_has_that():
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # another demo has it already
            somebody.bind((demo.HOST, demo.BROKER_PORT))
            somebody.listen()
        with contextlib.closing(demo.start_broker()) as broker:
            assert broker.is_running()
            assert broker.port != demo.BROKER_PORT
