"""Many rows in one statement, for tables that take thousands a second.

All rows travel as one JSON parameter, so the statement is the same for any number of them and PostgreSQL keeps its
plan. A row is a mapping of column names to values, the same columns for all (`values_of` makes them of model
instances). Nothing here locks: lock rows that others may write first, or give them in the order in which others do.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.base import ModelState

from mqtt_bridge.database.prepared import database, preparing_cursor

Rows = Sequence[Mapping[str, Any]]
Model = type[models.Model]
Instance = TypeVar("Instance", bound=models.Model)


def new(model: type[Instance], **columns: Any) -> Instance:
    """A new instance with these columns in a tenth of the time that Django takes, which sets field after field.

    Name what has another default each time, as times have. Relations are set afterwards, as ever.
    """
    row = model.__new__(model)
    row.__dict__.update(_defaults(model), **columns)
    row._state = ModelState()
    row._state.db = DEFAULT_DB_ALIAS
    return row


@cache
def _defaults(model: Model) -> dict[str, Any]:
    return {name: value for name, value in vars(model()).items() if name != "_state"}


def values_of(instances: Iterable[models.Model], columns: Iterable[str] = ()) -> list[dict[str, Any]]:
    """These columns of the instances; all if none are named, but for primary keys that are not given yet."""
    rows = list(instances)
    if not rows:
        return []
    names = list(columns) or [
        str(field.column) for field in rows[0]._meta.concrete_fields if not field.primary_key or rows[0].pk is not None
    ]
    # The dictionary of an instance has what `getattr` would look for in Django's descriptors first.
    return [{name: values[name] for name in names} for values in map(vars, rows)]


def insert(model: Model, rows: Rows, *, on_conflict: str = "") -> None:
    """Insert new rows. Instances do not get their primary keys, unless they have them already (`ask_keys`)."""
    if rows:
        new = _source(model, tuple(rows[0]), database().vendor)
        selected = f"SELECT {new.values} FROM {new.rows} WHERE true"  # SQLite takes ON for a join's without a WHERE
        _execute(f"INSERT INTO {new.table} ({new.columns}) {selected} {on_conflict}", new, rows)


def upsert(model: Model, rows: Rows, *, unique: Sequence[str], changes: Sequence[str]) -> None:
    """Insert rows; of those that exist already, by the columns of a unique constraint, write these columns."""
    keys = ", ".join(f'"{name}"' for name in unique)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in changes)
    insert(model, rows, on_conflict=f"ON CONFLICT ({keys}) DO UPDATE SET {sets}")


def update(model: Model, rows: Rows, *, merges: Mapping[str, int] = MappingProxyType({})) -> None:
    """Write the columns of rows that exist, which are known by their primary keys; one that is gone is left out.

    `merges` names columns with a JSON object whose keys are added to those that are there, and how many bytes it may
    get, as the database counts them: one that would get larger stays as it is.
    """
    if rows:
        new, key = _source(model, tuple(rows[0]), database().vendor), str(model._meta.pk.column)
        values = {name: value for name, value in new.value.items() if name != key}
        values |= {name: _merging(f'{new.table}."{name}"', values[name], cap) for name, cap in merges.items()}
        changes = ", ".join(f'"{name}" = {value}' for name, value in values.items())
        condition = f'{new.table}."{key}" = {new.value[key]}'
        _execute(f"UPDATE {new.table} SET {changes} FROM {new.rows} WHERE {condition}", new, rows)


def _merging(stored: str, added: str, cap: int) -> str:
    """The SQL of a JSON object with the keys of another one added, if it stays within so many bytes."""
    connection: Any = database()
    if connection.vendor != "postgresql":
        connection.ensure_connection()
        connection.connection.create_function("merge_json", 3, _merge, deterministic=True)
        return f"merge_json({stored}, {added}, {cap})"
    # OFFSET 0 keeps the planner from merging the objects twice.
    both = f"(SELECT {stored} || {added} AS object OFFSET 0) AS merged"
    return f"(SELECT CASE WHEN pg_column_size(object) <= {cap} THEN object ELSE {stored} END FROM {both})"


def _merge(stored: str, added: str, cap: int) -> str:
    merged = msgspec.json.encode(msgspec.json.decode(stored) | msgspec.json.decode(added)).decode()
    return merged if len(merged.encode()) <= cap else stored


def ask_keys(model: Model, count: int) -> Callable[[], Iterator[int]]:
    """So many primary keys for rows that are to be inserted, so that others can refer to them; as `Prepared.ask`.

    Must run in a transaction, which on SQLite keeps all other writers out.
    """
    connection, table, column = database(), model._meta.db_table, model._meta.pk.column
    cursor = preparing_cursor(connection)
    if connection.vendor == "postgresql":
        cursor.execute(
            "SELECT nextval((SELECT pg_get_serial_sequence(%s, %s))::regclass) FROM generate_series(1, %s)",
            [connection.ops.quote_name(table), column, count],
        )
        return lambda: (key for (key,) in cursor.fetchall())
    cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
    last = cursor.fetchone()
    return lambda: itertools.count(last[0] + 1 if last else 1)


class _Source(NamedTuple):
    """The JSON parameter as a table of rows."""

    table: str  # the one that is written
    columns: str
    values: str
    value: Mapping[str, str]  # by column
    rows: str
    prepare: Mapping[str, Callable[[Any], Any]]  # by column, where a value is not stored as it is


@cache
def _source(model: Model, columns: tuple[str, ...], vendor: str) -> _Source:
    connection = database()
    fields = {str(field.column): field for field in model._meta.concrete_fields}
    quoted = ", ".join(f'"{name}"' for name in columns)
    table = connection.ops.quote_name(model._meta.db_table)
    if vendor == "postgresql":
        kind = {name: fields[name].db_type(connection) for name in columns}
        # JSON inside JSON would be read twice, letter by letter; as a text it is read once.
        kinds = ", ".join(f'"{name}" {"text" if kind[name] == "jsonb" else kind[name]}' for name in columns)
        value = {name: f'new."{name}"' + ("::jsonb" if kind[name] == "jsonb" else "") for name in columns}
        # Without a limit the planner takes them for a hundred, for which it may read a whole table.
        rows = f"(SELECT * FROM json_to_recordset(%s::json) AS row({kinds}) LIMIT %s) AS new"
    else:
        value = {name: f"json_extract(new.value, '$.{name}')" for name in columns}
        rows = "(SELECT value FROM json_each(%s) LIMIT %s) AS new"
    prepare = {
        name: partial(_stored, fields[name])
        for name in columns
        # PostgreSQL's JSON has a form for all else that Django's own fields store.
        if vendor != "postgresql"
        or isinstance(fields[name], models.JSONField)
        or not type(fields[name]).__module__.startswith("django.db.models.")
    }
    return _Source(table, quoted, ", ".join(value.values()), value, rows, prepare)


def _stored(field: "models.Field[Any, Any]", value: object) -> object:
    if isinstance(field, models.JSONField):
        return None if value is None else msgspec.json.encode(value).decode()
    return field.get_db_prep_save(value, database())


def _execute(sql: str, source: _Source, rows: Rows) -> None:
    if source.prepare:
        rows = [
            {name: source.prepare[name](value) if name in source.prepare else value for name, value in row.items()}
            for row in rows
        ]
    with preparing_cursor(database()) as cursor:
        cursor.execute(sql, [msgspec.json.encode(rows).decode(), len(rows)])
