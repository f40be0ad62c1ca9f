"""From a password, or from an identity provider's word, to a session.

A session belongs to nobody until all that the person must show was shown. So no door (admin, REST, WebSockets) has to
ask for the second factor.
"""

import time
from functools import cache
from typing import Final, NamedTuple

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model, login
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db.models import Case, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare

from organizations.people import second_factor

PENDING: Final = "sign_in"  # where a session keeps who showed the first factor
PENDING_FOR: Final = 600  # seconds
BACKEND: Final = "organizations.people.sign_in.Backend"
SOMEBODY: Final = -1  # in place of a primary key


class Backend(ModelBackend):
    """Django's, but a session of a user who must set up a second factor first belongs to nobody."""

    def get_user(self, user_id: int) -> User | None:
        """One query, for every request and every check of a WebSocket."""
        statement, parameters = _compiled(settings.STAFF_SECOND_FACTOR_REQUIRED)
        given = [user_id if parameter == SOMEBODY else parameter for parameter in parameters]
        user: User | None = next(iter(get_user_model()._default_manager.raw(statement, given)), None)
        if user is None or user.lacks or not self.user_can_authenticate(user):  # type: ignore[attr-defined]
            return None
        return user


@cache
def _compiled(_is_staff_required: bool) -> tuple[str, tuple[object, ...]]:
    """The statement for a user with `lacks`: Django takes a tenth of a request's time to compile it."""
    lacks = Case(When(second_factor.lacking(), then=Value(1)), default=Value(0))
    users = get_user_model()._default_manager.filter(pk=SOMEBODY).annotate(lacks=lacks)
    return users.query.sql_with_params()


class Pending(NamedTuple):
    """A person who showed the first factor, and the page that they want."""

    user: User
    next_url: str


def proceed(request: HttpRequest, user: User, next_url: str) -> HttpResponse:
    """Sign in who showed the first factor, or lead them to what is still missing."""
    has_second = second_factor.find(user) is not None
    if not has_second and not second_factor.is_required(user):
        login(request, user, backend=BACKEND)
        return redirect(next_url)
    request.session.flush()
    request.session[PENDING] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "next": next_url,
        "at": time.time(),
    }
    return redirect("sign_in_code" if has_second else "second_factor_set_up")


def pending(request: HttpRequest) -> Pending | None:
    """Who has shown the first factor in this session, a short time ago."""
    found = request.session.get(PENDING)
    if not isinstance(found, dict) or not 0 <= time.time() - found["at"] < PENDING_FOR:
        return None
    user = get_user_model().objects.filter(pk=found["user"], is_active=True).first()
    if user is None or not constant_time_compare(found["hash"], user.get_session_auth_hash()):
        return None
    return Pending(user, found["next"])


def complete(request: HttpRequest, person: Pending) -> None:
    """Sign in who showed everything."""
    del request.session[PENDING]
    login(request, person.user, backend=BACKEND)


def held_up(request: HttpRequest) -> User | None:
    """Whose session this would be if they did not have to set up a second factor first."""
    user = get_user_model().objects.filter(pk=request.session.get(SESSION_KEY, 0), is_active=True).first()
    if user is None or request.user.is_authenticated:
        return None
    is_own = constant_time_compare(request.session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    return user if is_own else None
