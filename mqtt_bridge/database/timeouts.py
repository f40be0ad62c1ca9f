"""How long each process waits for PostgreSQL, and what an error of the database means.

Commands that people run (`migrate`, `shell`) wait without a limit.
"""

from typing import Final, NamedTuple

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.errors import FeatureNotSupported, IdleInTransactionSessionTimeout, LockNotAvailable


class DatabaseUnavailableError(Exception):
    """The database does not answer: nothing of the batch may be acknowledged."""


class Timeouts(NamedTuple):
    """In milliseconds."""

    lock: int  # for a row that another transaction holds; beyond PostgreSQL's second until it looks for a deadlock
    statement: int
    idle: int  # between two statements of one transaction: a process that stops amid one gives back its locks


BRIDGE: Final = Timeouts(lock=2_000, statement=30_000, idle=30_000)
WORKER: Final = Timeouts(lock=5_000, statement=60_000, idle=60_000)
WEB: Final = Timeouts(lock=5_000, statement=30_000, idle=30_000)
TELEMETRY_NAME: Final = "dock-cloud telemetry"  # of the connections of `run_telemetry`, which `doctor` counts
SHORT_WAIT: Final = 10  # milliseconds that one of many waits for a locked row, when all have waited for it together


def limit(timeouts: Timeouts, *, name: str = "") -> None:
    """Let every connection that this process opens from now on have these limits, and this name; SQLite has none."""

    def set_limits(connection: BaseDatabaseWrapper, **_signal: object) -> None:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET lock_timeout = {timeouts.lock}; SET statement_timeout = {timeouts.statement};"
                    f" SET idle_in_transaction_session_timeout = {timeouts.idle}; SET application_name = '{name}'"
                )

    connection_created.connect(set_limits, weak=False, dispatch_uid="timeouts")


def wait_for_locks(connection: BaseDatabaseWrapper, milliseconds: int) -> None:
    """Wait that long for each lock in the current transaction."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {milliseconds}")


def is_locked(error: Exception) -> bool:
    """Whether somebody held a row for longer than we wait."""
    return isinstance(error.__cause__, LockNotAvailable)


def is_away(error: BaseException | None) -> bool:
    """Whether the database, or our connection to it, is out of order at the moment: not our own fault.

    The connection's prepared statements are after a migration that changed the type of a column, which PostgreSQL calls
    a feature that it does not support.
    """
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return error is not None and isinstance(error.__cause__, IdleInTransactionSessionTimeout | FeatureNotSupported)
