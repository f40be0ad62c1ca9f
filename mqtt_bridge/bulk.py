"""Many new rows at once, of tables that take thousands a second (journal, audit trail, devices)."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from django.db import connection, models, transaction


def number(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Give unsaved rows their primary keys before they are appended, so that others can refer to them; one query.

    Must run in a transaction, which on SQLite keeps all other writers out.
    """
    if not rows:
        return
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
                [connection.ops.quote_name(table), column, len(rows)],
            )
            keys: Iterable[int] = (key for (key,) in cursor.fetchall())
        else:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            last = cursor.fetchone()
            keys = itertools.count(last[0] + 1 if last else 1)
    for row, key in zip(rows, keys, strict=False):
        row.pk = key


def append(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Insert new rows in one statement; those without primary keys (`number`) are not given any.

    On PostgreSQL by COPY, which takes half the time of the INSERT that `bulk_create` writes; every concrete
    field is sent as the row has it, so values must be what the database stores.
    """
    if not rows:
        return
    if connection.vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    fields = [field for field in model._meta.concrete_fields if not field.primary_key or rows[0].pk is not None]
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
