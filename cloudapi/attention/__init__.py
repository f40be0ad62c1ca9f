"""What needs a person now: the problems on the start page.

`KINDS` is all of it: each kind of problem with its words, its query and its link. Platform staff see the problems of
everybody, members those of their organizations. What somebody acknowledged is shown apart.
"""

from cloudapi.attention.acknowledging import Known
from cloudapi.attention.items import Found, Item, look
from cloudapi.attention.kinds import DOCKS_FILTER, KINDS, Kind, Level
from cloudapi.attention.rows import Visit, docks, is_acknowledged

__all__ = [
    "DOCKS_FILTER",
    "KINDS",
    "Found",
    "Item",
    "Kind",
    "Known",
    "Level",
    "Visit",
    "docks",
    "is_acknowledged",
    "look",
]
