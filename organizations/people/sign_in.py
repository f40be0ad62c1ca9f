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
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare

from mqtt_bridge.database.prepared import Parameter, Prepared
from organizations.people import second_factor

PENDING: Final = "sign_in"  # where a session keeps who showed the first factor
PENDING_FOR: Final = 600  # seconds
BACKEND: Final = "organizations.people.sign_in.Backend"
_PK: Final = Parameter("pk", models.IntegerField())


class _Granted(NamedTuple):
    app_label: str
    codename: str


_GRANTED: Final = Prepared(
    _Granted,
    lambda: (
        Permission.objects.filter(Q(user=_PK) | Q(group__user=_PK))
        .order_by()
        .values_list("content_type__app_label", "codename")
        .distinct()
    ),
)


class Backend(ModelBackend):
    """Django's, but a session of a user who must set up a second factor first belongs to nobody."""

    def get_user(self, user_id: int) -> User | None:
        """One query, for every request and every check of a WebSocket."""
        user = next(iter(_without_lack(settings.STAFF_SECOND_FACTOR_REQUIRED)(pk=user_id)), None)
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: User | AnonymousUser, obj: models.Model | None = None) -> set[str]:
        """As Django, but in one query: every page of the admin asks for a member's, who seldom has any."""
        if not isinstance(user_obj, User) or not user_obj.is_active or user_obj.is_superuser or obj is not None:
            return super().get_all_permissions(user_obj, obj)
        if "_perm_cache" not in vars(user_obj):
            vars(user_obj)["_perm_cache"] = {f"{app}.{name}" for app, name in _GRANTED(pk=user_obj.pk)}
        return set(vars(user_obj)["_perm_cache"])


@cache
def _without_lack(_is_staff_required: bool) -> Prepared[User]:
    """The user with this primary key, unless they lack a second factor."""
    return Prepared(User, lambda: User.objects.filter(~second_factor.lacking(), pk=_PK))


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
    if SESSION_KEY not in request.session or request.user.is_authenticated:
        return None
    user = get_user_model().objects.filter(pk=request.session[SESSION_KEY], is_active=True).first()
    if user is None:
        return None
    is_own = constant_time_compare(request.session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    return user if is_own else None
