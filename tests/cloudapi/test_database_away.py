"""While the database is away, pages and REST answer 503; nothing is reported as a server error."""

import http.client
import json
from contextlib import closing

import pytest

from tests.cloudapi.test_settings import PRODUCTION
from tests.web import running_web

NOBODY_THERE = "postgres://docks@127.0.0.1:1/docks"


@pytest.fixture(scope="module")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    options = PRODUCTION | {
        "DATABASE_URL": NOBODY_THERE,
        "ALLOWED_HOSTS": "127.0.0.1",
        "SECURE_SSL_REDIRECT": "false",
        "application": "cloudapi.asgi:application",
    }
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log", **options) as web:
        yield web


def get(web, path, **headers):
    with closing(http.client.HTTPConnection(web.host, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def test_programs_get_a_problem(web):
    status, headers, body = get(web, "/api/v1/devices/", Authorization=f"Api-Key {'a' * 8}.{'b' * 32}")
    assert (status, headers["Retry-After"], headers["Content-Type"]) == (503, "5", "application/problem+json")
    assert json.loads(body)["type"].endswith("database_unavailable")


def test_people_get_a_page(web):
    status, headers, body = get(web, "/admin/", Cookie="sessionid=abcdefghijklmnopqrstuvwxyz123456")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "The database is away or busy." in body
    assert "127.0.0.1" not in body


def test_the_process_itself_is_well(web):
    assert get(web, "/healthz")[0] == 200
    assert get(web, "/readyz")[0] == 503


def test_metrics_say_so_and_are_served(web):
    status, _, body = get(web, "/metrics")
    assert status == 200
    assert "\ndatabase_up 0.0\n" in body
    assert "bridge_up" not in body  # nobody knows
