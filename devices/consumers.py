"""WebSockets of browsers and programs: a snapshot, then a frame for each change. The frames: docs/live.md."""

import asyncio
import contextlib
import functools
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from prometheus_client import Gauge

from cloudapi.rest.guesses import client_of
from devices.live import frame_sender, subscription
from devices.live.subscription import Subscription
from devices.live.websocket import (
    AWAY,
    BAD_REQUEST,
    INTERNAL_ERROR,
    NOT_FOUND,
    SEND_TIMEOUT,
    TOO_MANY,
    TRY_AGAIN,
    FrameStream,
)
from organizations.tenancy import Principal

logger = logging.getLogger(__name__)

Event = dict[str, object]  # of ASGI: a `type` and what belongs to it

LONGEST_REQUEST = 1024  # characters
sockets_open = Gauge("web_sockets_open", "Open WebSockets.", ["kind"], multiprocess_mode="livesum")
HANDSHAKES: Final = 1000  # at a time in one process; at most half of them from one address
# Of this process: by user or API key (in a handshake: by session or the beginning of a key), by address, and ALL.
_open: Final[Counter[str]] = Counter()
_handshakes: Final[Counter[str]] = Counter()
ALL: Final = ""


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """What both sockets do: identify the user, accept, let a stream send, close with its code."""

    kind: str  # as metrics call it
    stream: FrameStream
    task: asyncio.Task[None] | None = None

    def look(self, user: Principal) -> Subscription | None:
        """What this user may see here, None for nothing; reads the database."""
        raise NotImplementedError

    async def __call__(
        self,
        scope: MutableMapping[str, object],
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        self.places = contextlib.ExitStack()  # what this socket counts for
        try:
            await super().__call__(scope, receive, send)
        except frame_sender.UNREACHABLE as error:
            if self.task is not None:
                raise
            logger.warning("A WebSocket is sent away, the channel layer has no channel for it: %r", error)
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN})
        finally:
            self.places.close()
            if self.task is not None:
                self.task.cancel()
                await asyncio.wait([self.task])

    async def connect(self) -> None:
        """Accept in any case, for only then does a browser learn the code with which it is closed."""
        holder = self.scope.get("who")  # of an API key (cloudapi/web/origins.py), else of a session
        session = None if holder else self.scope["session"].session_key
        address = "address " + client_of((self.scope.get("client") or ("",))[0])
        client = holder.client if holder else session or address
        self.stream = FrameStream(
            send=self.send,
            layer=self.channel_layer,
            channel=self.channel_name,
            client=client,
            identify=holder or functools.partial(subscription.user_of, session),
            subscribe=self.look,
        )
        code = why_too_many(client, address)
        if code is None:
            with counted(_handshakes, client, address, ALL):
                code, whose = await self.stream.begin()
            if code is None and _open[whose] >= settings.SOCKETS_PER_CLIENT:
                code = TOO_MANY
            if code is None:
                self.places.enter_context(counted(_open, whose, address, ALL))
                self.places.enter_context(sockets_open.labels(self.kind).track_inprogress())
        await self.accept()
        if code is None:
            self.task = asyncio.create_task(self._run())
        else:
            await self.close(code)

    async def _run(self) -> None:
        try:
            code = await self.stream.run()
        except Exception:
            # If the task died silently, the browser would keep a page that looks live.
            logger.exception("A WebSocket fails")
            code = INTERNAL_ERROR
        with contextlib.suppress(*AWAY, RuntimeError):  # the browser has gone first
            async with asyncio.timeout(SEND_TIMEOUT):
                await self.close(code)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if is_refetch(text_data):
            self.stream.queue.ask_snapshot()
        else:
            self.stream.queue.close(BAD_REQUEST)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels does, but for frames (`devices/live/frame_sender.py`) not by way of another thread.

        It closes old database connections there, and this thread has none.
        """
        if message["type"] == "frames":
            self.stream.receive(message["frames"])
        else:
            await super().dispatch(message)


def why_too_many(client: str, address: str) -> int | None:
    """The code that refuses another handshake before anybody looks whose it is; None if there is room."""
    if _open[ALL] >= settings.SOCKETS or _handshakes[ALL] >= HANDSHAKES or _handshakes[address] >= HANDSHAKES // 2:
        return TRY_AGAIN
    is_full = _open[address] + _handshakes[address] >= settings.SOCKETS_PER_ADDRESS
    return TOO_MANY if is_full or _handshakes[client] >= settings.SOCKETS_PER_CLIENT else None


@contextlib.contextmanager
def counted(counter: Counter[str], *keys: str) -> Iterator[None]:
    """Count one more under each of these keys."""
    counter.update(set(keys))
    try:
        yield
    finally:
        for key in set(keys):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]


def is_refetch(text: str | None) -> bool:
    """Whether this is the one message that a browser may send."""
    if text is None or len(text) > LONGEST_REQUEST:
        return False
    try:
        return bool(json.loads(text) == {"type": "refetch"})
    except (ValueError, RecursionError):
        return False


class DeviceConsumer(LiveConsumer):
    """`/ws/devices/{sn}/`: a device, its account, its calls."""

    kind = "device"

    def look(self, user: Principal) -> Subscription | None:
        return subscription.to_device(user, self.scope["url_route"]["kwargs"]["sn"])


class OrganizationConsumer(LiveConsumer):
    """`/ws/organizations/{organization_id}/`: the calls of an organization."""

    kind = "organization"

    def look(self, user: Principal) -> Subscription | None:
        return subscription.to_organization(user, self.scope["url_route"]["kwargs"]["organization_id"])


class NotFoundConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Any other path."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(NOT_FOUND)
