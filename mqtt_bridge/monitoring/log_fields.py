"""What a log record is about, beside its text: set where it is known, and added to every record until it ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

NAMES: Final = ("sn", "tid", "bid", "request_id", "call", "task")  # in this order

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields")  # no default: it would be one for all
_process = ["manage"]


def name_process(kind: str) -> None:
    """Say what this process is: web, bridge, worker, beat; manage.py's other commands need not."""
    _process[0] = kind


def process_kind() -> str:
    return _process[0]


def current() -> Mapping[str, str]:
    """What the code that runs now is about."""
    return _fields.get({})


def note(**fields: str) -> None:
    """Add these fields until the task or thread ends: for a request, which has a context of its own."""
    _fields.set({**current(), **fields})


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Add these fields while the body lasts."""
    token = _fields.set({**current(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)
