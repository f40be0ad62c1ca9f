"""The lock of the active bridge."""

import pytest
from django.db import OperationalError, connection

from mqtt_bridge.database.lock import AdvisoryLock, FileLock


@pytest.fixture(params=["file", "advisory"])
def two_locks(request, tmp_path, db):
    if request.param == "file":
        pair = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    elif connection.vendor == "postgresql":
        pair = AdvisoryLock(), AdvisoryLock()
    else:
        pytest.fail("the tests run on PostgreSQL")
    yield pair
    for lock in pair:
        lock.release()


@pytest.fixture
def advisory_locks(db):
    pair = AdvisoryLock(), AdvisoryLock()
    yield pair
    for lock in pair:
        lock.release()


def test_only_one_holds_it(two_locks):
    first, second = two_locks
    assert first.acquire()
    assert not second.acquire()
    assert (first.is_held(), second.is_held()) == (True, False)


def test_released_lock_can_be_taken_by_the_other(two_locks):
    first, second = two_locks
    for _ in range(20):
        assert first.acquire()
        first.release()
        assert second.acquire()
        assert not first.is_held()
        second.release()


def test_who_waits_for_the_lock_keeps_one_connection(advisory_locks):
    (first, second), backends = advisory_locks, set()
    first.acquire()
    for _ in range(3):
        assert not second.acquire()
        with second._connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.add(cursor.fetchone())
    first.release()
    assert len(backends) == 1
    assert second.acquire()


@pytest.mark.django_db
def test_advisory_lock_whose_connection_was_cut_is_not_held():
    lock = AdvisoryLock()
    lock.acquire()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    assert not lock.is_held()
    lock.release()


@pytest.mark.django_db
def test_advisory_lock_of_a_database_that_is_down_is_not_taken_for_somebody_elses(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")  # nobody listens there
    with pytest.raises(OperationalError):
        AdvisoryLock().acquire()
