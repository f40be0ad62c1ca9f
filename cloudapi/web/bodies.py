"""How large a request's body may be, how slow, and how many at once: looked at before anything is read, by anybody."""

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from asgiref.typing import ASGIReceiveCallable, HTTPScope, Scope
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.utils.functional import lazy
from django.utils.translation import get_language_from_request, gettext, gettext_lazy, override

from cloudapi.rest.guesses import client_of
from cloudapi.rest.problems import MEDIA_TYPE, problem

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Event = Mapping[str, object]

FORM: Final = 65_536  # bytes of a form around a file
UPLOADS: Final = re.compile(r"/api/v1/license-files/|/admin/licenses/licensefile/add/")
SECONDS: Final = 20.0  # for any body, and
SLOWEST: Final = 10_000  # bytes a second for a larger one
SMALL: Final = 65_536  # bytes that a body says to have at most: who sends many large ones keeps no sign-in out
BUSY: Final = 10  # seconds


CROWDED: Final = gettext_lazy("Too many large requests arrive at once. Try again in ten seconds.")
TITLES: Final = {
    408: gettext_lazy("What you sent did not arrive"),
    413: gettext_lazy("What you sent is too large"),
    503: gettext_lazy("Not available now"),
}


class Room:
    """Bytes of bodies in this process, read and not yet answered; one client has half of the room at most."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken: Counter[str] = Counter()

    def take(self, client: str, number: int) -> bool:
        """Take so many bytes; returns whether there was room."""
        if self._taken.total() + number > self._number or self._taken[client] + number > self._number // 2:
            return False
        self._taken[client] += number
        return True

    def leave(self, client: str, number: int) -> None:
        """Give them back."""
        self._taken[client] -= number
        if self._taken[client] <= 0:
            del self._taken[client]


# What is beyond 2.5 MB Django writes to /tmp, which has 64 MB in compose.yaml.
_large: Final = Room(3 * (settings.LICENSE_FILE_CAP + FORM))
_small: Final = Room(32 * 2**20)


class LimitedBodies:
    """Answers 413 for a body that is too large, 408 for one that does not come, 503 for one that has no room beside the
    others, and closes the connection.
    """

    def __init__(self, application: Callable[..., Awaitable[object]]) -> None:
        self.application = application

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: Callable[[Event], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" not in headers and length in (b"", b"0"):
            await self.application(scope, receive, send)
            return
        cap = cap_of(scope["path"])
        if length.isdigit() and int(length) > cap:
            await refuse(scope, send, 413, "too_large", too_large(cap))
            return
        body = Body(scope, receive, send, cap, _small if length.isdigit() and int(length) <= SMALL else _large)
        try:
            await self.application(scope, body.receive, body.send)
        finally:
            body.leave()


class Body:
    """A body on its way to the application, which finds the client gone when it was refused."""

    def __init__(
        self,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: Callable[[Event], Awaitable[None]],
        cap: int,
        room: Room,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._cap = cap
        self._room = room
        client = scope.get("client")
        self._client = client_of(client[0]) if client else ""
        self._taken = 0
        self._read = 0
        self._is_complete = False
        self._is_refused = False
        self._began = asyncio.get_running_loop().time()

    async def receive(self) -> Event:
        if self._is_complete:  # from here it waits for the client to go, which takes its time
            return await self._receive()
        deadline = self._began + SECONDS + self._read / SLOWEST
        try:
            async with asyncio.timeout_at(deadline):
                event = await self._receive()
        except TimeoutError:
            return await self._refuse(408, "too_slow", gettext_lazy("The body did not come in time."))
        if event["type"] == "http.request":
            number = len(event.get("body", b""))
            self._read += number
            self._is_complete = not event.get("more_body", False)
            if self._read > self._cap:
                return await self._refuse(413, "too_large", too_large(self._cap))
            if not self._room.take(self._client, number):
                return await self._refuse(503, "overloaded", CROWDED)
            self._taken += number
        return event

    async def send(self, event: Event) -> None:
        if not self._is_refused:
            await self._send(event)

    def leave(self) -> None:
        """The request is answered: its body is gone."""
        self._room.leave(self._client, self._taken)

    async def _refuse(self, status: int, code: str, words: "StrOrPromise") -> Event:
        self._is_refused = True
        await refuse(self._scope, self._send, status, code, words)
        return {"type": "http.disconnect"}


def _too_large(cap: int) -> str:
    text = gettext("The body is too large: at most {size} are allowed here.")
    return text.format(size=filesizeformat(cap)).replace("\xa0", " ")


too_large = lazy(_too_large, str)


def cap_of(path: str) -> int:
    """How many bytes a body to this path may have."""
    if UPLOADS.fullmatch(path):
        return settings.LICENSE_FILE_CAP + FORM
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE


async def refuse(
    scope: HTTPScope, send: Callable[[Event], Awaitable[None]], status: int, code: str, words: "StrOrPromise"
) -> None:
    """Answer, and close the connection: what else comes on it is the rest of the body.

    In the language that the headers ask for: nothing is known of a session yet.
    """
    request = ASGIRequest(scope, io.BytesIO())
    with override(get_language_from_request(request)):
        if scope["path"].startswith("/api/"):
            kind, text = MEDIA_TYPE, json.dumps(problem(status, code, str(words)))
        elif "text/html" in request.headers.get("Accept", ""):  # a browser; it would take any text, too
            kind = "text/html; charset=utf-8"
            text = render_to_string("error.html", {"title": TITLES[status], "text": words})
        else:
            kind, text = "text/plain; charset=utf-8", f"{words}\n"
    body = text.encode()
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *([(b"retry-after", b"%d" % BUSY)] if status == 503 else []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
