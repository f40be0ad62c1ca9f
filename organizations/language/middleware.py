"""Each request in the language and the zone of its person; else as the browser says; else English and UTC.

The cookie `django_language` is what was chosen where nobody is signed in. The cookie `zone` is the browser's, set by
`static/zone.js`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import cast

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from organizations import time_zones
from organizations.time_zones import Zone

ZONE_COOKIE = "zone"


class Middleware:
    """In place of Django's LocaleMiddleware; nothing stays in the thread when the request is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        language, zone = _preferred(request)
        with _reading(language, zone):
            request.LANGUAGE_CODE = language
            response = self._get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _each(cast(Iterable[bytes], response.streaming_content), language, zone)
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        response.headers.setdefault("Content-Language", language)
        return response


def _preferred(request: HttpRequest) -> tuple[str, Zone]:
    language = zone = ""
    with suppress(DatabaseError):  # a page that needs no database is shown without one
        language, zone = request.session.preference()  # type: ignore[attr-defined]
    zone = zone or request.COOKIES.get(ZONE_COOKIE, "").replace("%2F", "/")
    language = language or translation.get_language_from_request(request)
    return language, Zone(zone if zone in time_zones.names() else "UTC")


def _reading(language: str, zone: Zone) -> ExitStack:
    with ExitStack() as stack:
        stack.enter_context(translation.override(language))
        stack.enter_context(timezone.override(zone))
        return stack.pop_all()


def _each(pieces: Iterable[bytes], language: str, zone: Zone) -> Iterator[bytes]:
    """What is streamed is made after the request, maybe in other threads."""
    iterator = iter(pieces)
    while True:
        with _reading(language, zone):
            try:
                piece = next(iterator)
            except StopIteration:
                return
        yield piece
