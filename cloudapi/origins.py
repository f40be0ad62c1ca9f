"""Which pages may open a WebSocket: our own. Cookies go along with a handshake from any page of the world."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class SameOriginOnly:
    """Refuses handshakes, with HTTP 403, whose `Origin` is missing, foreign or malformed.

    Stricter than channels' OriginValidator, which lets in every page where ALLOWED_HOSTS is `*`, and pages of
    other ports and schemes of an allowed host.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        is_ours = is_own(headers.get(b"origin", ""), host=headers.get(b"host", ""))
        await (self.application if is_ours else WebsocketDenier())(scope, receive, send)


def is_own(origin: str, *, host: str) -> bool:
    """Whether this is the origin of PUBLIC_URL, or of an allowed host that the browser also asks for the socket."""
    public = urlsplit(settings.PUBLIC_URL)
    if origin.lower() == f"{public.scheme}://{public.netloc}".lower():
        return True
    domain, _ = split_domain_port(host)
    is_allowed = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
    return is_allowed and origin.lower() == f"{public.scheme}://{host}".lower()
