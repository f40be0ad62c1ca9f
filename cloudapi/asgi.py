"""The web process, HTTP and WebSocket: `uvicorn cloudapi.asgi:application`."""

import gc
import logging
import os
import sys

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
# A frame for a browser passes the interpreter's lock several times, and a thread that renders a page may hold it for so
# long each time (seconds; 0.005 if not set).
sys.setswitchinterval(0.0005)
django.setup(set_prefix=False)  # loads the apps that the imports below need

from cloudapi.checks import check_all  # noqa: E402
from cloudapi.urls import websocket_urlpatterns  # noqa: E402
from cloudapi.web.bodies import LimitedBodies  # noqa: E402
from cloudapi.web.handler import Handler  # noqa: E402
from cloudapi.web.log_masking import MaskTokens  # noqa: E402
from cloudapi.web.loopback import LoopbackOnly  # noqa: E402
from cloudapi.web.origins import KeyElseSession, SameOriginOnly  # noqa: E402
from mqtt_bridge.database import timeouts  # noqa: E402
from mqtt_bridge.monitoring import log_fields  # noqa: E402

log_fields.name_process("web")
logging.getLogger("uvicorn.access").addFilter(MaskTokens())
check_all()
timeouts.limit(timeouts.WEB)
sockets = URLRouter(websocket_urlpatterns)
protocols = ProtocolTypeRouter(
    {
        "http": LimitedBodies(Handler()),
        # The socket itself reads whose key or session it is, again and again (devices/live/websocket.py).
        "websocket": KeyElseSession(by_key=sockets, by_session=SameOriginOnly(SessionMiddlewareStack(sockets))),
    }
)
application = LoopbackOnly(protocols) if settings.DEBUG else protocols
# What is loaded by now stays to the end. To look for garbage in it takes a tenth of a second, in one of many requests.
gc.freeze()
