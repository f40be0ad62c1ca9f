"""Indexes and updates of a table that is in use."""

import threading

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models import F

from mqtt_bridge.database import live_migrations
from mqtt_bridge.database.live_migrations import AddIndexLive, drop_column_index, update_in_pieces
from organizations.models import Organization
from tests.stack import wait_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks the whole database for every change"),
]


class Operation:
    """Adds one index to the table of organizations, or removes it."""

    def __init__(self):
        self.index = AddIndexLive("organization", models.Index(fields=["name", "updated"], name="live_index"))
        self.before = ProjectState.from_apps(apps)
        self.after = self.before.clone()
        self.index.state_forwards("organizations", self.after)

    def run(self, way="database_forwards"):
        states = (self.before, self.after) if way == "database_forwards" else (self.after, self.before)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = 0")  # as in `manage.py migrate`; other tests limit this process
            with connection.schema_editor(atomic=False) as editor:
                getattr(self.index, way)("organizations", editor, *states)
        finally:
            if threading.current_thread() is not threading.main_thread():
                connection.close()


def valid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('live_index')")
        return [row[0] for row in cursor.fetchall()]


def is_held_up():
    """Whether somebody builds the index and waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw when it first looked
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE 'CREATE INDEX CONCURRENTLY%live_index%' AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


@pytest.mark.turns(3)
def test_an_index_is_built_while_others_write():
    operation = Operation()
    with transaction.atomic():
        Organization.objects.create(name="a transaction that takes long")
        building = threading.Thread(target=operation.run)
        building.start()
        wait_for(is_held_up)
        assert building.is_alive()
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(60)
        assert Organization.objects.filter(name="meanwhile").exists()
    building.join(60)
    assert valid() == [True]
    operation.run("database_backwards")
    assert valid() == []


def write():
    """What the server does in another process."""
    try:
        Organization.objects.create(name="meanwhile")
    finally:
        connection.close()


def test_an_index_that_was_cut_off_is_built_again():
    operation = Operation()
    operation.run()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'live_index'::regclass")
    operation.run()
    assert valid() == [True]
    operation.run("database_backwards")


def test_an_index_of_a_column_is_dropped_by_the_name_that_django_gave_it():
    with connection.schema_editor() as editor:
        name = editor._create_index_name("organizations_organization", ["name"])
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX {name} ON organizations_organization (name)")
    operation = drop_column_index("organizations_organization", "name")
    for _ in range(2):  # it may be repeated
        with connection.schema_editor(atomic=False) as editor:
            operation.code(apps, editor)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [name])
        assert cursor.fetchone() == (None,)


def test_rows_are_updated_in_pieces(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(live_migrations, "PIECE", 2)
    Organization.objects.bulk_create(Organization(organization_id=f"piece-{number}", name="old") for number in range(5))
    with django_assert_num_queries(7):  # three pieces, each of one to find and one to change, and nothing more is found
        update_in_pieces(Organization.objects.filter(name="old"), name=F("organization_id"))
    assert set(Organization.objects.values_list("name", flat=True)) == {f"piece-{number}" for number in range(5)}
