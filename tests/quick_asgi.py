"""The web process with shorter intervals: `uvicorn tests.quick_asgi:application`."""

from cloudapi.asgi import application
from cloudapi.web import bodies
from devices.live import websocket

websocket.CHECK_EVERY = 1.0
bodies.SECONDS = 3.0

__all__ = ["application"]
