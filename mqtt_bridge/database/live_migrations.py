"""What a migration uses to change a table while the server works on it."""

import logging
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import QuerySet

logger = logging.getLogger(__name__)

PIECE = 5000  # rows


class AddIndexLive(AddIndex):
    """Adds an index without locking writers out, where the database can (PostgreSQL's CREATE INDEX CONCURRENTLY).

    Its migration needs `atomic = False`. It may be repeated after it was cut off: what was left of it is dropped first.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if not schema_editor.collect_sql:
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}")
        schema_editor.add_index(model, self.index, concurrently=True)  # type: ignore[call-arg]

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_index(model, self.index, concurrently=True)  # type: ignore[call-arg]


class AddTrigramIndexLive(Operation):
    """Adds an index for `icontains` on a text, if PostgreSQL has or may get its extension `pg_trgm`.

    It is a trusted one: the owner of the database may add it, if its files are installed. Without it, and on SQLite, a
    search reads the whole table, so that the index is in no model: Django would expect it everywhere.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, field_name: str, name: str) -> None:
        self.model_name, self.field_name, self.name = model_name, field_name, name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """No model changes."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        self.database_backwards(app_label, schema_editor, from_state, to_state)
        model = to_state.apps.get_model(app_label, self.model_name)
        table, column = (schema_editor.quote_name(name) for name in (model._meta.db_table, self.field_name))
        try:
            schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            schema_editor.execute(
                f"CREATE INDEX CONCURRENTLY {self.name} ON {table} USING gin (upper({column}) gin_trgm_ops)"
            )
        except DatabaseError as error:
            logger.warning("Searches will be slower without the extension pg_trgm: %s", error)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.name}")

    def describe(self) -> str:
        return f"Create index {self.name} for parts of {self.field_name} of {self.model_name}"


def update_in_pieces(rows: QuerySet[Any, Any], **values: object) -> None:
    """Update these rows, PIECE at a time, each piece in a transaction of its own, so that no row is locked for long.

    Its migration needs `atomic = False`, and is repeated from the beginning after it was cut off.
    """
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[:PIECE])
    while keys:
        rows.filter(pk__in=keys).update(**values)
        keys = list(rows.filter(pk__gt=keys[-1]).order_by("pk").values_list("pk", flat=True)[:PIECE])
