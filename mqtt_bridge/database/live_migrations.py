"""What a migration uses to change a table while the server works on it. Its migration needs `atomic = False`."""

import logging
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import DatabaseError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RunPython
from django.db.migrations.state import ProjectState, StateApps
from django.db.models import QuerySet

logger = logging.getLogger(__name__)

PIECE = 5000  # rows


class AddIndexLive(AddIndexConcurrently):
    """Adds an index without locking writers out, where the database can.

    It may be repeated after it was cut off: what was left of it is dropped first.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        if not schema_editor.collect_sql:
            self.database_backwards(app_label, schema_editor, to_state, from_state)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        kind = AddIndexConcurrently if schema_editor.connection.vendor == "postgresql" else AddIndex
        kind.database_backwards(self, app_label, schema_editor, from_state, to_state)


def drop_column_index(table: str, column: str, suffix: str = "") -> RunPython:
    """Drops the index that Django made of one column by itself: a foreign key's, or that of a text (`_like`).

    Django's own way, an AlterField, makes the foreign key anew and locks two tables for that; it goes into the
    `state_operations`. On SQLite the index stays until Django makes the table anew.
    """

    def drop(apps: StateApps, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            name = schema_editor._create_index_name(table, [column], suffix=suffix)
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}")

    return RunPython(drop, RunPython.noop)


def add_trigram_index(table: str, column: str, name: str) -> RunPython:
    """Adds an index for `icontains` on a text, if PostgreSQL has or may get its extension `pg_trgm`.

    It is a trusted one: the owner of the database may add it, if its files are installed. Without it, and on SQLite, a
    search reads the whole table, so that the index is in no model: Django would expect it everywhere.
    """

    def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        remove(apps, schema_editor)
        if schema_editor.connection.vendor == "postgresql":
            try:
                schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                schema_editor.execute(
                    f"CREATE INDEX CONCURRENTLY {name} ON {table} USING gin (upper({column}) gin_trgm_ops)"
                )
            except DatabaseError as error:
                logger.warning("Searches will be slower without the extension pg_trgm: %s", error)

    def remove(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

    return RunPython(add, remove)


def update_in_pieces(rows: QuerySet[Any, Any], **values: object) -> None:
    """Update these rows, PIECE at a time, each piece in a transaction of its own, so that no row is locked for long.

    Its migration is repeated from the beginning after it was cut off.
    """
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[:PIECE])
    while keys:
        rows.filter(pk__in=keys).update(**values)
        keys = list(rows.filter(pk__gt=keys[-1]).order_by("pk").values_list("pk", flat=True)[:PIECE])
