"""One active bridge: the lock that decides, released by the kernel or PostgreSQL when its holder dies."""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from django.db import DatabaseError, InterfaceError, connections

LOCK_KEY = 7_340_017_001  # any number that no other user of this database takes


class AdvisoryLock:
    """A PostgreSQL advisory lock, on its own connection."""

    def __init__(self) -> None:
        self._connection = connections.create_connection("default")  # opened by `acquire`
        self._is_ours = False

    def acquire(self) -> bool:
        """Take the lock if it is free; never waits. Release it after an error of the database, before the next try."""
        self._is_ours = self._ask(f"SELECT pg_try_advisory_lock({LOCK_KEY})")
        return self._is_ours

    def is_held(self) -> bool:
        """Whether we still hold it; asks the database, because a restarted one forgets locks."""
        try:
            return self._is_ours and self._ask("SELECT true")
        except (DatabaseError, InterfaceError):
            return False

    def release(self) -> None:
        """Give it back."""
        if self._is_ours:  # explicitly, because PostgreSQL sees the end of a connection only a moment later
            with suppress(DatabaseError, InterfaceError):
                self._ask(f"SELECT pg_advisory_unlock({LOCK_KEY})")
        self._is_ours = False
        self._connection.close()

    def _ask(self, question: str) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute(question)
            return bool(cursor.fetchone()[0])


class FileLock:
    """A locked file beside an SQLite database; works as `AdvisoryLock` does."""

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


def active_lock() -> AdvisoryLock | FileLock:
    """The lock that fits the database in use."""
    connection = connections["default"]
    if connection.vendor == "postgresql":
        return AdvisoryLock()
    return FileLock(Path(f"{connection.settings_dict['NAME']}.bridge.lock"))
