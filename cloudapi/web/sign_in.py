"""Guessing passwords: what is refused before a password is hashed, so that guessers take no thread from others.

A browser that has signed in before shows a signed cookie. It is counted for itself, so strangers behind the same proxy,
or with the same name, cannot lock its user out. All others are counted by address, by name and in all.
"""

import hashlib
import math
import secrets
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.translation import gettext, ngettext
from django.views.decorators.debug import sensitive_variables

from cloudapi.rest.guesses import EVERYBODY, Limit, client_of, refused_tries

# Failed tries. A window ends by the clock, so at a border twice as many are possible.
BY_BROWSER: Final = Limit("browser", 5, 900)  # of a browser that has signed in with this name before
BY_ADDRESS: Final = Limit("address", 30, 600)
BY_NAME: Final = Limit("name", 20, 900)
IN_ALL: Final = Limit("all", 300, 60)
BUSY: Final = 3.0  # seconds until a place is likely to be free
COOKIE: Final = "known_browser"
COOKIE_DAYS: Final = 180
NAMES: Final = 5  # that one browser is known for


class Places:
    """Places for threads that hash: so many at a time, and as many again may wait for one; nobody has all of them."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken: Counter[str] = Counter()  # by client, hashing or waiting
        self._hashing = 0
        self._changed = threading.Condition()

    def enter(self, client: str) -> bool:
        """Take a place, within BUSY seconds; returns whether there was one."""
        with self._changed:
            if self._taken.total() >= 2 * self._number or self._taken[client] >= self._number:
                return False
            self._taken[client] += 1
            if not self._changed.wait_for(lambda: self._hashing < self._number, BUSY):
                self._leave(client)
                return False
            self._hashing += 1
            return True

    def leave(self, client: str) -> None:
        """Give the place back."""
        with self._changed:
            self._hashing -= 1
            self._leave(client)
            self._changed.notify()

    def _leave(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


# A quarter of the threads at most, half of it for browsers that are known.
_places: Final = {is_known: Places(max(1, settings.WEB_THREADS // 8)) for is_known in (False, True)}


class Attempt:
    """One try to sign in with this name, from its admission to the end of its request."""

    def __init__(self, request: HttpRequest, name: str) -> None:
        self.name = name
        self.wait = 0.0  # seconds, if it is refused
        browser, names = known_browser(request)
        self.is_known = digest(name) in names
        address = client_of(request.META.get("REMOTE_ADDR", ""))
        self._client = f"{browser} {digest(name)}" if self.is_known else address
        self._place = digest(name) if self.is_known else address  # one user may have many browsers
        self._tries = 0
        self._counted: list[tuple[Limit, str]] = []
        self._has_place = False

    def count(self, limit: Limit, who: str) -> int:
        """Count this try, until it turns out to be right."""
        self._counted.append((limit, who))
        return limit.count(who)

    def refuse_wrong_clients(self) -> None:
        """Raise PermissionDenied if this client was wrong too often."""
        limit = BY_BROWSER if self.is_known else BY_ADDRESS
        self._tries = self.count(limit, self._client)
        if self._tries > limit.tries:
            self.refuse(limit.wait())

    def refuse_strangers(self) -> None:
        """Raise PermissionDenied if a stranger tries a name that was tried too often, or there are too many of them.

        A client's first try is let in even then, so that a flood of others refuses nobody who knows the password.
        """
        if self.is_known:
            return
        if self.count(BY_NAME, self.name) > BY_NAME.tries:
            self.refuse(BY_NAME.wait())
        if self.count(IN_ALL, EVERYBODY) > IN_ALL.tries and self._tries > 1:
            self.refuse(IN_ALL.wait())

    def take_place(self) -> None:
        """Raise PermissionDenied if too many passwords are being hashed."""
        self._has_place = _places[self.is_known].enter(self._place)
        if not self._has_place:
            self.refuse(BUSY)

    def refuse(self, wait: float) -> None:
        self.wait = wait
        raise PermissionDenied(gettext("Too many tries to sign in."))

    def failed(self) -> None:
        """The password was wrong, or never looked at: the try stays counted."""
        self._counted = []
        self.end()

    def end(self) -> None:
        """The request is answered, or the password was hashed."""
        if self._has_place:
            self._has_place = False
            _places[self.is_known].leave(self._place)
        while self._counted:
            limit, who = self._counted.pop()
            limit.count(who, -1)


class Backend(AxesStandaloneBackend):  # type: ignore[misc]
    """Refuses a try, or lets the backends after it look at the password; the first of AUTHENTICATION_BACKENDS."""

    @sensitive_variables("password", "credentials")
    def authenticate(self, request: HttpRequest | None, password: str | None = None, **credentials: object) -> None:
        """Raise PermissionDenied for a try too many."""
        if request is None or not hasattr(request, "sign_in"):  # no browser: a script, a test of a form
            super().authenticate(request, password=password, **credentials)
            return
        name = str(credentials.get("username") or credentials.get("email") or "")
        if request.sign_in is not None:
            request.sign_in.end()
        attempt = request.sign_in = Attempt(request, name)
        try:
            attempt.refuse_wrong_clients()
            super().authenticate(request, password=password, **credentials)
            attempt.refuse_strangers()
            attempt.take_place()
        except PermissionDenied:
            refused_tries.labels("password").inc()
            request.axes_locked_out = True  # type: ignore[attr-defined]  # so that axes writes no row for it, and `too_many` answers
            raise


class Middleware:
    """Frees what a try to sign in has taken, and makes a browser known when its user signed in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.sign_in = None  # type: ignore[attr-defined]
        try:
            response = self._get_response(request)
        finally:
            attempt: Attempt | None = request.sign_in  # type: ignore[attr-defined]
            if attempt is not None:
                attempt.end()
        if name := getattr(request, "signed_in_name", ""):
            remember(request, response, name)
        return response


