"""Devices over REST: who sees and changes which, and what a list costs."""

import json

import pytest
from django.utils import timezone

from cloudapi.rest.views import document
from devices.models import Device, DeviceAccount, DeviceState, ServiceCall
from organizations.models import AuditEvent

LIST = "/api/v1/devices/"
ONE = f"{LIST}DOCK0001/"


@pytest.fixture
def viewer(api, viewer_key):
    return api(viewer_key)


@pytest.fixture
def operator(api, operator_key):
    return api(operator_key)


@pytest.fixture
def manager(api, manager_key):
    return api(manager_key)


@pytest.fixture
def stranger(api, stranger_key):
    return api(stranger_key)


def sns(response):
    assert response.status_code == 200, response.content
    return [row["sn"] for row in response.json()["results"]]


# --- lists -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dock", "aircraft")
def test_a_stranger_sees_none_of_it(stranger):
    assert sns(stranger.get(LIST)) == []
    assert stranger.get(ONE).status_code == 404


@pytest.mark.usefixtures("aircraft")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["DOCK0001", "DRONE0001"]),
        ("kind=dock", ["DOCK0001"]),
        ("kind=aircraft", ["DRONE0001"]),
        ("gateway=DOCK0001", ["DRONE0001"]),
        ("presence=never", ["DRONE0001"]),
        ("model_key=3-2-0", ["DOCK0001"]),
        ("is_enabled=false", []),
        ("search=pier", ["DOCK0001"]),
        ("organization=12345678", ["DOCK0001", "DRONE0001"]),
        ("organization=87654321", []),
        ("ordering=-sn", ["DRONE0001", "DOCK0001"]),
    ],
)
def test_a_list_holds_what_was_asked_for(viewer, query, found):
    assert sns(viewer.get(f"{LIST}?{query}")) == found


