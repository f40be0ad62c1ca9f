"""Who may open a WebSocket: programs with an API key, and our own pages. Browsers send cookies from any page."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, cast
from urllib.parse import urlsplit

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, WebSocketScope
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from devices.live.subscription import KeyHolder

# What browsers send by themselves once people have signed in at a proxy in front of this server: no API key.
OF_BROWSERS: Final = frozenset({"basic", "digest", "negotiate", "ntlm"})

WebSocketApplication = Callable[[WebSocketScope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


class KeyElseSession:
    """Hands a handshake with an `Authorization` header to `by_key`, whatever its cookies, and others to `by_session`.

    No page can set that header, so its origin does not matter. `by_key` finds the holder of the key as `who` in the
    scope. No variable here holds the key itself: they live as long as the socket.
    """

    def __init__(self, *, by_key: WebSocketApplication, by_session: WebSocketApplication) -> None:
        self.by_key = by_key
        self.by_session = by_session

    async def __call__(self, scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        client = scope.get("client")
        who = key_holder(scope["headers"], address=client[0] if client else "")
        if who is None:
            await self.by_session(scope, receive, send)
        else:
            others = [header for header in scope["headers"] if header[0] != b"authorization"]
            await self.by_key(cast(WebSocketScope, {**scope, "headers": others, "who": who}), receive, send)


def key_holder(headers: Iterable[tuple[bytes, bytes]], *, address: str = "") -> KeyHolder | None:
    """The holder of the key in these headers, even of a wrong key; None if the session decides."""
    shown = [value.decode("latin1") for name, value in headers if name == b"authorization"]
    scheme, _, key = ",".join(shown).partition(" ")  # two headers make no valid key
    if not shown or scheme.lower() in OF_BROWSERS:
        return None
    return KeyHolder(key if scheme.lower() == "api-key" else "", address)


class SameOriginOnly:
    """Refuses handshakes, with HTTP 403, whose `Origin` is missing, foreign or malformed.

    Stricter than channels' OriginValidator, which lets in every page if ALLOWED_HOSTS is `*`, and pages at other ports
    and schemes of an allowed host.
    """

    def __init__(self, application: WebSocketApplication) -> None:
        self.application = application

    async def __call__(self, scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
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
