"""Sessions of people: the store, which notes whose session it is and where from, and how they end.

Django names this module in SESSION_ENGINE. The row that every request reads anyway has these columns, so that the list
of sessions costs no further query.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple, cast

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext

from mqtt_bridge.database.prepared import Parameter, Prepared
from organizations import audit
from organizations.audit import Actor
from organizations.people.models import UserSession

NOTED_EVERY: Final = timedelta(minutes=1)  # how exactly `last_used` is kept
# The first that matches: each also names some of the ones after it.
_BROWSERS: Final = (
    ("Edge", r"Edg\w*/"),
    ("Opera", r"OPR/|Opera"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/"),
    ("Safari", r"Safari/"),
)
_SYSTEMS: Final = (
    ("Windows", r"Windows"),
    ("Android", r"Android"),
    ("iOS", r"iPhone|iPad"),
    ("macOS", r"Mac OS X"),
    ("Linux", r"Linux|X11"),
)


class _Unexpired(NamedTuple):
    session_data: str
    last_used: datetime
    created: datetime
    address: str
    browser: str
    language: str | None
    time_zone: str | None


_UNEXPIRED: Final = Prepared(
    _Unexpired,
    lambda: UserSession.objects.filter(
        session_key=Parameter("key", models.CharField()), expire_date__gt=Parameter("now", models.DateTimeField())
    ).values_list(*_Unexpired._fields[:-2], "user__preference__language", "user__preference__time_zone"),
)


class SessionStore(DatabaseStore):
    """Django's store on our table; the middleware says who sent the request."""

    address = ""
    browser = ""
    last_used: datetime | None = None  # of the row that was read
    created: datetime | None = None
    _language = _time_zone = ""

    @classmethod
    def get_model_class(cls) -> type[UserSession]:
        return UserSession

    def load(self) -> dict[str, object]:
        row = next(iter(_UNEXPIRED(key=self.session_key, now=timezone.now())), None)
        if row is None:
            self._session_key = None
            return {}
        self.last_used, self.created = row.last_used, row.created
        self.address, self.browser = self.address or row.address, self.browser or row.browser
        self._language, self._time_zone = row.language or "", row.time_zone or ""
        return self.decode(row.session_data)

    def preference(self) -> tuple[str, str]:
        """Language and time zone that the person has chosen; "" for what is not, or where nobody is signed in."""
        self.get(SESSION_KEY)  # reads the row
        return self._language, self._time_zone

    def create_model_instance(self, data: Mapping[str, object]) -> UserSession:
        row = cast(UserSession, super().create_model_instance(dict(data)))
        now = timezone.now()
        row.user_id = int(str(data[SESSION_KEY])) if SESSION_KEY in data else None
        row.address, row.browser, row.last_used = self.address, self.browser, now
        row.created = self.created or now
        self.last_used = now
        return row

    def cycle_key(self) -> None:
        """Django's, at each sign-in: the session begins then."""
        self.created = None
        super().cycle_key()

    def flush(self) -> None:
        """Django's, when someone signs out."""
        self.created = None
        super().flush()


class SessionMiddleware(DjangosMiddleware):
    """Django's, and the sender's address and browser."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        session = cast(SessionStore, request.session)
        session.address = request.META.get("REMOTE_ADDR", "")[:45]
        session.browser = request.headers.get("User-Agent", "")[:300].replace("\0", "")

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Note the use of a session that is not written anyway, at most once a minute."""
        session = cast(SessionStore, request.session)
        now = timezone.now()
        is_due = session.last_used is not None and now - session.last_used >= NOTED_EVERY
        if is_due and not session.modified and session.session_key:
            seen = {"last_used": now, "address": session.address, "browser": session.browser}
            UserSession.objects.filter(pk=session.session_key).update(**seen)
        return super().process_response(request, response)


def of_user(user: User) -> list[UserSession]:
    """The sessions with which this user is signed in now, the last used first."""
    rows = UserSession.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-last_used")
    own = user.get_session_auth_hash()  # a password that was changed since then has ended a session
    return [row for row in rows if constant_time_compare(row.get_decoded().get(HASH_SESSION_KEY, ""), own)]


def end(users: Iterable[User], *, actor: Actor, keep: str | None = None) -> int:
    """End the sessions of these users, but not the one with the key `keep`, audited; returns how many.

    Their WebSockets close too: devices/live/revocation.py sees each row that is deleted.
    """
    ended = 0
    with transaction.atomic():
        for user in users:
            rows = UserSession.objects.filter(user=user).exclude(pk=keep or "")
            ended += (count := rows.delete()[0])
            if count:
                after = {"ended": count}
                audit.record([audit.event(actor, "end sessions", user, organization_id=None, after=after)])
    return ended


def browser_name(user_agent: str) -> str:
    """What people call this browser: "Firefox on Windows"."""
    browser = next((name for name, pattern in _BROWSERS if re.search(pattern, user_agent)), "")
    system = next((name for name, pattern in _SYSTEMS if re.search(pattern, user_agent)), "")
    if browser and system:
        return gettext("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or user_agent[:40] or gettext("unknown")
