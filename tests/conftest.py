"""What all tests share."""

import fcntl
import gc
import os
import subprocess

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connection, transaction
from django.db.backends.postgresql.creation import DatabaseCreation
from django.test import Client, TransactionTestCase
from django.utils import timezone, translation
from django.utils.crypto import get_random_string

from cloudapi.embedded.servers import PostgreSQL
from organizations.people.sessions import SessionStore
from organizations.people.sign_in import BACKEND
from tests.stack import DATABASES, MIGRATE, SETUP, manage, run_server

pytest_plugins = ["tests.cast", "tests.api"]
# The collector looks at new objects more rarely: by default it takes two fifths of the time to collect the tests.
gc.set_threshold(200_000, 20, 50)
# By default an example that takes 200 ms fails, which says how busy the machine is.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")
KEPT = {"django_content_type", "auth_permission"}  # as they were migrated; no test writes to them


def drop_database(creation, name, _verbosity):
    """Drop a worker's database also if a thread of a live server still has a connection to it."""
    with creation._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


DatabaseCreation._destroy_test_db = drop_database


def pytest_collection_finish():
    """What is imported by now stays to the end: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once("name", make) is the text that `make(folder)` returned to the worker that wanted it first in this run."""
    own = tmp_path_factory.getbasetemp()
    common = own.parent if own.name.startswith("popen-") else own

    def once(name, make):
        folder = common / name
        folder.mkdir(exist_ok=True)
        made = folder / "made"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                made.write_text(make(folder))
        return made.read_text()

    return once


@pytest.fixture(scope="session")
def migrated(once):
    """migrated("sqlite") is a database with tables and nothing of ours in them."""

    def make(kind, folder):
        database = DATABASES[kind](run_server(), folder)
        manage("shell", "-v0", "-c", MIGRATE, env=os.environ | {"DATABASE_URL": database.url})
        return database.url

    return lambda kind: DATABASES[kind].at(once(f"migrated-{kind}", lambda folder: make(kind, folder)))


@pytest.fixture(scope="session")
def prepared(once, migrated):
    """prepared("sqlite") is a database with tables and organizations that stacks may be copied from."""

    def make(kind, folder):
        database = DATABASES[kind](run_server(), folder, migrated(kind))
        manage("shell", "-v0", "-c", SETUP, env=os.environ | {"DATABASE_URL": database.url})
        return database.url

    return lambda kind: DATABASES[kind].at(once(f"prepared-{kind}", lambda folder: make(kind, folder)))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request, django_db_modify_db_settings_parallel_suffix):
    """Let the workers copy one migrated database: each would take two seconds to migrate its own."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        template = request.getfixturevalue("migrated")("postgresql")
        connection.settings_dict["TEST"]["TEMPLATE"] = template.url.rsplit("/", 1)[1]


@pytest.fixture(scope="session", autouse=True)
def _quick_clusters(tmp_path_factory):
    """Copy the first new cluster of a private PostgreSQL: it takes a second to make one."""
    template, make = tmp_path_factory.mktemp("cluster") / "data", PostgreSQL.create_cluster

    def copy_or_make(server):
        if not template.exists():
            make(server)
            subprocess.run(["cp", "-a", server.data, template], check=True)
        else:
            subprocess.run(["cp", "-a", template, server.data], check=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQL, "create_cluster", copy_or_make)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_sign_in():
    """Let `client.force_login(user)` write one row: the session that a sign-in leaves, which takes 17 queries."""

    def write_session(client, user, backend=BACKEND):
        if settings.SESSION_COOKIE_NAME in client.cookies:  # somebody is signed in, or on the way to it
            thorough(client, user, backend)
            return
        session = SessionStore()
        data = {SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: backend, HASH_SESSION_KEY: user.get_session_auth_hash()}
        session.update(data)
        client.cookies[settings.SESSION_COOKIE_NAME] = session._session_key = get_random_string(32).lower()
        session.create_model_instance(data).save(force_insert=True)

    with pytest.MonkeyPatch.context() as patch:
        thorough = Client.force_login
        patch.setattr(Client, "force_login", write_session)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_flush():
    """Delete the rows of a test that commits. Django truncates every table, then makes what migrations leave again."""

    def delete_rows(_test):
        tables = sorted({*connection.introspection.django_table_names(only_existing=True, include_views=False)} - KEPT)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT " + ", ".join(f'EXISTS (SELECT 1 FROM "{table}")' for table in tables))
            filled = [table for table, has_rows in zip(tables, cursor.fetchone(), strict=True) if has_rows]
            cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign key is looked at
            for table in filled:
                cursor.execute(f'DELETE FROM "{table}"')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", delete_rows)
        yield


@pytest.fixture(autouse=True)
def _english_and_utc():
    """Whatever language and zone an earlier test has left."""
    with translation.override("en"), timezone.override("UTC"):
        yield


@pytest.fixture
def report(request, record_property):
    """report("figures") prints one line and leaves it in the test report."""

    def print_line(line):
        record_property("figures", line)
        print(f"\n[{request.node.name}] {line}")  # noqa: T201 - to be quoted

    return print_line
