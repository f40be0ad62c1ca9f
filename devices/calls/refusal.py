"""Why a call is not made, for people and for the doors that read it out."""

from enum import Enum
from typing import Final

MOVED: Final = "This dock belongs to another organization meanwhile, or to none."


class Refused(Exception):  # noqa: N818  (a verdict that every door reads out)
    """A call is not made, and the text says to a person why."""

    class Kind(Enum):
        """For whoever has to choose a status code or a page."""

        INVALID = "invalid"
        UNCLAIMED = "unclaimed"
        DISABLED = "disabled"
        OFFLINE = "offline"
        BUSY = "busy"
        CLOSED = "closed"
        UNAVAILABLE = "unavailable"

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
