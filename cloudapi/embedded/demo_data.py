"""The demo's database: its folder, its organizations, users and binding codes."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.migrations.loader import MigrationLoader

from mqtt_bridge.database.lock import FileLock
from organizations.models import BindingCode, Membership, Organization, Role
from organizations.typed import digest_of

ADMIN = "admin"
PASSWORD = "demo-demo"  # noqa: S105  (of a server that listens on loopback only)
LABEL = "demo"  # of its codes
# organization ID, name, a binding code that never expires, members
ORGANIZATIONS = (
    ("10000001", "Harbour Survey", "DEMO-HARB-2345", {"alice": Role.MANAGER, "bob": Role.VIEWER}),
    ("10000002", "Northern Grid", "DEMO-GRID-2345", {"charlie": Role.MANAGER}),
)
MEMBERS = [username for *_, members in ORGANIZATIONS for username in members]

Say = Callable[[str], object]


class DemoError(Exception):
    """Why the demo cannot run, for people."""


@contextmanager
def own_database(data: Path) -> Iterator[Path]:
    """Yield the path of the database in this folder, and keep other demos out: their bridge would stand by for ever.

    Raises DemoError for a folder that another demo uses or that cannot be written.
    """
    lock = FileLock(data / "lock")
    try:
        data.mkdir(parents=True, exist_ok=True)
        is_free = lock.acquire()
    except OSError as error:
        raise DemoError(f"{data} cannot be used: {error.strerror}. Name another folder with --data.") from None
    if not is_free:
        raise DemoError("Another demo uses this database. End that one, or name another folder with --data.")
    path = data / "db.sqlite3"
    connections.close_all()
    connections.settings["default"]["NAME"] = str(path)
    try:
        yield path
    finally:
        connections.close_all()
        lock.release()


def open_database(path: Path, server: uvicorn.Server, say: Say) -> None:
    """Bring the database up to date; one that cannot be used is set aside, and the demo starts afresh.

    Raises DemoError if that fails too. A signal that sets `server.should_exit` ends it early.
    """
    try:
        _check_file(path, server, say)
        _fill_database(server)
    except Exception as error:  # a migration meets anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        connections.close_all()
        aside = path.with_name(f"unusable-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            aside.mkdir()
            for file in path.parent.glob(f"{path.name}*"):
                file.rename(aside / file.name)
            say(f"  The data cannot be used ({reason}); they are in {aside} now, and the demo starts afresh.")
            _fill_database(server)
        except (DatabaseError, OSError) as again:
            raise DemoError(f"{path} cannot be used: {again}. Name another folder with --data.") from None


def _check_file(path: Path, server: uvicorn.Server, say: Say) -> None:
    """Wait until no other program locks it; raises sqlite3.DatabaseError if it is damaged."""
    has_said = False
    while not server.should_exit:
        try:
            with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                [(verdict,)] = database.execute("PRAGMA quick_check(1)")
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
                return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if not has_said:
                say(f"  Another program has locked {path}; the demo goes on when that lets go.")
                has_said = True


def _fill_database(server: uvicorn.Server) -> None:
    if not server.should_exit:
        call_command("migrate", verbosity=0)
        loader = MigrationLoader(connections["default"])
        if newer := sorted(loader.applied_migrations.keys() - loader.disk_migrations.keys()):
            raise DatabaseError(f"another version made them, with the migration {'.'.join(newer[-1])}")
    if not server.should_exit:
        prepare()


@transaction.atomic
def prepare() -> None:
    """Make the demo's organizations, users and codes, unless they are there."""
    users = get_user_model().objects
    everybodys = {"password": make_password(PASSWORD)}  # hashed once: that takes a third of a second
    if not users.filter(username=ADMIN).exists():
        users.create(username=ADMIN, email="admin@example.org", is_staff=True, is_superuser=True, **everybodys)
    for organization_id, name, code, members in ORGANIZATIONS:
        organization, is_new = Organization.objects.get_or_create(
            organization_id=organization_id, defaults={"name": name}
        )
        if not organization.binding_codes.filter(digest=digest_of(code)).exists():
            BindingCode.objects.issue(organization=organization, code=code, label=LABEL, expires_at=None)
        for username, role in members.items():
            user = users.filter(username=username).first()
            is_known = user is not None
            user = user or users.create(username=username, email=f"{username}@example.org", is_staff=True, **everybodys)
            if is_new or not is_known:
                Membership.objects.create(user=user, organization=organization, role=role)
