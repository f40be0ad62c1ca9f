"""Querysets of which the SQL text is written once: the queries that a dock waits for.

Django writes the text of a queryset anew for every batch, which takes longer than the database takes to answer. A
`Prepared` keeps the text, and PostgreSQL its plan (a prepared statement of psycopg's):

    class Known(NamedTuple):
        sn: str
        organization_id: int | None

    KNOWN = Prepared(Known, lambda: Device.objects.filter(AnyOf("sn", "sns")).values_list("sn", "organization_id"))

    for sn, organization_id in KNOWN(sns=["4TADL1E001", "4TADL1E002"]): ...

The queryset stands in a lambda because models are not ready when modules are loaded. It names its columns in the order
of the row's fields. What it is given by name are its parameters: `AnyOf` takes a list of values, `Parameter` one.

Rows that are to be locked and changed may be instances of a model instead: `Prepared(Device, lambda: ...)`, with
`select_related` and `only` as ever.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Expression, F, Field, Lookup, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.sql.compiler import SQLCompiler
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.sql import quote

Row = TypeVar("Row", bound=tuple[Any, ...] | Model)


class _Given(NamedTuple):
    """Where a value stands that is given by this name."""

    name: str
    for_database: Callable[[Any, BaseDatabaseWrapper], Any]  # makes of it what the database's driver takes


class Parameter(Expression):
    """One value, given by this name, of this kind of field: `filter(at__lt=Parameter("now", DateTimeField()))`."""

    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, _compiler: SQLCompiler, _connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        return "%s", (_Given(self.name, self.output_field.get_db_prep_value),)


class AnyOf(Lookup):
    """That a field has one of the values given by this name: numbers, texts or UUIDs. None of any if there are none."""

    prepare_rhs = False

    def __init__(self, field: Any, name: str) -> None:
        super().__init__(F(field) if isinstance(field, str) else field, name)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
        sql, params = self.process_lhs(compiler, connection)
        kind = str(self.lhs.output_field.db_type(connection)).partition("(")[0]  # a length would cut longer ones off
        return f"{sql} = ANY(%s::{kind}[])", [*params, _Given(self.rhs, lambda values, _: list(values))]

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
        sql, params = self.process_lhs(compiler, connection)
        values = _Given(self.rhs, lambda values, _: json.dumps(list(values), default=lambda uuid: uuid.hex))
        return f"{sql} IN (SELECT value FROM json_each(%s))", [*params, values]  # noqa: S608 - of Django's


class _Statement(NamedTuple):
    """A queryset as this kind of database takes it."""

    sql: str
    params: Sequence[Any]  # each is `_Given`, or for SQLite also a value that stands in the queryset itself
    compiler: SQLCompiler
    converters: dict[int, Any]  # Django's, by column
    make: Callable[[Any], Any]  # of what the database returns for a row


class Prepared(Generic[Row]):
    """A queryset with parameters; called with their values, it returns rows of this NamedTuple or model."""

    def __init__(self, row: type[Row], queryset: "Callable[[], QuerySet[Any, Any]]") -> None:
        self._row, self._queryset = row, queryset
        self._statements: dict[str, _Statement] = {}  # by the kind of database

    def __call__(self, **values: Any) -> list[Row]:
        try:
            return self.ask(**values)()
        except NotSupportedError:  # a migration changed the type of a column
            if database().in_atomic_block:
                raise
            database().close()
            return self.ask(**values)()

    def ask(self, **values: Any) -> Callable[[], list[Row]]:
        """Send the query; the result, called, reads the rows. In a `pipeline` several are sent before one is read."""
        connection = database()
        statement = self._statements.get(connection.vendor) or self._compile(connection)
        params = [
            param.for_database(values[param.name], connection) if isinstance(param, _Given) else param
            for param in statement.params
        ]
        cursor = preparing_cursor(connection, binary=True)  # a time is read ten times as fast from it
        cursor.execute(statement.sql, params)

        def read() -> list[Row]:
            rows: Iterable[Any] = cursor.fetchall()
            if statement.converters:
                rows = statement.compiler.apply_converters(rows, statement.converters)
            return list(map(statement.make, rows))

        return read

    def _compile(self, connection: Any) -> _Statement:
        compiler: Any = self._queryset().query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        if connection.vendor == "postgresql":
            # A plan for any parameters may use a partial index only if its condition stands in the text.
            raw = connection.connection
            texts = ("%s" if isinstance(param, _Given) else quote(param, raw).replace("%", "%%") for param in params)
            sql = sql.replace("%%", "%%%%") % tuple(texts)
            params = [param for param in params if isinstance(param, _Given)]
        columns = [column for column, _, _ in compiler.select]
        is_model = issubclass(self._row, Model)
        make = _instance_maker(compiler.klass_info, compiler.select) if is_model else cast("Any", self._row)._make
        statement = _Statement(sql, params, compiler, compiler.get_converters(columns), make)
        self._statements[connection.vendor] = statement
        return statement


def _instance_maker(info: Mapping[str, Any], select: Sequence[Any]) -> Callable[[Sequence[Any]], Any]:
    """As Django's own querysets make instances, with those of `select_related`, in a fifth of the time.

    Django sets field after field, and sends signals that nobody here receives.
    """
    model = info["model"]
    columns = slice(info["select_fields"][0], info["select_fields"][-1] + 1)
    names = [column.target.attname for column, _, _ in select[columns]]
    key = names.index(model._meta.pk.attname)
    related = [
        (one["local_setter"], one["remote_setter"], _instance_maker(one, select))
        for one in info.get("related_klass_infos", ())
    ]

    def make(row: Sequence[Any]) -> Model | None:
        values = row[columns]
        if values[key] is None:  # there is no related row
            return None
        instance: Model = model.__new__(model)
        instance.__dict__.update(zip(names, values, strict=True))
        instance._state = ModelState()
        instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS
        for set_here, set_there, make_other in related:
            other = make_other(row)
            set_here(instance, other)
            if other is not None:
                set_there(other, instance)
        return instance

    return make


class _JsonText(Loader):
    """Binary JSON as a text, which Django's fields read. Its own cursors have all they read as text."""

    format = psycopg.pq.Format.BINARY

    def load(self, data: Buffer) -> str:
        return bytes(data[1:]).decode()  # after the number of a version


psycopg.adapters.register_loader("jsonb", _JsonText)


def database() -> BaseDatabaseWrapper:
    """The database's connection. Django's own `connection` looks it up again for each of its attributes."""
    return connections[DEFAULT_DB_ALIAS]


def preparing_cursor(connection: Any, *, binary: bool = False) -> CursorWrapper:
    """A cursor of Django's, whose statements PostgreSQL prepares when they come a second time on this connection.

    Not while Django keeps a log of its queries, which would show no values.
    """
    if connection.vendor != "postgresql" or connection.queries_logged:
        return cast("CursorWrapper", connection.cursor())
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    connection.connection.prepare_threshold = 1  # Django's own cursors prepare nothing, whatever it is
    cursor = psycopg.Cursor(connection.connection)
    cursor.format = psycopg.pq.Format.BINARY if binary else psycopg.pq.Format.TEXT
    return cast("CursorWrapper", connection.make_cursor(cursor))


@contextmanager
def pipeline() -> Iterator[None]:
    """Send the statements of the block one after another without waiting for their results (PostgreSQL).

    An error of theirs may be raised only at the end. Not for Django's own `update` and `delete` where their count is
    needed: it is not there yet.
    """
    connection: Any = database()
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield
