"""Who may open a WebSocket: programs with an API key, and our own pages, for cookies go along from any page."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from devices.live.subscription import KeyHolder

# What browsers send by themselves once people have signed in at a proxy before us: it tells us nothing.
OF_BROWSERS: Final = frozenset({"basic", "digest", "negotiate", "ntlm"})


class KeyElseSession:
    """A handshake with an `Authorization` header is judged by it alone, whatever its cookies; all others by session.

    No page can set that header, so no origin is asked for. `by_key` finds who shows the key as `who` in the scope.
    The key itself is in no variable here: they live as long as the socket.
    """

    def __init__(self, *, by_key: Any, by_session: Any) -> None:
        self.by_key = by_key
        self.by_session = by_session

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        who = key_holder(scope["headers"])
        if who is None:
            await self.by_session(scope, receive, send)
        else:
            others = [header for header in scope["headers"] if header[0] != b"authorization"]
            await self.by_key({**scope, "headers": others, "who": who}, receive, send)


def key_holder(headers: Iterable[tuple[bytes, bytes]]) -> KeyHolder | None:
    """Who these headers say it is, perhaps with a key that is none; None if they leave it to the session."""
    shown = [value.decode("latin1") for name, value in headers if name == b"authorization"]
    scheme, _, key = ",".join(shown).partition(" ")  # of two headers comes nothing that is a key
    if not shown or scheme.lower() in OF_BROWSERS:
        return None
    return KeyHolder(key if scheme.lower() == "api-key" else "")


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
