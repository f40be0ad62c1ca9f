"""The web process with shorter intervals: `uvicorn tests.quick_asgi:application`."""

from cloudapi.asgi import application
from devices import streaming

streaming.CHECK_EVERY = 1.0

__all__ = ["application"]
