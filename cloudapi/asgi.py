"""The web process, HTTP and WebSocket: `uvicorn cloudapi.asgi:application`."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import django
import uvicorn
from asgiref.sync import sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
# A frame for a browser passes the interpreter's lock several times, and a thread that renders a page may hold it for so
# long each time (seconds; 0.005 if not set).
sys.setswitchinterval(0.0005)
PIECE = 65_536  # bytes of what is streamed, read at a time


def is_ending() -> bool:
    """Whether uvicorn was told to end. It waits then for what it has begun to answer, and says so to nobody."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return isinstance(server, uvicorn.Server) and server.should_exit


class Handler(ASGIHandler):
    """Django's handler, but all middleware and the view run in one go, in one of a few threads that stay.

    They are synchronous, and Django would go to the event loop and back between them. It also makes a thread for every
    request, which opens a database connection of its own and leaves it to the garbage collector.

    A response that `waits_for` a service call (devices/calls/long_poll.py) is not sent. When the wait is over, which
    takes no thread, the request is answered once more from its beginning: rights and rows are read anew.

    What a response streams is read in these threads too, a piece at a time; Django would read all of it before the
    first byte is sent.
    """

    def __init__(self) -> None:
        super().__init__()
        threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="request")
        self._in_thread = sync_to_async(self._answer, thread_sensitive=False, executor=threads)
        self._piece_in_thread = sync_to_async(_piece, thread_sensitive=False, executor=threads)
        self.watcher = Watcher(threads, is_ending)

    def load_middleware(self, is_async: bool = False) -> None:
        """Load it for threads, whatever Django asks for."""
        super().load_middleware(is_async=False)

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """As Django does; a body that came in chunks has a length by now, without which REST would take it for none."""
        found = super().create_request(scope, body_file)
        request = found[0]
        if request is not None and "HTTP_TRANSFER_ENCODING" in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return found

    async def get_response_async(self, request: ASGIRequest) -> HttpResponseBase:  # type: ignore[override]
        """What the middleware and the view answer."""
        response = await self._in_thread(request)
        if (wait := getattr(response, "waits_for", None)) is None:
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                response.streaming_content = self._pieces(iter(response.streaming_content))  # type: ignore[arg-type]
            return response
        await self.watcher.ended(*wait)
        again = self.request_class(request.scope, BytesIO())
        again.META[HAS_WAITED] = True
        return await self._in_thread(again)

    async def _pieces(self, content: Iterator[bytes]) -> AsyncIterator[bytes]:
        while piece := await self._piece_in_thread(content):
            yield piece

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        # Django's signals for this go to another thread.
        close_old_connections()
        try:
            response = self.get_response(request)
            if hasattr(response, "waits_for"):
                response.close()
            return response
        finally:
            close_old_connections()


def _piece(content: Iterator[bytes]) -> bytes:
    """The next PIECE of what is streamed, or a little more; empty at its end."""
    close_old_connections()
    gathered = bytearray()
    while len(gathered) < PIECE and (part := next(content, None)) is not None:
        gathered += part
    return bytes(gathered)


django.setup(set_prefix=False)  # loads the apps that the imports below need

from cloudapi.checks import AtHome, check_all  # noqa: E402
from cloudapi.origins import KeyElseSession, SameOriginOnly  # noqa: E402
from cloudapi.rest.rate_limit import HAS_WAITED  # noqa: E402
from cloudapi.urls import websocket_urlpatterns  # noqa: E402
from devices.calls.long_poll import Watcher  # noqa: E402
from mqtt_bridge import timeouts  # noqa: E402

check_all()
timeouts.limit(timeouts.WEB)
sockets = URLRouter(websocket_urlpatterns)
protocols = ProtocolTypeRouter(
    {
        "http": Handler(),
        # Whose key or session it is, is read by the socket itself, again and again (devices/live/websocket.py).
        "websocket": KeyElseSession(by_key=sockets, by_session=SameOriginOnly(SessionMiddlewareStack(sockets))),
    }
)
application = AtHome(protocols) if settings.DEBUG else protocols
