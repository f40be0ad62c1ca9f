"""What production must set."""

import json
import os

import pytest
from django.core.exceptions import ImproperlyConfigured

from cloudapi.environment import tile_origins
from tests import fork_server

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a secret key for the tests only, with 50 characters or more",
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


# One value of each kind that people type, and a part of what they are told.
WRONG = [
    ("DEBUG", "ture", "write true or false"),
    ("SECRET_KEY", "short", "can be guessed"),
    ("SECRET_KEY", "ab" * 40, "can be guessed"),
    ("FIELD_ENCRYPTION_KEYS", "abc", "number 1 is not a Fernet key"),
    ("FIELD_ENCRYPTION_KEYS", f"{PRODUCTION['FIELD_ENCRYPTION_KEYS']},abc", "number 2 is not a Fernet key"),
    ("FIELD_ENCRYPTION_KEYS", ",", "number 1 is not a Fernet key"),
    ("PUBLIC_URL", "docks.example.com", "https://host:port"),
    ("PUBLIC_URL", "https://", "https://host:port"),
    ("PUBLIC_URL", "https://docks.example.com:port", "https://host:port"),
    ("ALLOWED_HOSTS", "docks.example.com,", "write host names"),
    ("ALLOWED_HOSTS", "docks.example.com www.example.com", "write host names"),
    ("ALLOWED_HOSTS", "https://docks.example.com", "write host names"),
    ("DATABASE_URL", "docks", "postgres://host:port"),
    ("DATABASE_URL", "mysql://docks@127.0.0.1/docks", "postgres://host:port"),
    ("REDIS_URL", "127.0.0.1:6379", "redis://host:port"),
    ("MQTT_URL", "http://127.0.0.1", "mqtt://host:port"),
    ("MQTT_URL", "mqtt://broker:99999", "mqtt://host:port"),
    ("DOCK_MQTT_URL", "broker.example.com", "ssl://host:port"),
    ("JOURNAL_DAYS", "0", "a whole number, 1 or more"),
    ("JOURNAL_DAYS", "-3", "a whole number, 1 or more"),
    ("AUDIT_DAYS", "two years", "a whole number, 1 or more"),
    ("WEB_THREADS", "0", "a whole number, 1 or more"),
    ("SECURE_SSL_REDIRECT", "maybe", "write true or false"),
    ("MAP_TILE_URL", "tile.example.org", "not an address like https://tile.example.org/"),
]
LOAD = """
import importlib, json, os, sys
from cloudapi import settings
for name, value in json.loads(sys.argv[1]):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        importlib.reload(settings)
        print("taken")
    except Exception as error:
        print(type(error).__name__, error)
    os.environ.pop(name) if before is None else os.environ.update({name: before})
"""


def test_what_is_wrong_is_refused_by_its_name_and_told_without_passwords():
    """Every process reads the settings first, so one is enough to try the values."""
    values = json.dumps([(name, value) for name, value, _ in WRONG])
    told = fork_server.run(["-c", LOAD, values], env=os.environ | PRODUCTION).stdout.splitlines()
    assert len(told) == len(WRONG), told
    for (name, value, words), line in zip(WRONG, told, strict=True):
        assert line.startswith(f"ImproperlyConfigured {name} "), (name, value, line)
        assert words in line
    secret = json.dumps([("DATABASE_URL", "mysql://docks:hush@127.0.0.1/docks"), ("MQTT_URL", "x://a:hush@b")])
    assert "hush" not in fork_server.run(["-c", LOAD, secret], env=os.environ | PRODUCTION).stdout


@pytest.mark.parametrize(
    "program",
    [
        ["manage.py", "run_mqtt_bridge"],
        ["-m", "uvicorn", "cloudapi.asgi:application", "--port=0"],
        ["-m", "celery", "-A", "cloudapi", "worker"],
        ["-m", "celery", "-A", "cloudapi", "beat"],
    ],
    ids=lambda program: " ".join(program[:4]),
)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "short", "SECRET_KEY can be guessed"),  # read with the settings
        (
            "MQTT_LEAVE_METHODS",
            "no method!",
            "MQTT_LEAVE_METHODS: 'no method!' is not a method name.",
        ),  # one of Django's checks
    ],
)
def test_every_process_refuses(program, name, value, words):
    env = os.environ | PRODUCTION | {"REDIS_URL": "redis://127.0.0.1:1", name: value}
    done = fork_server.run(program, env=env)
    assert words in done.stderr
    assert done.returncode != 0


def test_two_servers_on_one_redis_have_a_queue_each():
    script = "from cloudapi.celery import app; print(app.conf.task_default_queue)"
    names = {
        fork_server.run(["-c", script], env=os.environ | PRODUCTION | {"PUBLIC_URL": url}).stdout
        for url in ("https://a.example.com", "https://b.example.com")
    }
    assert len(names) == 2, names


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
    assert tile_origins("MAP_TILE_URL", address) == origins


@pytest.mark.parametrize("address", ["ftp://tile.example.org/", "https://x; script-src *", "//x/"])
def test_what_is_no_address_of_tiles_is_refused(address):
    with pytest.raises(ImproperlyConfigured, match="MAP_TILE_URL is not an address like"):
        tile_origins("MAP_TILE_URL", address)


def test_the_policy_lets_in_the_tiles_of_the_settings():
    script = "from django.conf import settings; print(settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['img-src'])"
    told = manage("shell", "-v0", "-c", script, MAP_TILE_URL="https://tile.example.org/{z}/{x}/{y}.png").stdout
    assert "'https://tile.example.org'" in told
    assert "tile" not in manage("shell", "-v0", "-c", script, MAP_TILE_URL="").stdout
