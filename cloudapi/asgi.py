"""The web process, HTTP and WebSocket: `uvicorn cloudapi.asgi:application`."""

import os
import warnings

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
# WhiteNoise hands over static files in small synchronous pieces, which Django remarks upon and serves well.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

http = get_asgi_application()  # loads the apps that the imports below need

from cloudapi.origins import SameOriginOnly  # noqa: E402
from cloudapi.urls import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        # Who is signed in with the session is read by the socket itself, again and again (devices/streaming.py).
        "websocket": SameOriginOnly(SessionMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
