"""One active bridge: the lock that decides, released by the kernel or PostgreSQL when its holder dies."""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mqtt_bridge.database.timeouts import DatabaseUnavailableError

LOCK_KEY = 7_340_017_001  # any number that no other user of this database takes


class ActiveLock(Protocol):
    """Held by the active bridge alone."""

    def acquire(self) -> bool:
        """Take the lock if it is free; never waits. Raises DatabaseUnavailableError if the database does not answer."""

    def is_held(self) -> bool:
        """Whether we still hold it; asks the database, because a restarted one forgets locks."""

    def release(self) -> None:
        """Give it back."""


class AdvisoryLock:
    """A PostgreSQL advisory lock, on its own connection."""

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._is_ours = False

    def acquire(self) -> bool:
        if self._connection is None:  # else it is the one of the last try: a stand-by tries every second
            self._connection = connections.create_connection("default")
        try:
            self._is_ours = self._ask(f"SELECT pg_try_advisory_lock({LOCK_KEY})")
        except (DatabaseError, InterfaceError) as error:
            self.release()
            raise DatabaseUnavailableError(str(error)) from error
        return self._is_ours

    def is_held(self) -> bool:
        try:
            return self._is_ours and self._ask("SELECT true")
        except (DatabaseError, InterfaceError):
            return False

    def release(self) -> None:
        if self._connection is None:
            return
        if self._is_ours:  # explicitly, because PostgreSQL sees the end of a connection only a moment later
            with suppress(DatabaseError, InterfaceError):
                self._ask(f"SELECT pg_advisory_unlock({LOCK_KEY})")
        self._is_ours = False
        self._connection.close()
        self._connection = None

    def _ask(self, question: str) -> bool:
        assert self._connection is not None  # noqa: S101  (acquire opened it)
        with self._connection.cursor() as cursor:
            cursor.execute(question)
            return bool(cursor.fetchone()[0])


class FileLock:
    """A locked file beside an SQLite database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def is_held(self) -> bool:
        return self._file is not None

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def active_lock() -> ActiveLock:
    """The lock that fits the database in use."""
    connection = connections["default"]
    if connection.vendor == "postgresql":
        return AdvisoryLock()
    return FileLock(Path(f"{connection.settings_dict['NAME']}.bridge.lock"))
