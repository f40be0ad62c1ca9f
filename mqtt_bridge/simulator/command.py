"""What a dock is told to do and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]

# Of a dock's `result` (docs/protocol.md, "Result codes").
UNSUPPORTED = 314000  # not supported in the current state
DOCK_ERROR = 319999
BAD_PARAMETER = 325001
FAILED = 325003
NO_AIRCRAFT = 325012  # not connected


class Command(NamedTuple):
    """A `services` message."""

    tid: str
    bid: str
    method: str
    data: Json


@dataclass(frozen=True)
class Answer:
    """The `data` of the reply and of the events that follow it, `pause` seconds before each."""

    data: Json
    events: Sequence[Json] = ()
    pause: float = 0.0
