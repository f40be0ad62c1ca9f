"""Texts in the order that people expect, Pier 2 before Pier 16: by a collation of the database.

It is deterministic, and in the ORDER BY of lists alone: columns, indexes, searches and unique rules stay as they are.
"""

import re
from typing import Any, Final

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps
from django.db.models import F, OrderBy
from django.db.models.functions import Collate

NAME: Final = "natural_sort"


def natural(field: str) -> OrderBy:
    """In the order of a text column; with "-" before its name, the other way round."""
    order = Collate(F(field.removeprefix("-")), NAME)
    return order.desc() if field.startswith("-") else order.asc()


def create_collation() -> RunPython:
    """Adds the collation to PostgreSQL; to one without ICU, under the same name the plain order of characters."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_collation WHERE collprovider = 'i')")
            [has_icu] = cursor.fetchone()
        how = "(provider = icu, locale = 'und-u-kn-true')" if has_icu else 'FROM "C"'
        schema_editor.execute(f"CREATE COLLATION IF NOT EXISTS {NAME} {how}")

    return RunPython(create, RunPython.noop)


def add_to_sqlite(connection: Any, **_kwargs: object) -> None:
    """A receiver of `connection_created`: SQLite has collations only as long as a connection."""
    if connection.vendor == "sqlite":
        connection.connection.create_collation(NAME, compare)


def compare(one: str, other: str) -> int:
    """Negative if `one` comes first, 0 if they are the same text."""
    first, second = (_key(one), one), (_key(other), other)
    return (first > second) - (first < second)


def _key(text: str) -> list[str | int]:
    """Texts and numbers by turns: two keys have the same kind at the same place."""
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", text)]
