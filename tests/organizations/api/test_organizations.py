"""Organizations over REST."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState
from mqtt_bridge.models import Heartbeat
from organizations.models import AuditEvent, Organization
from tests.api import make_key

ROUTE = "/api/v1/organizations/"
LICENSE = {"app_id": "100", "app_key": "s3cret-key", "app_license": "s3cret-license"}


@pytest.fixture
def address(organization):
    return f"{ROUTE}{organization.organization_id}/"


@pytest.fixture
def awake(db):
    """The bridge is alive."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


# door x role, of Alice's organization; created organizations are new each time
DOORS = [
    ("get", "", None, {"staff": 200, "alice": 200, "bob": 200, "viewer_key": 200, "charlie": 200, "stranger_key": 200}),
    ("get", "12345678/", None, {"staff": 200, "alice": 200, "bob": 200, "viewer_key": 200, "charlie": 404,
                                "stranger_key": 404}),
    ("patch", "12345678/", {"name": "New"}, {"staff": 200, "alice": 200, "bob": 403, "manager_key": 200,
                                             "operator_key": 403, "viewer_key": 403, "charlie": 404,
                                             "stranger_key": 404}),
    ("patch", "12345678/", {"device_limit": 3}, {"staff": 200, "alice": 403, "manager_key": 403, "charlie": 404}),
    ("patch", "12345678/", {"is_active": False}, {"staff": 200, "alice": 403, "manager_key": 403}),
    ("patch", "12345678/", LICENSE, {"staff": 200, "alice": 403, "manager_key": 403}),
    ("post", "", {"name": "New"}, {"staff": 201, "alice": 403, "bob": 403, "manager_key": 403, "stranger_key": 403}),
    ("delete", "12345678/", None, {"staff": 405, "alice": 405, "manager_key": 405}),
    ("put", "12345678/", {"name": "New"}, {"staff": 405, "alice": 405}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "who", "status"),
    [(method, path, body, who, status) for method, path, body, roles in DOORS for who, status in roles.items()],
)
@pytest.mark.usefixtures("organization")
def test_door_by_role(api, method, path, body, who, status):
    assert getattr(api(who), method)(ROUTE + path, body).status_code == status


@pytest.mark.parametrize("method", ["get", "patch", "post"])
def test_nobody_is_asked_for_a_key(api, address, method):
    response = getattr(api(), method)(address if method != "post" else ROUTE, {})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Api-Key")


def test_an_organization_is_its_id_and_what_it_may(api, alice, address, organization):
    body = api(alice).get(address).json()
    assert body.pop("created")
    assert body.pop("updated", body)  # as soon as there is one
    assert body == {
        "organization_id": "12345678",
        "name": "Harbour Survey",
        "is_active": True,
        "device_limit": 1000,
        "license_sync_hours": 24,
        "has_own_license": False,
    }


@pytest.mark.parametrize("who", ["alice", "viewer_key"])
def test_a_list_holds_the_organizations_of_whoever_asks(api, who, organization, other_organization):
    rows = api(who).get(ROUTE).json()["results"]
    assert [row["organization_id"] for row in rows] == ["12345678"]


def test_platform_staff_find_any(api, staff, organization, other_organization):
    Organization.objects.filter(pk=organization.pk).update(is_active=False)
    client = api(staff)
    for query, names in (
        ({}, ["Harbour Survey", "Northern Grid"]),
        ({"ordering": "-name"}, ["Northern Grid", "Harbour Survey"]),
        ({"is_active": "true"}, ["Northern Grid"]),
        ({"search": "harbour"}, ["Harbour Survey"]),
    ):
        assert [row["name"] for row in client.get(ROUTE, query).json()["results"]] == names


# --- counts ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aircraft", "awake")
@pytest.mark.parametrize("who", ["staff", "alice", "viewer_key"])
def test_counts_are_there_when_asked_for(api, who, address, bob):
    assert api(who).get(address, {"include": "counts"}).json()["counts"] == {
        "docks": 1, "docks_online": 1, "aircraft": 1,
    }  # fmt: skip
    assert "counts" not in api(who).get(address).json()


@pytest.mark.usefixtures("dock")
def test_nobody_knows_who_is_online_while_the_bridge_is_silent(api, alice, address):
    assert api(alice).get(address, {"include": "counts"}).json()["counts"]["docks_online"] is None


@pytest.mark.parametrize("query", [{}, {"include": "counts"}])
def test_a_list_asks_a_constant_number_of_queries(api, staff, query):
    def furnish(first, last):
        for number in range(first, last):
            owner = Organization.objects.create(name=f"Customer {number}")
            DeviceState.objects.create(
                device=Device.objects.create(sn=f"D{number}", model_key="3-2-0", organization=owner)
            )

    client = api(staff)
    furnish(0, 2)
    with CaptureQueriesContext(connection) as few:
        assert len(client.get(ROUTE, query).json()["results"]) == 2
    furnish(2, 20)
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(ROUTE, query).json()["results"]) == 20
    assert len(many) == len(few)


# --- making and changing -----------------------------------------------------------------------------


