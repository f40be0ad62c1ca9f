"""A server in debug mode is for this machine."""

import os

import pytest

from cloudapi.web.loopback import LoopbackOnly
from tests import fork_server
from tests.cloudapi.test_settings import PRODUCTION


@pytest.mark.parametrize(
    ("server", "is_served"),
    [
        (("127.0.0.1", 80), True),
        (("::1", 80), True),
        (("::ffff:127.0.0.1", 80), True),
        (None, True),
        (("192.0.2.1", 80), False),
        (("fe80::1", 80), False),
    ],
)
@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_debug_mode_answers_on_loopback_only(kind, server, is_served):
    sent = []

    async def application(_scope, _receive, send):
        await send({"served": True})

    async def send(message):
        sent.append(message)

    await LoopbackOnly(application)({"type": kind, "server": server}, None, send)
    if is_served:
        assert sent == [{"served": True}]
    elif kind == "http":
        assert sent[0]["status"] == 403
        assert b"DEBUG is on" in sent[1]["body"]
    else:
        assert sent == [{"type": "websocket.close", "code": 4403}]


@pytest.mark.parametrize(("debug", "is_wrapped"), [("true", True), ("false", False)])
def test_the_web_process_is_kept_at_home_in_debug_mode(debug, is_wrapped):
    script = "from cloudapi import asgi; print(type(asgi.application).__name__)"
    done = fork_server.run(["-c", script], env=os.environ | PRODUCTION | {"DEBUG": debug})
    assert done.stdout.strip() == ("LoopbackOnly" if is_wrapped else "ProtocolTypeRouter"), done.stderr
