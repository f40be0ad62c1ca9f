"""The database: there, migrated, with room left, and readable with our keys."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, TextField
from django.db.models.functions import Cast
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from cloudapi.diagnosis.findings import Finding, note, ok, problem
from mqtt_bridge.models import Exchange
from organizations.encryption import EncryptedTextField, cipher

CONNECTIONS_LEFT: Final = 10
FREE: Final = 2**30  # bytes
VALUES: Final = 10_000  # encrypted values that are tried, of each field


def check_database() -> Iterator[Finding]:
    """Version, connections, time zone and migrations."""
    try:
        connection.ensure_connection()
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        yield problem("Database", f"Does not answer: {first_line}.", "Start it, or correct DATABASE_URL.")
        return
    if connection.vendor == "postgresql":
        yield from _postgresql()
    else:
        yield note("Database", "SQLite, for trials only.", "Use PostgreSQL in production.")
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(str(migration) for migration, _ in missing[:3])
        yield problem("Migrations", f"{len(missing)} missing: {names}.", "Run manage.py migrate.")
    else:
        yield ok("Migrations", "All applied.")


def _ask(sql: str, *parameters: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _postgresql() -> Iterator[Finding]:
    [(version, zone, most, used)] = _ask(
        "SELECT current_setting('server_version'), current_setting('TimeZone'),"
        " current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity)"
    )
    left = most - used
    if left < CONNECTIONS_LEFT:
        advice = "Raise max_connections, or lower WEB_THREADS and the number of workers."
        yield problem("Database", f"Only {left} of {most} connections are left.", advice)
    elif zone != "UTC":
        yield problem(
            "Database", f"Our connections have the time zone {zone}.", "Remove it from DATABASE_URL: we use UTC."
        )
    else:
        yield ok("Database", f"PostgreSQL {version} answers; {left} of {most} connections are left.")


def check_keys() -> Iterator[Finding]:
    """Whether FIELD_ENCRYPTION_KEYS opens what is stored."""
    newest = Fernet(settings.FIELD_ENCRYPTION_KEYS[0])
    closed = old = total = 0
    for model, field in encrypted_fields():
        stored = model._default_manager.exclude(**{field: ""}).exclude(**{field: None})
        for token in stored.values_list(Cast(field, TextField()), flat=True)[:VALUES]:
            total += 1
            if not _opens(newest, token):
                old += _opens(cipher(), token)
                closed += not _opens(cipher(), token)
    name = "Encryption keys"
    if closed:
        advice = "Add the key that FIELD_ENCRYPTION_KEYS lacks, or enter those values again."
        yield problem(name, f"{closed} of {total} stored values cannot be opened.", advice)
    elif old:
        yield note(
            name, f"{old} of {total} stored values have an old key.", "Keep the old key until they are saved again."
        )
    else:
        yield ok(name, f"FIELD_ENCRYPTION_KEYS opens all {total} stored values.")


def encrypted_fields() -> Iterator[tuple[type[Model], str]]:
    """(model, name) of each field that is stored encrypted."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedTextField):
                yield model, field.name


def _opens(keys: Fernet | MultiFernet, token: str) -> bool:
    try:
        keys.decrypt(token.encode())
    except InvalidToken:
        return False
    return True


def check_space() -> Iterator[Finding]:
    """The size of the database, the free space if it is on this machine, and how fast the journal grows."""
    rows = Exchange.objects.filter(received_at__gt=timezone.now() - timedelta(days=1)).count()
    growth = f"The journal grew by {rows:,} rows in a day and is kept for {settings.JOURNAL_DAYS} days"
    folder: Path | None
    if connection.vendor != "postgresql":
        file = Path(str(connection.settings_dict["NAME"])).resolve()
        folder, size, will_need = file.parent, file.stat().st_size, 0.0
    else:
        [(size, table, estimated)] = _ask(
            "SELECT pg_database_size(current_database()), pg_total_relation_size(oid), reltuples FROM pg_class"
            " WHERE oid = %s::regclass",
            Exchange._meta.db_table,
        )
        folder = _data_directory()
        will_need = rows * settings.JOURNAL_DAYS * table / max(estimated, rows, 1) - table
        if will_need > 0:
            growth += f": about {_size(will_need)} more"
    text = f"The database has {_size(size)}. {growth}."
    if folder is None:
        yield ok("Space", f"{text} The free space is not visible from here.")
        return
    free = shutil.disk_usage(folder).free
    text = f"{text} {_size(free)} are free."
    if free < FREE:
        yield problem("Space", text, "Make room now: without it the database stops.")
    elif free < will_need + FREE:
        yield note("Space", text, "Make room, or lower JOURNAL_DAYS or JOURNAL_BYTES_PER_DAY.")
    else:
        yield ok("Space", text)


def _size(count: float) -> str:
    return filesizeformat(count).replace("\xa0", " ")


def _data_directory() -> Path | None:
    """PostgreSQL's folder, if it is on this machine and our account may know it."""
    if connection.settings_dict["HOST"] not in ("", "localhost", "127.0.0.1", "::1"):
        return None
    try:
        [(folder,)] = _ask("SHOW data_directory")
    except DatabaseError:
        return None
    return Path(folder) if Path(folder).exists() else None
