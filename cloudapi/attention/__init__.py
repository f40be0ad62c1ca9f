"""What needs a person now: the problems on the start page.

`KINDS` is all of it: each kind of problem with its words, its query and its link. Platform staff see the problems of
everybody, members those of their organizations.
"""

from cloudapi.attention.items import Item, items
from cloudapi.attention.kinds import DOCKS_FILTER, KINDS, Kind, Level
from cloudapi.attention.rows import Visit, docks

__all__ = ["DOCKS_FILTER", "KINDS", "Item", "Kind", "Level", "Visit", "docks", "items"]
