"""The web process with shorter intervals: `uvicorn tests.quick_asgi:application`."""

from cloudapi.asgi import application
from devices.live import websocket

websocket.CHECK_EVERY = 1.0

__all__ = ["application"]
