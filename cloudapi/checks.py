"""What every process looks at before it begins; `manage.py` does the same by itself."""

import ipaddress
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured


def check_all() -> None:
    """Raise ImproperlyConfigured with the words of all checks that find an error."""
    errors = [str(found) for found in checks.run_checks() if found.is_serious() and not found.is_silenced()]
    if errors:
        raise ImproperlyConfigured("\n".join(errors))


class AtHome:
    """An application in debug mode, which tells its visitors too much: it answers at this machine's loopback only."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 403, or close the handshake, when the address that was reached is one for others."""
        host = (scope.get("server") or ("",))[0]
        try:
            found = ipaddress.ip_address(host)
            is_home = (getattr(found, "ipv4_mapped", None) or found).is_loopback
        except ValueError:  # no address: a test, a socket in the file system
            is_home = True
        if is_home or scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            text = f"DEBUG is on: this server answers at 127.0.0.1 only, not at {host}.\n"
            await send({"type": "http.response.body", "body": text.encode()})
