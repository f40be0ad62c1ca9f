"""What a check finds, and how all checks run: at once, each with its time."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from time import monotonic
from typing import Final, NamedTuple

from django.db import DatabaseError, InterfaceError, connection, connections
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

PATIENCE: Final = 10.0  # seconds for all checks together
STATEMENT: Final = 3_000  # milliseconds that a statement may take


class Level(StrEnum):
    """How a line is meant; only a problem makes the doctor fail."""

    OK = "ok"
    NOTE = "note"  # works, but look at it
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line: what was looked at, what was found and, unless it is well, what to do. Holds no secrets."""

    name: str
    level: Level
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Finding:
    """It is well."""
    return Finding(name, Level.OK, text)


def note(name: str, text: str, advice: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(name, Level.NOTE, text, advice)


def problem(name: str, text: str, advice: str) -> Finding:
    """It does not work, or messages can get lost, or strangers can come in."""
    return Finding(name, Level.PROBLEM, text, advice)


Check = Callable[[], Iterable[Finding]]


def run(checks: dict[str, Check], *, patience: float = PATIENCE) -> Iterator[Finding]:
    """What the checks find, in their order, each in a thread of its own.

    The names, in English, stand for checks that fail or take too long, which hold up no other.
    """
    found: dict[str, list[Finding]] = {}
    language = get_language() or "en"
    threads = [
        threading.Thread(target=_look, args=(name, check, found, language), name=f"check {name}", daemon=True)
        for name, check in checks.items()
    ]
    for thread in threads:
        thread.start()
    deadline = monotonic() + patience
    for name, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, deadline - monotonic()))
        late = problem(
            _(name),
            _("No answer within {patience:.0f} s.").format(patience=patience),
            _("See whether it hangs or cannot be reached."),
        )
        yield from found.get(name, [late])


def _look(name: str, check: Check, found: dict[str, list[Finding]], language: str) -> None:
    with override(language):  # of the reader: a thread begins with none
        found[name] = _findings(name, check)


def _findings(name: str, check: Check) -> list[Finding]:
    try:
        with suppress(DatabaseError, InterfaceError):  # the checks that need the database report that it is away
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET statement_timeout = {STATEMENT}")
        return list(check())
    except (DatabaseError, InterfaceError):
        return [problem(_(name), _("Not checked: the database cannot answer."), _("See the lines about it."))]
    except Exception as error:
        text = _("The check failed: {name}: {error}").format(name=type(error).__name__, error=error)
        return [problem(_(name), text, _("Report this as a bug."))]
    finally:
        connections.close_all()
