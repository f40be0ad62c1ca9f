"""Keeps a server in debug mode, whose error pages show too much, to this machine."""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, Scope


class LoopbackOnly:
    """Lets requests through to an application only if they came in at a loopback address."""

    def __init__(self, application: ASGI3Application) -> None:
        self._application = application

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: Callable[[Mapping[str, object]], Awaitable[None]]
    ) -> None:
        """Answer 403, or close the handshake with 4403, at any other address."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        server = scope.get("server")
        host = server[0] if server else ""
        try:
            found = ipaddress.ip_address(host)
            is_loopback = (getattr(found, "ipv4_mapped", None) or found).is_loopback
        except ValueError:  # no address: a test, a socket in the file system
            is_loopback = True
        if is_loopback:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            text = f"DEBUG is on: this server answers at 127.0.0.1 only, not at {host}.\n"
            await send({"type": "http.response.body", "body": text.encode()})
