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
from django.utils.translation import gettext as _

from cloudapi.diagnosis.errors import in_words
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
        yield problem(
            _("Database"),
            _("Does not answer: {error}.").format(error=in_words(first_line)),
            _("Start it, or correct DATABASE_URL."),
        )
        return
    if connection.vendor == "postgresql":
        yield from _postgresql()
    else:
        yield note(_("Database"), _("SQLite, for trials only."), _("Use PostgreSQL in production."))
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(str(migration) for migration, _ in missing[:3])
        yield problem(
            _("Migrations"),
            _("{count} missing: {names}.").format(count=len(missing), names=names),
            _("Run manage.py migrate."),
        )
    else:
        yield ok(_("Migrations"), _("All applied."))


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
        advice = _("Raise max_connections, or lower WEB_THREADS and the number of workers.")
        yield problem(
            _("Database"), _("Only {left} of {most} connections are left.").format(left=left, most=most), advice
        )
    elif zone != "UTC":
        yield problem(
            _("Database"),
            _("Our connections have the time zone {zone}.").format(zone=zone),
            _("Remove it from DATABASE_URL: we use UTC."),
        )
    else:
        yield ok(
            _("Database"),
            _("PostgreSQL {version} answers; {left} of {most} connections are left.").format(
                version=version, left=left, most=most
            ),
        )


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
    name = _("Encryption keys")
    if closed:
        advice = _("Add the key that FIELD_ENCRYPTION_KEYS lacks, or enter those values again.")
        yield problem(
            name, _("{closed} of {total} stored values cannot be opened.").format(closed=closed, total=total), advice
        )
    elif old:
        yield note(
            name,
            _("{old} of {total} stored values have an old key.").format(old=old, total=total),
            _("Keep the old key until they are saved again."),
        )
    else:
        yield ok(name, _("FIELD_ENCRYPTION_KEYS opens all {total} stored values.").format(total=total))


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
    growth = _("The journal grew by {rows:,} rows in a day and is kept for {days} days.")
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
            growth = _("The journal grew by {rows:,} rows in a day and is kept for {days} days: about {more} more.")
    sentences = [
        _("The database has {size}.").format(size=_size(size)),
        growth.format(rows=rows, days=settings.JOURNAL_DAYS, more=_size(will_need)),
    ]
    if folder is None:
        yield ok(_("Space"), " ".join([*sentences, _("The free space is not visible from here.")]))
        return
    free = shutil.disk_usage(folder).free
    text = " ".join([*sentences, _("{size} are free.").format(size=_size(free))])
    if free < FREE:
        yield problem(_("Space"), text, _("Make room now: without it the database stops."))
    elif free < will_need + FREE:
        yield note(_("Space"), text, _("Make room, or lower JOURNAL_DAYS or JOURNAL_BYTES_PER_DAY."))
    else:
        yield ok(_("Space"), text)


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