@pytest.mark.usefixtures("dock")
@pytest.mark.parametrize("query", ["presense=online", "is_enabled=maybe", "kind=boat", "include=secrets", "fields=sn"])
def test_a_parameter_that_is_not_understood_is_refused(viewer, query):
    response = viewer.get(f"{LIST}?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_what_changed_since_is_told_and_presence_is_no_change(viewer, dock, aircraft):
    before = timezone.now()
    DeviceState.objects.filter(device=dock).update(online=False)
    assert sns(viewer.get(LIST, {"updated_since": before.isoformat()})) == []
    aircraft.callsign = "Tern"
    aircraft.save()
    assert sns(viewer.get(LIST, {"updated_since": before.isoformat()})) == ["DRONE0001"]


@pytest.mark.parametrize("include", ["", "state", "account", "carried", "state,account,carried"])
def test_a_list_costs_as_many_queries_for_many_as_for_few(viewer, organization, include, django_assert_max_num_queries):
    def add(count):
        for number in range(count):
            dock = Device.objects.create(sn=f"D{count}{number}", model_key="3-2-0", organization=organization)
            DeviceState.objects.create(device=dock, online=True, last_seen=timezone.now())
            DeviceAccount.objects.create(device=dock)
            Device.objects.create(sn=f"A{count}{number}", model_key="0-91-0", organization=organization, gateway=dock)

    add(2)
    viewer.get(LIST)  # notes that the key is in use
    with django_assert_max_num_queries(3 + ("carried" in include)):
        assert len(sns(viewer.get(LIST, {"include": include}))) == 4
    add(20)
    with django_assert_max_num_queries(3 + ("carried" in include)):
        assert len(sns(viewer.get(LIST, {"include": include}))) == 44


# --- one device ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aircraft")
def test_a_device_shows_more_when_asked(viewer, dock):
    DeviceAccount.objects.create(device=dock, username="pilot@example.org", status="logged_in")
    plain = viewer.get(ONE).json()
    assert not plain.keys() & {"state", "account", "carried", "properties"}
    told = viewer.get(f"{ONE}?include=state,account,carried,properties").json()
    assert told["state"]["latitude"] == 53.5
    assert told["account"] == {
        "username": "pilot@example.org",
        "status": "logged_in",
        "verification_code_url": "",
        "verification_code_url_trusted": False,
    }
    assert told["carried"] == ["DRONE0001"]
    assert told["properties"] == {}


def test_an_aircraft_in_a_dock_of_another_organization_does_not_name_it(viewer, dock, aircraft, other_organization):
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert viewer.get(f"{LIST}{aircraft.sn}/").json()["gateway"] is None
    assert sns(viewer.get(LIST, {"gateway": dock.sn})) == []


@pytest.mark.usefixtures("dock")
def test_what_the_client_has_already_is_not_told_again(viewer):
    tag = viewer.get(ONE)["ETag"]
    assert viewer.get(ONE, HTTP_IF_NONE_MATCH=tag).status_code == 304
    assert viewer.get(ONE, HTTP_IF_NONE_MATCH=f'"other", W/{tag}').status_code == 304
    Device.objects.update(callsign="Pier 8")
    assert viewer.get(ONE, HTTP_IF_NONE_MATCH=tag).status_code == 200


# --- changes ---------------------------------------------------------------------------------------


def test_an_operator_renames_a_device_and_the_trail_names_the_key(operator, dock):
    response = operator.patch(ONE, {"callsign": "Pier 8"})
    assert response.json()["callsign"] == "Pier 8"
    event = AuditEvent.objects.get(action="change", object_id=str(dock.pk))
    assert (event.through, event.api_key.name, event.user) == ("api", "operator key", None)
    assert (event.before, event.after) == ({"callsign": "Pier 7"}, {"callsign": "Pier 8"})


@pytest.mark.usefixtures("dock")
def test_a_change_that_changes_nothing_leaves_no_trail(operator):
    assert operator.patch(ONE, {"callsign": "Pier 7"}).status_code == 200
    assert not AuditEvent.objects.exists()


@pytest.mark.usefixtures("dock")
def test_who_knows_an_older_state_changes_nothing(operator):
    tag = operator.get(ONE)["ETag"]
    assert operator.patch(ONE, {"callsign": "Pier 8"}, HTTP_IF_MATCH=tag).status_code == 200
    assert operator.patch(ONE, {"callsign": "Pier 9"}, HTTP_IF_MATCH=tag).status_code == 412
    assert Device.objects.get().callsign == "Pier 8"


@pytest.mark.usefixtures("dock")
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sn": "DOCK0002"}, "/sn"),
        ({"calsign": "x"}, "/calsign"),
        ({"callsign": 5}, "/callsign"),
        ({"callsign": "x" * 129}, "/callsign"),
        ({"callsign": "a\x00b"}, "/callsign"),
        ({"callsign": "\ud800"}, "/callsign"),
        ({"\ud800": "x"}, "/?"),
        ({"is_enabled": "yes"}, "/is_enabled"),
        ([], ""),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_the_place(manager, body, pointer):
    response = manager.patch(ONE, json.dumps(body), content_type="application/json")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.usefixtures("dock")
@pytest.mark.parametrize(
    ("role", "renamed", "disabled", "released"),
    [("viewer", 403, 403, 403), ("operator", 200, 403, 403), ("manager", 200, 200, 200), ("stranger", 404, 404, 404)],
)
def test_each_role_may_do_what_it_may(request, role, renamed, disabled, released):
    whoever = request.getfixturevalue(role)
    assert whoever.patch(ONE, {"callsign": "Pier 8"}).status_code == renamed
    assert whoever.patch(ONE, {"is_enabled": False}).status_code == disabled
    assert whoever.post(f"{ONE}release/").status_code == released


def test_a_released_dock_takes_its_aircraft_along_and_keeps_nothing(manager, organization, dock, aircraft):
    ServiceCall.objects.create(device=dock, organization=organization, method="unlock_license_list", subject="x")
    assert manager.post(f"{ONE}release/").json() == {"released": [dock.sn, aircraft.sn]}
    assert ServiceCall.objects.get().status == "canceled"
    assert manager.get(ONE).status_code == 404


@pytest.mark.usefixtures("aircraft")
def test_a_dock_may_be_released_alone(manager, dock):
    assert manager.post(f"{ONE}release/", {"with_aircraft": False}).json() == {"released": [dock.sn]}


@pytest.mark.usefixtures("aircraft")
def test_who_knows_an_older_state_releases_nothing(manager):
    tag = manager.get(ONE)["ETag"]
    Device.objects.filter(sn="DOCK0001").update(callsign="Pier 8")
    assert manager.post(f"{ONE}release/", HTTP_IF_MATCH=tag).status_code == 412
    tag = manager.get(ONE)["ETag"]
    assert manager.post(f"{ONE}release/", HTTP_IF_MATCH=tag).json() == {"released": ["DOCK0001", "DRONE0001"]}


def test_the_reference_tells_what_a_release_answers():
    release = json.loads(document())["paths"]["/api/v1/devices/{sn}/release/"]["post"]
    [shown] = release["responses"]["200"]["content"].values()
    assert shown["schema"]["$ref"].endswith("/Released")


# --- transfer, retired -------------------------------------------------------------------------------


def test_platform_staff_transfer_a_dock_with_its_aircraft(api, staff, dock, aircraft, other_organization):
    answer = api(staff).post(f"{ONE}transfer/", {"organization": "87654321"})
    assert (answer.status_code, sorted(answer.json()["transferred"])) == (200, [dock.sn, aircraft.sn])
    assert set(Device.objects.values_list("organization", flat=True)) == {other_organization.pk}


def test_a_transfer_without_aircraft_to_a_full_or_an_unknown_organization(
    api, staff, dock, aircraft, other_organization
):
    client = api(staff)
    other_organization.device_limit = 0
    other_organization.save()
    answer = client.post(f"{ONE}transfer/", {"organization": "87654321", "with_aircraft": False})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:dock-cloud:problem:conflict")
    assert client.post(f"{ONE}transfer/", {"organization": "nobody"}).status_code == 404
    assert client.post(f"{ONE}transfer/", {}).status_code == 400
    other_organization.device_limit = None
    other_organization.save()
    answer = client.post(f"{ONE}transfer/", {"organization": "87654321", "with_aircraft": False})
    assert answer.json() == {"transferred": [dock.sn]}
    aircraft.refresh_from_db()
    assert aircraft.organization == dock.organization


def test_retired_devices_are_listed_only_when_they_are_asked_for(api, staff, dock):
    Device.objects.create(sn="RETIRED1", retired_at=timezone.now())
    client = api(staff)
    assert sns(client.get(LIST)) == [dock.sn]
    assert sns(client.get(LIST, {"retired": "true"})) == ["RETIRED1"]
    assert sns(client.get(LIST, {"retired": "false"})) == [dock.sn]
    assert client.get(f"{LIST}RETIRED1/").json()["retired_at"] is not None
