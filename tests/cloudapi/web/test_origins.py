"""Who may open a WebSocket."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser

from cloudapi.web.origins import KeyElseSession, is_own

HOST = "docks.example.com"


@pytest.fixture(autouse=True)
def _served_there(settings):
    settings.PUBLIC_URL = f"https://{HOST}"
    settings.ALLOWED_HOSTS = [HOST, "internal"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (f"https://{HOST}", HOST),
        (f"https://{HOST.upper()}", HOST),
        (f"https://{HOST}", "127.0.0.1:8000"),  # a proxy that does not pass on the host
        ("https://internal", "internal"),
        ("https://internal:8443", "internal:8443"),
    ],
)
def test_own_pages_may(origin, host):
    assert is_own(origin, host=host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", HOST),
        ("null", HOST),
        ("https://evil.example.com", HOST),
        ("https://evil.example.com", "evil.example.com"),  # a name of theirs that leads to us
        (f"http://{HOST}", HOST),
        (f"https://{HOST}:8443", HOST),
        (f"https://{HOST}.evil.example.com", HOST),
        (f"https://evil.example.com/{HOST}", HOST),
        (f"https://{HOST}@evil.example.com", HOST),
        ("https://internal", HOST),
        ("https://[::1", HOST),
        ("https://docks.example.com:99999", HOST),
        ("https://", ""),
        ("*", HOST),
    ],
)
def test_no_other_page_may(origin, host):
    assert not is_own(origin, host=host)


def test_any_allowed_host_is_not_any_origin(settings):
    settings.ALLOWED_HOSTS = ["*"]
    assert not is_own("https://evil.example.com", host="docks.example.org")
    assert is_own("https://docks.example.org", host="docks.example.org")


def judged(*headers):
    """By what a handshake with these headers is judged, and the scope that is passed on."""
    passed = {}

    def door(name):
        async def application(scope, receive, send):
            passed[name] = scope

        return application

    scope = {"type": "websocket", "headers": [(b"host", HOST.encode()), *headers]}
    async_to_sync(KeyElseSession(by_key=door("key"), by_session=door("session")))(scope, None, None)
    ((name, scope),) = passed.items()
    return name, scope


@pytest.mark.parametrize(
    "shown", [b"Bearer x", b"Api-Key", b"Api-Key ", b"", b" ", b"\xff\x00", b"Basics x", b"x" * 5000]
)
def test_any_authorization_replaces_the_session_and_is_passed_on_as_nobody(shown):
    name, scope = judged((b"cookie", b"sessionid=x"), (b"authorization", shown))
    assert name == "key"
    assert isinstance(scope["who"](), AnonymousUser)


@pytest.mark.parametrize("shown", [b"Basic dTpw", b"basic", b"Digest x", b"Negotiate x", b"NTLM x"])
def test_what_browsers_send_by_themselves_leaves_the_session_and_its_origin_check(shown):
    assert judged((b"authorization", shown))[0] == "session"


def test_no_authorization_leaves_the_session_and_its_origin_check():
    name, scope = judged((b"x-authorization", b"Api-Key x"), (b"cookie", b"authorization=x"))
    assert (name, "who" in scope) == ("session", False)


def test_the_scope_passed_on_does_not_hold_the_key():
    canary = ".".join(("a" * 8, "b" * 32))
    _, scope = judged((b"authorization", f"Api-Key {canary}".encode()))
    assert canary not in repr(scope)
    assert (b"host", HOST.encode()) in scope["headers"]
