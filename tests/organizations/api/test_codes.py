"""Binding codes over REST."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from organizations import codes
from organizations.models import AuditEvent, BindingCode, Membership, Organization, Role
from organizations.typed import digest_of, normalise_code
from tests.organizations.test_codes import assert_not_in_database

ROUTE = "/api/v1/binding-codes/"


@pytest.fixture
def address(code):
    return f"{ROUTE}{code[0].pk}/"


# door x role, of a code of Alice's organization
DOORS = [
    ("get", "", {"staff": 200, "alice": 200, "bob": 200, "viewer_key": 200, "charlie": 200}),
    ("get", "{code}/", {"staff": 200, "alice": 200, "bob": 200, "viewer_key": 200, "charlie": 404,
                        "stranger_key": 404}),
    ("post", "", {"staff": 201, "alice": 201, "bob": 403, "manager_key": 201, "operator_key": 403, "viewer_key": 403,
                  "charlie": 404, "stranger_key": 404}),
    ("patch", "{code}/", {"staff": 200, "alice": 200, "bob": 403, "manager_key": 200, "operator_key": 403,
                          "viewer_key": 403, "charlie": 404, "stranger_key": 404}),
    ("post", "{code}/revoke/", {"staff": 200, "alice": 200, "bob": 403, "manager_key": 200, "operator_key": 403,
                                "viewer_key": 403, "charlie": 404, "stranger_key": 404}),
    ("delete", "{code}/", {"staff": 405, "alice": 405}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [(method, path, who, status) for method, path, roles in DOORS for who, status in roles.items()],
)
def test_door_by_role(api, code, method, path, who, status):
    body = {"patch": {"label": "New"}, "post": {"organization": "12345678"}}.get(method) if "revoke" not in path else {}
    assert getattr(api(who), method)(ROUTE + path.format(code=code[0].pk), body).status_code == status


def test_the_answer_shows_the_code_once(api, alice, organization):
    response = api(alice).post(ROUTE, {"label": "Pier 7"})
    body = response.json()
    plain = body.pop("code")
    row = BindingCode.objects.get()
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    assert row.digest == digest_of(plain)
    assert (row.created_by, row.label, row.max_uses) == (alice, "Pier 7", None)
    read = api(alice).get(response["Location"])
    assert (read.json(), read["ETag"]) == (body, response["ETag"])
    assert plain not in api(alice).get(ROUTE).content.decode()
    assert_not_in_database(plain, normalise_code(plain))


def test_a_code_expires_in_a_week_unless_somebody_says_otherwise(api, alice):
    client, week = api(alice), timezone.now() + timedelta(days=7)
    made = parse_datetime(client.post(ROUTE, {}).json()["expires_at"])
    assert abs(made - week) < timedelta(minutes=1)
    assert client.post(ROUTE, {"expires_at": None}).json()["expires_at"] is None
    assert client.post(ROUTE, {"expires_at": "2099-01-02T03:04:05Z"}).json()["expires_at"] == "2099-01-02T03:04:05Z"


def test_no_body_asks_for_a_code_as_it_usually_is(api, alice):
    assert api(alice).post(ROUTE).status_code == 201


def test_an_own_code_counts_in_any_spelling(api, manager_key):
    assert api(manager_key).post(ROUTE, {"code": "harbour-2026"}).json()["code"] == "harbour-2026"
    row = BindingCode.objects.get()
    assert (row.digest, row.created_by) == (digest_of("HARBOUR 2026"), None)
    assert AuditEvent.objects.get().api_key == manager_key
    assert_not_in_database("harbour-2026", "HARBOUR2026")


def test_a_key_needs_not_name_its_organization(api, stranger_key, organization):
    assert api(stranger_key).post(ROUTE, {}).json()["organization"] == "87654321"


def test_whoever_manages_several_organizations_says_which(api, alice, other_organization):
    place = Membership.objects.create(user=alice, organization=other_organization, role=Role.OPERATOR)
    assert api(alice).post(ROUTE, {}).json()["organization"] == "12345678"
    assert api(alice).post(ROUTE, {"organization": "87654321"}).status_code == 403
    Membership.objects.filter(pk=place.pk).update(role=Role.MANAGER)
    refused = api(alice).post(ROUTE, {})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/organization")
    assert api(alice).post(ROUTE, {"organization": "87654321"}).json()["organization"] == "87654321"


@pytest.mark.parametrize("name", ["87654321", "nowhere"])
def test_another_organization_is_as_unknown_as_none(api, alice, other_organization, name):
    response = api(alice).post(ROUTE, {"organization": name})
    assert response.status_code == 404
    assert response.json()["errors"] == [{"pointer": "/organization", "code": "not_found", "detail": "Not found."}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"code": "short"}, "/code"),
        ({"code": "--------------"}, "/code"),
        ({"code": "taken-code"}, "/code"),
        ({"code": "long" * 17}, "/code"),
        ({"code": "пирс№7пирс"}, "/code"),
        ({"code": "a-b-c-d-e-f-g----"}, "/code"),
        ({"code": "nul\0nul\0nul"}, "/code"),
        ({"code": "half\ud800half"}, "/code"),
        ({"code": None}, "/code"),
        ({"code": {"a": 1}}, "/code"),
        ({"label": "x" * 101}, "/label"),
        ({"label": ["x"]}, "/label"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": "9999-99-99T00:00:00Z"}, "/expires_at"),
        ({"expires_at": 10**30}, "/expires_at"),
        ({"max_uses": 0}, "/max_uses"),
        ({"max_uses": 2**31}, "/max_uses"),
        ({"max_uses": 10**400}, "/max_uses"),
        ({"max_uses": "many"}, "/max_uses"),
        ({"organization": ["12345678"]}, "/organization"),
        ({"organization": "\0"}, "/organization"),
        ([{}], ""),
        ("text", ""),
    ],
)
def test_a_bad_body_is_refused_with_its_place(api, alice, organization, body, pointer):
    BindingCode.objects.issue(organization=organization, code="TAKENCODE")
    response = api(alice).post(ROUTE, json.dumps(body), content_type="application/json")
    assert response.status_code == 400
    assert {error["pointer"] for error in response.json()["errors"]} == {pointer}
    assert "half" not in response.content.decode()
    assert BindingCode.objects.count() == 1


@pytest.mark.parametrize("name", ["abc", "1" * 31, "-1", "1.5", "%00", "1e3", "٣x"])
@pytest.mark.parametrize("method", ["get", "patch", "post"])
def test_an_id_that_is_none_is_not_found(api, alice, method, name):
    path = f"{ROUTE}{name}/revoke/" if method == "post" else f"{ROUTE}{name}/"
    assert getattr(api(alice), method)(path, {} if method != "get" else None).status_code == 404


# --- what a code says --------------------------------------------------------------------------------


@pytest.fixture
def each_state(organization, other_organization):
    """Labels of codes by state, in two organizations."""
    now = timezone.now()
    found = {}
    for state, days, uses, revoked in (
        ("usable", 6, 0, None),
        ("expiring", 1, 0, None),
        ("used-up", 6, 1, None),
        ("expired", -1, 0, None),
        ("revoked", 6, 0, now),
    ):
        row, _ = BindingCode.objects.issue(
            organization=organization, label=state, max_uses=1, expires_at=now + timedelta(days=days)
        )
        BindingCode.objects.filter(pk=row.pk).update(uses=uses, revoked_at=revoked)
        found[state] = row
    BindingCode.objects.issue(organization=other_organization)
    return found


@pytest.mark.usefixtures("each_state")
def test_a_code_says_its_state(api, viewer_key):
    rows = api(viewer_key).get(ROUTE).json()["results"]
    assert {row["label"]: row["state"] for row in rows} == {row["label"]: row["label"] for row in rows}
    assert [row["why_unusable"] for row in rows] == ["", "", "code used up", "code expired", "code revoked"]
    assert [row["usable"] for row in rows] == [True, True, False, False, False]


@pytest.mark.usefixtures("each_state")
@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ({"state": "usable"}, ["usable", "expiring"]),
        ({"state": "expiring"}, ["expiring"]),
        ({"state": "revoked"}, ["revoked"]),
        ({"state": "inactive"}, []),
        ({"organization": "12345678", "limit": 2}, ["usable", "expiring"]),
        ({"organization": "87654321"}, []),
        ({"search": "used"}, ["used-up"]),
        ({"ordering": "-label", "limit": 1}, ["used-up"]),
        ({"ordering": "expires_at", "limit": 1}, ["expired"]),
    ],
)
def test_a_list_is_filtered(api, bob, query, labels):
    assert [row["label"] for row in api(bob).get(ROUTE, query).json()["results"]] == labels


@pytest.mark.parametrize("query", [{"state": "lost"}, {"revoked": "true"}, {"include": "code"}])
def test_a_parameter_that_is_not_understood_is_refused(api, bob, query):
    response = api(bob).get(ROUTE, query)
    assert response.status_code == 400
    assert response.json()["errors"][0]["parameter"] == next(iter(query))


def test_codes_of_an_inactive_organization_bind_nothing(api, bob, code, address):
    Organization.objects.update(is_active=False)
    body = api(bob).get(address).json()
    assert (body["state"], body["usable"], body["why_unusable"]) == ("inactive", False, "organization inactive")
    assert len(api(bob).get(ROUTE, {"state": "inactive"}).json()["results"]) == 1


def test_a_list_asks_a_constant_number_of_queries(api, alice, organization):
    client = api(alice)
    BindingCode.objects.issue(organization=organization, created_by=alice)
    BindingCode.objects.issue(organization=organization)
    with CaptureQueriesContext(connection) as few:
        assert len(client.get(ROUTE).json()["results"]) == 2
    for _ in range(18):
        BindingCode.objects.issue(organization=organization, created_by=alice)
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(ROUTE).json()["results"]) == 20
    assert len(many) == len(few)


# --- changes -----------------------------------------------------------------------------------------


def test_a_change_is_audited(api, alice, address, code):
    body = {"label": "pier", "max_uses": 9, "expires_at": None}
    assert api(alice).patch(address, body).status_code == 200
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.after) == ("change", alice, body)
    assert (event.before["label"], event.before["max_uses"]) == ("harbour", None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"max_uses": 0}, "/max_uses"), ({"label": None}, "/label"), ({"expires_at": "\0"}, "/expires_at"), ([1], "")],
)
def test_a_bad_change_is_refused(api, alice, address, body, pointer):
    response = api(alice).patch(address, body)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("field", ["code", "digest", "hint", "uses", "organization", "revoked_at"])
def test_what_a_code_is_never_changes(api, alice, address, code, other_organization, field):
    before = BindingCode.objects.values().get()
    api(alice).patch(address, {field: "87654321"})
    assert BindingCode.objects.values().get() == before
    assert not AuditEvent.objects.exists()


def test_revoking_is_audited_once_and_may_be_repeated(api, manager_key, address):
    client = api(manager_key)
    for _ in range(2):
        response = client.post(f"{address}revoke/")
        assert (response.status_code, response.json()["state"]) == (200, "revoked")
    event = AuditEvent.objects.get()
    assert (event.action, event.api_key) == ("revoke", manager_key)


def test_a_code_that_changed_meanwhile_is_not_revoked(api, alice, address, code):
    tag = api(alice).get(address)["ETag"]
    BindingCode.objects.update(uses=1)
    assert api(alice).post(f"{address}revoke/", headers={"If-Match": tag}).status_code == 412
    assert not BindingCode.objects.exclude(revoked_at=None).exists()
    tag = api(alice).get(address)["ETag"]
    assert api(alice).post(f"{address}revoke/", headers={"If-Match": tag}).status_code == 200


def test_a_refused_code_leaves_no_trace(api, alice, organization):
    api(alice).post(ROUTE, {"code": "harbour2026"})
    assert api(alice).post(ROUTE, {"code": "HARBOUR-2026"}).status_code == 400
    assert AuditEvent.objects.count() == BindingCode.objects.count() == 1
    assert list(codes.in_state(BindingCode.objects.all(), "usable")) == list(BindingCode.objects.all())
