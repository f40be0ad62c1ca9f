"""Many new rows at once into tables that only grow (journal, audit trail)."""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db import connection, models, transaction


def append(model: type[models.Model], rows: Iterable[models.Model]) -> None:
    """Insert unsaved rows in one statement; they are not given their primary keys.

    On PostgreSQL by COPY, which takes half the time of the INSERT that `bulk_create` writes; every concrete
    field is sent as the row has it, so values must be what the database stores.
    """
    if connection.vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    quoted = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    names = [(field.attname, isinstance(field, models.JSONField)) for field in fields]
    table = connection.ops.quote_name(model._meta.db_table)
    # Django wraps the errors of its own statements only, and COPY is psycopg's.
    with (
        transaction.atomic(),
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({quoted}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row([_value(getattr(row, name), is_json) for name, is_json in names])


def _value(value: Any, is_json: bool) -> Any:
    return msgspec.json.encode(value).decode() if is_json else value
