"""Publishing commands."""

from enum import Enum, auto


class Receipt(Enum):
    DELIVERED = auto()
    NO_SUBSCRIBER = auto()
    UNCONFIRMED = auto()
    NOT_SENT = auto()
