"""Which pages may open a WebSocket."""

import pytest

from cloudapi.origins import is_own

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
