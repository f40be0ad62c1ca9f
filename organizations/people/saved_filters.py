"""Lists as a person filtered, searched and sorted them, under a name."""

from django.http import QueryDict
from django.urls import NoReverseMatch, reverse

from organizations.people.models import SavedFilter

MOST = 20  # of one person on one list
NOT_KEPT = ("p", "e", "all")  # which page of the list it was, and what is no filter


def address_of(page: str) -> str | None:
    """Where the list with this URL name is; None: no list has it."""
    if not (page.startswith("admin:") and page.endswith("_changelist")):
        return None
    try:
        return reverse(page)
    except NoReverseMatch:
        return None


def kept(query: QueryDict) -> str:
    """What of a list's query string is kept."""
    copy = query.copy()
    for name in NOT_KEPT:
        copy.pop(name, None)
    return copy.urlencode()


def of_page(user_id: int, page: str) -> list[SavedFilter]:
    """What a person saved of a list, by name. One query."""
    return list(SavedFilter.objects.filter(user=user_id, page=page))


def save(user_id: int, *, page: str, name: str, query: str) -> bool:
    """Keep a query under this name, in place of an earlier one of this name; False: there are MOST already."""
    mine = SavedFilter.objects.filter(user=user_id, page=page)
    if mine.exclude(name=name).count() >= MOST:
        return False
    SavedFilter.objects.update_or_create({"query": query}, user_id=user_id, page=page, name=name)
    return True
