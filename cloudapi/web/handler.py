"""How the web process answers HTTP requests: in a few threads that stay, with long polls and streams."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from time import monotonic
from typing import IO

import uvicorn
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import ResolverMatch

from cloudapi.monitoring import requests
from cloudapi.rest.rate_limit import HAS_WAITED
from devices.calls.long_poll import Watcher
from mqtt_bridge.monitoring import log_fields

PIECE = 65_536  # bytes of a stream, read at a time


class Handler(ASGIHandler):
    """Django's handler, but all middleware and the view run in one go, in one of a few threads that stay.

    They are synchronous, and Django would go to the event loop and back between them. It also makes a thread for every
    request, which opens its own database connection and leaves it to the garbage collector.

    A response that `waits_for` a service call (devices/calls/long_poll.py) is not sent. When the wait is over, which
    takes no thread, the request is answered once more from its beginning: rights and rows are read anew.

    A stream is read in these threads too, a piece at a time; Django would read all of it before sending the first byte.
    """

    # Django's own makes two threads more for each request: one for its signals, and one that waits for that to end.
    __call__ = ASGIHandler.handle  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="request")
        self._respond_in_thread = sync_to_async(self.get_response, thread_sensitive=False, executor=threads)
        self._read_in_thread = sync_to_async(read_piece, thread_sensitive=False, executor=threads)
        self.watcher = Watcher(threads, is_ending)

    def load_middleware(self, is_async: bool = False) -> None:
        """Load it for threads, whatever Django asks for."""
        super().load_middleware(is_async=False)

    def create_request(
        self, scope: Mapping[str, object], body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """As Django does, and give a body that came in chunks its length: without one REST takes it for empty."""
        found = super().create_request(scope, body_file)
        request = found[0]
        if request is not None and "HTTP_TRANSFER_ENCODING" in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return found

    async def get_response_async(self, request: ASGIRequest) -> HttpResponseBase:  # type: ignore[override]
        """What the middleware and the view answer."""

        async def pieces(content: Iterator[bytes]) -> AsyncIterator[bytes]:
            while piece := await self._read_in_thread(content):
                yield piece

        request_id = requests.id_of(request)
        log_fields.note(request_id=request_id)
        began = monotonic()
        response = await self._respond_in_thread(request)
        if (wait := getattr(response, "waits_for", None)) is None:
            if isinstance(response, StreamingHttpResponse) and not response.is_async:
                response.streaming_content = pieces(iter(response.streaming_content))  # type: ignore[arg-type]
            return requests.answered(request, response, request_id=request_id, seconds=monotonic() - began)
        await self.watcher.ended(*wait)
        again = self.request_class(request.scope, BytesIO())
        again.META[HAS_WAITED] = True
        began = monotonic()  # what the client wanted to wait for is not our time
        response = await self._respond_in_thread(again)
        return requests.answered(again, response, request_id=request_id, seconds=monotonic() - began)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Find the view, as Django does; the log names the device of the path from here on."""
        match = super().resolve_request(request)
        if sn := match.kwargs.get("sn"):
            log_fields.note(sn=str(sn))
        return match

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Run the middleware and the view in this thread."""
        # Django's signals for this go to another thread.
        close_old_connections()
        try:
            response = super().get_response(request)
            if hasattr(response, "waits_for"):
                response.close()
            return response
        finally:
            close_old_connections()


def read_piece(content: Iterator[bytes]) -> bytes:
    """Read the next PIECE of a stream, or a little more; empty at its end."""
    close_old_connections()
    gathered = bytearray()
    while len(gathered) < PIECE and (part := next(content, None)) is not None:
        gathered += part
    return bytes(gathered)


def is_ending() -> bool:
    """Whether uvicorn has been asked to end. It then finishes the requests that it has begun, without a word to us."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return isinstance(server, uvicorn.Server) and server.should_exit
