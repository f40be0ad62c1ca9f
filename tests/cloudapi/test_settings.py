"""What production must be told."""

import os

import pytest

from cloudapi.settings import tile_origins
from tests import fork_server

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a secret key for the tests only",
    "FIELD_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "PUBLIC_URL": "https://docks.example.com",
    "ALLOWED_HOSTS": "docks.example.com",
    "DATABASE_URL": "postgres://docks@127.0.0.1/docks",
}


def manage(*arguments, **changes):
    """Run a command in production's environment, changed; returns the finished process."""
    env = {name: value for name, value in (os.environ | PRODUCTION | changes).items() if value}
    return fork_server.run(["manage.py", *arguments], env=env)


def check(**changes):
    return manage("check", **changes)


def test_production_starts_when_it_is_told_all_that_it_needs():
    done = check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "PUBLIC_URL", "ALLOWED_HOSTS", "DATABASE_URL"])
def test_production_does_not_start_without(name):
    done = check(**{name: ""})
    assert f"{name} must be set when DEBUG is off" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("keys", ["abc", f"{PRODUCTION['FIELD_ENCRYPTION_KEYS']},abc", ","])
def test_keys_that_encrypt_nothing_are_found_at_the_start(keys):
    done = check(FIELD_ENCRYPTION_KEYS=keys)
    assert "FIELD_ENCRYPTION_KEYS holds something that is no Fernet key" in done.stderr
    assert done.returncode != 0


def test_plain_http_is_for_probes_and_metrics_only():
    redirects = """
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
request = RequestFactory(SERVER_NAME="docks.example.com").get
middleware = SecurityMiddleware(lambda request: None)
pages = ("/healthz", "/readyz", "/metrics", "/admin/", "/metrics/x")
print([page for page in pages if middleware.process_request(request(page))])
"""
    done = manage("shell", "-v0", "-c", redirects)
    assert done.stdout.strip() == "['/admin/', '/metrics/x']", done.stderr


@pytest.mark.parametrize(("scheme", "is_exempt"), [("http", True), ("https", False)])
def test_docks_are_redirected_to_https_only_if_their_addresses_are_https(scheme, is_exempt):
    program = """
import re
from django.conf import settings
print(any(re.search(pattern, "license-files/token/a.kmz") for pattern in settings.SECURE_REDIRECT_EXEMPT))
"""
    done = manage("shell", "-v0", "-c", program, PUBLIC_URL=f"{scheme}://docks.example.com")
    assert done.stdout.strip() == str(is_exempt), done.stderr


@pytest.mark.parametrize(
    ("address", "origins"),
    [
        ("", []),
        ("/tiles/{z}/{x}/{y}.png", []),
        ("https://tile.example.org/{z}/{x}/{y}.png", ["https://tile.example.org"]),
        ("https://{s}.tile.example.org:8443/{z}/{x}/{y}.png", ["https://*.tile.example.org:8443"]),
        ("http://t{s}.example.org/{z}/{x}/{y}{r}.png?key=a;b", ["http://*.example.org"]),
    ],
)
def test_only_the_origin_of_map_tiles_is_let_in(address, origins):
    assert tile_origins(address) == origins


@pytest.mark.parametrize("address", ["tile.example.org", "ftp://tile.example.org/", "https://x; script-src *", "//x/"])
def test_what_is_no_address_of_tiles_is_found_at_the_start(address):
    done = check(MAP_TILE_URL=address)
    assert "MAP_TILE_URL is no address like https://tile.example.org/" in done.stderr
    assert done.returncode != 0


def test_the_policy_lets_in_the_tiles_of_the_settings():
    script = "from django.conf import settings; print(settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['img-src'])"
    told = manage("shell", "-v0", "-c", script, MAP_TILE_URL="https://tile.example.org/{z}/{x}/{y}.png").stdout
    assert "'https://tile.example.org'" in told
    assert "tile" not in manage("shell", "-v0", "-c", script, MAP_TILE_URL="").stdout
