"""What waits in a control connection; apart from the metrics, which its process has no use for."""

from typing import NamedTuple


class Backlog(NamedTuple):
    """Figures of one moment."""

    inbox: int = 0  # messages to be handled
    inbox_bytes: int = 0
    unacknowledged: int = 0  # messages that the broker still keeps for us
    unconfirmed: int = 0  # replies that the broker has not acknowledged
