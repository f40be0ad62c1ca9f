"""The web process, HTTP and WebSocket: `uvicorn cloudapi.asgi:application`."""

import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import django
from asgiref.sync import sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
# WhiteNoise hands over static files in small synchronous pieces, which Django remarks upon and serves well.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
# A frame for a browser passes the interpreter's lock several times, and a thread that renders a page may hold it for so
# long each time (seconds; 0.005 if not set).
sys.setswitchinterval(0.0005)


class Handler(ASGIHandler):
    """Django's handler, but all middleware and the view run in one go, in one of a few threads that stay.

    They are synchronous, and Django would go to the event loop and back between them. It also makes a thread for every
    request, which opens a database connection of its own and leaves it to the garbage collector.
    """

    def __init__(self) -> None:
        super().__init__()
        threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="request")
        self._in_thread = sync_to_async(self._answer, thread_sensitive=False, executor=threads)

    def load_middleware(self, is_async: bool = False) -> None:
        """Load it for threads, whatever Django asks for."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """What the middleware and the view answer."""
        return await self._in_thread(request)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        # Django's signals for this go to another thread.
        close_old_connections()
        try:
            return self.get_response(request)
        finally:
            close_old_connections()


django.setup(set_prefix=False)  # loads the apps that the imports below need

from cloudapi.origins import KeyElseSession, SameOriginOnly  # noqa: E402
from cloudapi.urls import websocket_urlpatterns  # noqa: E402

sockets = URLRouter(websocket_urlpatterns)
application = ProtocolTypeRouter(
    {
        "http": Handler(),
        # Whose key or session it is, is read by the socket itself, again and again (devices/streaming.py).
        "websocket": KeyElseSession(by_key=sockets, by_session=SameOriginOnly(SessionMiddlewareStack(sockets))),
    }
)
