"""What the doctor says of the database."""

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from cloudapi.diagnosis import database
from cloudapi.diagnosis.findings import Level
from organizations.models import Organization

pytestmark = pytest.mark.django_db


def lines(check):
    return {one.name: (one.level, f"{one.text} {one.advice}") for one in check()}


def test_a_migrated_database_with_room_is_well():
    found = lines(database.check_database)
    assert {level for level, _ in found.values()} == {Level.OK}, found
    assert "connections are left" in found["Database"][1]


def test_missing_migrations_are_named():
    [(app, name)] = MigrationLoader(connection).graph.leaf_nodes("devices")
    MigrationRecorder(connection).record_unapplied(app, name)
    level, text = lines(database.check_database)["Migrations"]
    assert (level, f"1 missing: devices.{name}" in text) == (Level.PROBLEM, True)


def test_few_connections_and_another_time_zone_are_problems(monkeypatch):
    monkeypatch.setattr(database, "CONNECTIONS_LEFT", 10_000)
    assert "connections are left. Raise max_connections" in lines(database.check_database)["Database"][1]
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Shanghai'")
    level, text = lines(database.check_database)["Database"]
    assert (level, "time zone Asia/Shanghai" in text) == (Level.PROBLEM, True)


def test_keys_are_tried_on_what_is_stored(settings):
    first, second = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [first]
    Organization.objects.create(organization_id="1", name="Harbour", app_key="a key", app_license="a license")
    assert lines(database.check_keys)["Encryption keys"] == (
        Level.OK,
        "FIELD_ENCRYPTION_KEYS opens all 2 stored values. ",
    )
    settings.FIELD_ENCRYPTION_KEYS = [second, first]
    level, text = lines(database.check_keys)["Encryption keys"]
    assert (level, "2 of 2 stored values have an old key" in text) == (Level.NOTE, True)
    settings.FIELD_ENCRYPTION_KEYS = [second]
    level, text = lines(database.check_keys)["Encryption keys"]
    assert (level, "2 of 2 stored values cannot be opened" in text) == (Level.PROBLEM, True)
    assert "a key" not in text.replace("Add the key", "")


def test_little_space_is_a_problem(monkeypatch, tmp_path):
    level, text = lines(database.check_space)["Space"]
    assert level == Level.OK
    assert "The journal grew by 0 rows in a day and is kept for 30 days" in text
    monkeypatch.setattr(database, "_data_directory", lambda: tmp_path)
    monkeypatch.setattr(database, "FREE", 2**60)
    level, text = lines(database.check_space)["Space"]
    assert (level, "Make room now" in text) == (Level.PROBLEM, True)
    monkeypatch.setattr(database, "_data_directory", lambda: None)
    assert "The free space is not visible from here." in lines(database.check_space)["Space"][1]