def test_platform_staff_make_an_organization(api, staff):
    response = api(staff).post(ROUTE, {"organization_id": "my-org", "name": "New", "device_limit": 5})
    assert response.status_code == 201
    assert response["Location"] == f"http://testserver{ROUTE}my-org/"
    read = api(staff).get(response["Location"])
    assert (read.json(), read["ETag"]) == (response.json(), response["ETag"])
    event = AuditEvent.objects.get()
    assert (event.action, event.through, event.user, event.organization.organization_id) == (
        "add", "api", staff, "my-org",
    )  # fmt: skip
    assert event.after == {"organization_id": "my-org", "name": "New", "device_limit": 5}


def test_an_organization_gets_an_id_if_none_is_given(api, staff):
    body = api(staff).post(ROUTE, {"name": "New"}).json()
    assert len(body["organization_id"]) == 8
    assert body["license_sync_hours"] == 24


def test_counts_of_a_new_organization_may_be_asked_for(api, staff):
    response = api(staff).post(f"{ROUTE}?include=counts", {"name": "New"})
    assert response.json()["counts"]["docks"] == 0


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "n" * 101, "device_limit": -1}, ["/name", "/device_limit"]),
        ({"name": "a\0b"}, ["/name"]),
        ({"name": "a\ud800b"}, ["/name"]),
        ({"name": ["x"]}, ["/name"]),
        ({"name": "N", "organization_id": "two words"}, ["/organization_id"]),
        ({"name": "N", "organization_id": "x" * 65}, ["/organization_id"]),
        ({"name": "N", "organization_id": "12345678"}, ["/organization_id"]),
        ({"name": "N", "device_limit": 10**30}, ["/device_limit"]),
        ({"name": "N", "device_limit": {}}, ["/device_limit"]),
        ({"name": "N", "license_sync_hours": 0}, ["/license_sync_hours"]),
        ({"name": "N", "app_key": "half"}, [""]),
        ([], [""]),
        ("text", [""]),
    ],
)
def test_what_cannot_be_made_is_refused_with_its_place(api, staff, organization, body, pointers):
    response = api(staff).post(ROUTE, json.dumps(body), content_type="application/json")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert {error["pointer"] for error in response.json()["errors"]} == set(pointers)
    assert Organization.objects.count() == 1


def test_a_change_is_audited(api, manager_key, address, organization):
    response = api(manager_key).patch(address, {"name": "Harbour", "license_sync_hours": None})
    assert response.json()["name"] == "Harbour"
    event = AuditEvent.objects.get()
    assert (event.action, event.through, event.api_key, event.user) == ("change", "api", manager_key, None)
    assert event.before == {"name": "Harbour Survey", "license_sync_hours": 24}
    assert event.after == {"name": "Harbour", "license_sync_hours": None}


def test_a_refused_field_changes_nothing(api, alice, address, organization):
    response = api(alice).patch(address, {"name": "Harbour", "is_active": False})
    assert response.status_code == 403
    organization.refresh_from_db()
    assert (organization.name, organization.is_active) == ("Harbour Survey", True)
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("who", ["staff", "alice"])
def test_the_id_is_never_changed(api, who, address, organization):
    response = api(who).patch(address, {"organization_id": "other"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "/organization_id"
    assert api(who).patch(address, {"organization_id": "12345678", "name": "New"}).status_code == 200


def test_a_change_of_what_changed_meanwhile_is_refused(api, alice, address):
    tag = api(alice).get(address)["ETag"]
    assert api(alice).patch(address, {"name": "One"}, headers={"If-Match": tag}).status_code == 200
    assert api(alice).patch(address, {"name": "Two"}, headers={"If-Match": tag}).status_code == 412


# --- its own DJI license ---------------------------------------------------------------------------


def test_a_license_is_written_and_never_read(api, staff, address, organization):
    client = api(staff)
    texts = [client.patch(address, LICENSE).content, client.get(address).content, client.get(ROUTE).content]
    texts.append(client.post(ROUTE, {"name": "New", **LICENSE}).content)
    assert not any(b"s3cret" in text or b"app_" in text for text in texts)
    assert all(b'"has_own_license":true' in text for text in texts)
    organization.refresh_from_db()
    assert {name: getattr(organization, name) for name in LICENSE} == LICENSE
    assert not AuditEvent.objects.filter(after__icontains="s3cret").exists()
    assert AuditEvent.objects.filter(after__app_key="***").count() == 2


def test_a_manager_cannot_find_out_what_the_license_is(api, alice, staff, address, organization):
    api(staff).patch(address, LICENSE)
    for body in (LICENSE, {"app_id": LICENSE["app_id"]}, {"app_id": "else"}, {"app_key": 5}):
        assert api(alice).patch(address, body).status_code == 403


def test_half_a_license_is_refused_of_what_would_be_stored(api, staff, address, organization):
    client = api(staff)
    assert client.patch(address, {"app_id": "100"}).status_code == 400
    assert client.patch(address, LICENSE).status_code == 200
    assert client.patch(address, {"app_id": "200"}).status_code == 200
    assert client.patch(address, {"app_key": ""}).status_code == 400
    assert client.patch(address, dict.fromkeys(LICENSE, "")).json()["has_own_license"] is False


@pytest.mark.parametrize("name", ["nowhere", "x" * 65, "a%00b", "%F0%9F%92%A9", "1%2F2", "-", "."])
def test_an_id_that_is_none_is_not_found(api, staff, name):
    assert api(staff).get(f"{ROUTE}{name}/").status_code == 404


def test_a_key_of_a_deleted_organization_opens_nothing(api, other_organization):
    key = make_key(other_organization)
    other_organization.delete()
    assert api(key).get(ROUTE).status_code == 401
