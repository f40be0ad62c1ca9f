"""Errors of the REST API as problem details."""

import json

import pytest
from django.db import IntegrityError, transaction

from cloudapi.rest import problems
from organizations.models import Organization

ROUTE = "/api/v1/devices/"
PROBLEM = "application/problem+json"


def of(response):
    """The status and the name of the type of a problem; what else every problem must have is checked."""
    body = response.json()
    assert response["Content-Type"] == PROBLEM
    assert body["status"] == response.status_code
    assert body["title"]
    assert body["detail"]
    scheme, _, name = body["type"].rpartition(":")
    assert scheme == "urn:dock-cloud:problem"
    return response.status_code, name


def test_nobody(api, db):
    response = api().get(ROUTE)
    assert of(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Api-Key"


@pytest.mark.parametrize("header", ["Bearer {}", "{}", "Token {}"])
def test_a_key_after_another_word_is_told_the_right_one(api, viewer_key, header):
    response = api().get(ROUTE, headers={"Authorization": header.format(viewer_key.plain)})
    assert of(response) == (401, "not_authenticated")
    assert "Authorization: Api-Key" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/api/v1/devices", "/api/v1/devices/DOCK0001", "/api/v1/"])
def test_a_forgotten_slash_is_a_route_that_is_not_there_and_is_told(api, viewer_key, path):
    response = api(viewer_key).get(path)
    assert of(response) == (404, "not_found")
    assert "ends with a slash" in response.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v2/devices/", "/api/v1/devicez/", "/api/v1/devices//", "/api/%00"]
)
def test_a_route_that_is_not_there(api, viewer_key, path):
    for client in (api(), api(viewer_key)):
        assert of(client.get(path)) == (404, "not_found")


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_a_route_that_has_no_such_method(api, viewer_key, method):
    response = getattr(api(viewer_key), method)(ROUTE)
    assert of(response) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_only_json_is_to_be_had(api, viewer_key):
    assert of(api(viewer_key).get(ROUTE, HTTP_ACCEPT="text/html")) == (406, "not_acceptable")
    assert api(viewer_key).get(ROUTE, HTTP_ACCEPT="text/html, */*;q=0.1").status_code == 200


@pytest.mark.parametrize("who", ["manager_key", "alice"])
def test_a_body_that_is_too_large(api, who, dock, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    client = api(who)
    assert of(client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "x" * 100})) == (413, "too_large")
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "x"}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
)
def test_a_body_of_another_media_type(api, manager_key, dock, kind):
    response = api(manager_key).patch(f"{ROUTE}{dock.sn}/", "callsign=x", content_type=kind)
    assert of(response) == (415, "unsupported_media_type")
    assert "application/json" in response.json()["detail"]


def test_more_parameters_than_are_read(api, viewer_key):
    assert of(api(viewer_key).get(f"{ROUTE}?{'a=1&' * 1001}")) == (400, "parse_error")


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "rot13", "zlib", "undefined", "nope"])
def test_json_is_utf_8_whatever_its_media_type_says(api, manager_key, dock, charset):
    body, kind = '{"callsign": "港口"}'.encode(), f"application/json; charset={charset}"
    response = api(manager_key).generic("PATCH", f"{ROUTE}{dock.sn}/", body, content_type=kind)
    assert response.json()["callsign"] == "港口"


NO_OBJECTS = {
    "half": "{",
    "misspelt": "nul",
    "NaN": "NaN",
    "infinite": '{"a": Infinity}',
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe",
    "lone surrogate": '{"callsign": "\ud800"}'.encode("utf-8", "surrogatepass"),
    "NUL": "\0",
    "array": "[1]",
    "number": "1",
    "null": "null",
    "text": '"x"',
}


@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_body_that_is_no_object_of_json(api, manager_key, dock, body):
    response = api(manager_key).patch(f"{ROUTE}{dock.sn}/", body, content_type="application/json")
    assert of(response)[0] == 400


@pytest.mark.parametrize(
    "charset", ["hex", "rot13", "base64", "zlib", "undefined", "idna", "punycode", "utf-16", "none"]
)
def test_a_body_in_a_strange_charset(api, manager_key, dock, charset):
    response = api(manager_key).patch(
        f"{ROUTE}{dock.sn}/", b'{"callsign": "x"}', content_type=f"application/json; charset={charset}"
    )
    assert response.status_code in (200, 400)


def test_every_mistake_has_its_place(api, manager_key, dock):
    response = api(manager_key).patch(
        f"{ROUTE}{dock.sn}/",
        json.dumps({"callsign": "x" * 999, "is_enabled": "perhaps"}),
        content_type="application/json",
    )
    assert of(response) == (400, "invalid")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/callsign", "/is_enabled"]


def test_a_parameter_has_its_name(api, viewer_key):
    response = api(viewer_key).get(ROUTE, {"kind": "boat", "limit": 5})
    assert of(response) == (400, "invalid")
    assert [error["parameter"] for error in response.json()["errors"]] == ["kind"]


def test_a_search_for_nul_is_refused(api, viewer_key):
    assert of(api(viewer_key).get(ROUTE, {"search": "\0"}))[0] == 400


@pytest.mark.urls("tests.cloudapi.rest.failing_urls")
@pytest.mark.parametrize("path", ["/api/v1/failing/", "/api/v1/plain-failing/"])
def test_a_fault_of_ours_is_logged_and_tells_nothing(api, path, db, caplog):
    response = api(raise_request_exception=False).get(path)
    assert of(response) == (500, "server_error")
    assert "secret" not in response.content.decode()
    failed = [record for record in caplog.records if record.name == "django.request"]
    assert [record.exc_info[0] for record in failed] == [RuntimeError]


@pytest.mark.urls("tests.cloudapi.rest.failing_urls")
def test_a_fault_on_another_page_is_for_people(client):
    client.raise_request_exception = False
    response = client.get("/failing/")
    assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")


def test_what_another_request_has_just_made_is_a_conflict(organization):
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        type(organization).objects.create(organization_id=organization.organization_id, name="twin")
    assert problems.handle(raised.value, {}).status_code == 409


@pytest.mark.django_db
def test_what_the_database_refuses_for_another_reason_is_our_fault():
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        Organization.objects.create(name=None)
    assert problems.handle(raised.value, {}) is None