@receiver(user_login_failed)
def _failed(request: HttpRequest | None = None, **_signal: object) -> None:
    if getattr(request, "sign_in", None) is not None:
        request.sign_in.failed()  # type: ignore[union-attr]


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: AbstractBaseUser, **_signal: object) -> None:
    attempt = getattr(request, "sign_in", None)
    request.signed_in_name = attempt.name if attempt else user.get_username()  # type: ignore[attr-defined]


def is_known(request: HttpRequest, _credentials: object = None) -> bool:
    """Whether a browser that is known for the name tries it: axes, which counts names at addresses, leaves it to us."""
    attempt = getattr(request, "sign_in", None)
    return attempt is not None and bool(attempt.is_known)


def client_address(request: HttpRequest) -> str:
    """By which address axes counts."""
    return client_of(request.META.get("REMOTE_ADDR", ""))


def too_many(request: HttpRequest, *_given: object) -> HttpResponse:
    """The answer to a try too many."""
    attempt = getattr(request, "sign_in", None)
    wait = attempt.wait if attempt is not None and attempt.wait else settings.AXES_COOLOFF_TIME * 3600
    number = math.ceil(wait / 60)
    text = ngettext(
        "You have tried to sign in too often. Try again in {number} minute, or use a browser that you signed in with.",
        "You have tried to sign in too often. Try again in {number} minutes, or use a browser that you signed in with.",
        number,
    )
    headers = {"Retry-After": str(math.ceil(wait)), "Cache-Control": "no-store"}
    page = render_to_string(
        "error.html", {"title": gettext("Too many tries"), "text": text.format(number=number)}, request
    )
    return HttpResponse(page, status=429, headers=headers)


# --- browsers that have signed in before ----------------------------------------------------------------


def known_browser(request: HttpRequest) -> tuple[str, list[str]]:
    """The browser's own random name, and the digests of the names it has signed in with; empty for a stranger."""
    try:
        browser, names = signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=COOKIE_DAYS * 24 * 3600)
    except (signing.BadSignature, ValueError, TypeError):
        return "", []
    return str(browser), list(names)


def remember(request: HttpRequest, response: HttpResponseBase, name: str) -> None:
    """Let the browser show next time that this user has signed in there."""
    browser, names = known_browser(request)
    own = digest(name)
    names = [own, *(other for other in names if other != own)][:NAMES]
    response.set_cookie(
        COOKIE,
        signing.dumps([browser or secrets.token_urlsafe(16), names], salt=COOKIE),
        max_age=COOKIE_DAYS * 24 * 3600,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def digest(name: str) -> str:
    """What the cookie holds of a name."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
