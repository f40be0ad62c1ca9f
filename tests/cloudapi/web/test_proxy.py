"""What a real web process in production believes of a request's headers, what it logs, and what it sends."""

import http.client
import json
import os
from contextlib import closing

import pytest

from tests.cloudapi.test_settings import PRODUCTION
from tests.web import database_url, running_web

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "docks.example.com"
TLS = {"X-Forwarded-Proto": "https"}
CLIENT = "203.0.113.77"


def production(tmp_path_factory, **env):
    env = {**PRODUCTION, "DATABASE_URL": database_url(), "REDIS_URL": os.environ["REDIS_URL"], **env}
    log = tmp_path_factory.mktemp("web") / "log"
    return running_web(log, application="cloudapi.asgi:application", **env)


@pytest.fixture(scope="module")
def behind_proxy(django_db_setup, django_db_blocker, tmp_path_factory):
    """uvicorn believes this machine, its default."""
    with django_db_blocker.unblock(), production(tmp_path_factory) as web:
        yield web


@pytest.fixture(scope="module")
def believes_nobody_here(django_db_setup, django_db_blocker, tmp_path_factory):
    """The proxy is elsewhere, and we are not it."""
    env = {"FORWARDED_ALLOW_IPS": "192.0.2.1", "LOG_FORMAT": "json"}
    with django_db_blocker.unblock(), production(tmp_path_factory, **env) as web:
        yield web


def get(web, path, **headers):
    with closing(http.client.HTTPConnection(web.host)) as connection:
        connection.request("GET", path, headers={"Host": HOST, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def test_a_proxy_that_is_believed_says_what_the_client_used(behind_proxy):
    assert get(behind_proxy, "/api/v1/devices/", **TLS)[0] == 401
    status, headers, _ = get(behind_proxy, "/api/v1/devices/")
    assert (status, headers["location"]) == (301, f"https://{HOST}/api/v1/devices/")


def test_a_peer_that_is_not_believed_cannot_say_it_used_https(believes_nobody_here):
    assert get(believes_nobody_here, "/api/v1/devices/", **TLS)[0] == 301


def test_only_a_proxy_that_is_believed_gives_the_clients_address(behind_proxy, believes_nobody_here):
    for web in (behind_proxy, believes_nobody_here):
        get(web, "/healthz?marked", **{"X-Forwarded-For": CLIENT, "X-Real-IP": "203.0.113.78"})
    assert CLIENT in behind_proxy.said()
    assert "203.0.113" not in believes_nobody_here.said()
    assert "203.0.113.78" not in behind_proxy.said()


def test_the_last_address_counts_that_no_proxy_of_ours_wrote(behind_proxy):
    get(behind_proxy, "/healthz?twice", **{"X-Forwarded-For": "198.51.100.1, 203.0.113.99, 127.0.0.1"})
    [line] = [line for line in behind_proxy.said().splitlines() if "twice" in line]
    assert "203.0.113.99" in line
    assert "198.51.100.1" not in line


def test_hosts_come_from_host_alone(behind_proxy):
    assert get(behind_proxy, "/api/v1/devices/", **{**TLS, "Host": "evil.example"})[0] == 400
    assert get(behind_proxy, "/api/v1/devices/", **{**TLS, "X-Forwarded-Host": "evil.example"})[0] == 401
    assert "evil" not in get(behind_proxy, "/", **{**TLS, "X-Forwarded-Host": "evil.example"})[1]["location"]


def test_figures_are_not_for_the_internet(behind_proxy):
    assert get(behind_proxy, "/metrics")[0] == 200
    assert get(behind_proxy, "/metrics", **{"X-Forwarded-For": "8.8.8.8"})[0] == 403


def test_answers_have_headers_that_close_what_pages_do_not_need(behind_proxy):
    headers = get(behind_proxy, "/api/schema/", **TLS)[1]
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["strict-transport-security"].startswith("max-age=31536000")
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert "default-src 'self'" in headers["content-security-policy"]


def test_pages_of_errors_give_no_details(behind_proxy):
    for path, status in (("/nowhere/", 404), ("/license-files/x/", 404), ("/api/v1/nowhere/", 404)):
        found, _, text = get(behind_proxy, path, **TLS)
        assert found == status
        assert not any(word in text for word in ("Traceback", "urlpatterns", "Django", "DEBUG"))


def test_tokens_in_addresses_are_in_no_log(behind_proxy, believes_nobody_here):
    for web in (behind_proxy, believes_nobody_here):
        for path in (
            "/welcome/canary-1/",
            "/license-files/canary-2/",
            "/license-files/canary-3/file.bin?x=1",
            "/password-reset/MQ/canary-4/",
        ):
            get(web, path, **TLS)
        assert "canary" not in web.said()
        assert "/license-files/***" in web.said()
        assert "/welcome/***" in web.said()
        assert "/password-reset/MQ/***" in web.said()
    assert [json.loads(line) for line in believes_nobody_here.said().splitlines() if line.startswith("{")]
