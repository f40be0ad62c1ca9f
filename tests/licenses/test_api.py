"""Unlock licenses over REST."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from devices import binding
from devices.models import Device, DeviceState
from licenses.models import Inventory, LicenseEvent, LicenseList, UnlockLicense
from licenses.validity import STATES
from organizations import audit
from organizations.models import AuditEvent, Role
from tests.api import client_of, make_key
from tests.cast import member
from tests.devices.live.listener import listen_to
from tests.licenses.admin.test_licenses import license_, read
from tests.licenses.lists import license_ as told
from tests.licenses.lists import store

pytestmark = pytest.mark.django_db
LIST = "/api/v1/licenses/"
AIRCRAFT, DOCK = Inventory.AIRCRAFT, Inventory.DOCK
CIRCLE = {"latitude": 53.5, "longitude": 9.9, "radius": 100}


@pytest.fixture
def operator(operator_key):
    return client_of(operator_key)


@pytest.fixture
def viewer(viewer_key):
    return client_of(viewer_key)


@pytest.fixture
def stranger(stranger_key):
    return client_of(stranger_key)


def page_of(row):
    return f"{LIST}{row.pk}/"


def listed(client, url=LIST, **query):
    """The ids of the licenses in a list, by DJI."""
    response = client.get(url, query)
    assert response.status_code == 200, response.data
    return [row["license_id"] for row in response.data["results"]]


def of_dock(dock):
    return f"/api/v1/devices/{dock.sn}/licenses/"


# --- what a license says ---------------------------------------------------------------------------


def test_a_license_is_told_under_djis_names(viewer, dock):
    store(dock, [told(1, CIRCLE, key=7, name="Harbour")])
    row = UnlockLicense.objects.get()
    assert viewer.get(page_of(row)).json() == {
        "id": row.pk,
        "device": "DOCK0001",
        "organization": "12345678",
        "device_model_domain": 0,
        "inventory": "aircraft",
        "in_other_inventory": False,
        "license_id": 7,
        "name": "Harbour",
        "type": 1,
        "type_name": "Custom circle",
        "group_id": None,
        "user_id": "",
        "device_sn": "DRONE0001",
        "begin_time": "2023-11-14T22:13:20Z",
        "end_time": "2038-01-01T00:00:00Z",
        "user_only": False,
        "enabled": True,
        "details": CIRCLE,
        "validity": "in force",
        "as_of": row.seen_at.isoformat().replace("+00:00", "Z"),
        "is_stale": False,
        "seen_at": row.seen_at.isoformat().replace("+00:00", "Z"),
        "updated": row.updated.isoformat().replace("+00:00", "Z"),
        "note": "",
    }


@pytest.mark.parametrize("key", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_a_license_id_keeps_its_64_bits(viewer, dock, key):
    row = license_(dock, key)
    assert f'"license_id":{key},' in viewer.get(page_of(row)).content.decode()
    assert listed(viewer, license_id=key) == [key]
    assert listed(viewer, search=key) == [key]


def test_of_an_old_list_is_told_how_it_was(viewer, dock):
    row = license_(dock, seen_at=timezone.now() - timedelta(days=9))
    seen = viewer.get(page_of(row)).data
    assert (seen["validity"], seen["is_stale"]) == ("was in force", True)
    read(dock, hours=1)
    seen = viewer.get(page_of(row)).data
    assert (seen["validity"], seen["is_stale"]) == ("in force", False)
    assert seen["as_of"] == LicenseList.objects.get().fetched_at


def test_an_incomplete_list_makes_no_license_current(viewer, dock):
    row = license_(dock, seen_at=timezone.now() - timedelta(days=9))
    read(dock, complete=False)
    read(dock, DOCK)
    assert viewer.get(page_of(row)).data["is_stale"] is True


def test_what_the_aircraft_has_is_not_called_not_imported(viewer, dock):
    both, alone = license_(dock, 1, DOCK), license_(dock, 2, DOCK)
    license_(dock, 1, AIRCRAFT)
    words = {row.license_id: viewer.get(page_of(row)).data["validity"] for row in (both, alone)}
    assert words == {1: "approved for the dock", 2: "not imported"}
    assert listed(viewer, state="not-imported") == [2]


@pytest.mark.parametrize("state", ["in-force", "disabled", "not-begun", "expired", "not-imported", "not-told"])
def test_list_map_and_rest_say_the_same_of_a_license(viewer, dock, state):
    fields = {
        "disabled": {"enabled": False},
        "not-begun": {"begin": 1},
        "expired": {"enabled": False, "end": -1},
        "not-imported": {"domain": DOCK},
        "not-told": {"enabled": None},
    }
    row = license_(dock, 1, **fields.get(state, {}))
    seen = viewer.get(f"{page_of(row)}?include=map").data
    assert {seen["validity"], seen["map"]["properties"]["state_text"]} == {STATES[state][0]}


def test_the_tag_stays_while_time_goes_by(viewer, dock, time_machine):
    tags = set()
    for minute in (0, 1, 59):
        time_machine.move_to(timezone.now() + timedelta(minutes=minute), tick=False)
        if not minute:
            row = license_(dock, end=9)
        tags.add(viewer.get(page_of(row))["ETag"])
    assert len(tags) == 1


def test_what_is_heavy_is_told_only_when_asked_and_of_one_license(viewer, dock):
    store(dock, [told(1, CIRCLE, key=7)])
    row = UnlockLicense.objects.get()
    seen = viewer.get(page_of(row), {"include": "raw,history,map"}).data
    assert seen["raw"] == row.raw
    assert seen["map"]["geometry"] == {"type": "Point", "coordinates": [9.9, 53.5]}
    assert seen["map"]["properties"]["radius"] == 100
    (event,) = seen["history"]
    assert (event["kind"], event["inventory"]) == ("appeared", "aircraft")
    assert event["call"] == str(LicenseEvent.objects.get().call_id)
    assert not {"raw", "history", "map"} & viewer.get(page_of(row)).data.keys()
    assert viewer.get(LIST, {"include": "raw"}).status_code == 400


def test_the_history_of_an_earlier_owner_is_not_told(operator, stranger, dock, other_organization):
    store(dock, [told(1, CIRCLE, key=7)])
    binding.release(Device.objects.filter(pk=dock.pk), actor=audit.Actor(AuditEvent.Through.COMMAND))
    Device.objects.update(organization=other_organization)
    dock.refresh_from_db()
    store(dock, [told(1, CIRCLE, key=7, enabled=False)])
    row = UnlockLicense.objects.get()
    (event,) = stranger.get(page_of(row), {"include": "history"}).data["history"]
    assert event["after"]["enabled"] is False
    assert operator.get(page_of(row), {"include": "history"}).status_code == 404


# --- who may what ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "read_status", "write_status"),
    [(None, 401, 401), ("viewer", 200, 403), ("operator", 200, 200), ("manager", 200, 200), ("stranger", 404, 404)],
)
def test_operators_write_notes_and_strangers_see_nothing(
    dock, organization, other_organization, role, read_status, write_status
):
    row = license_(dock)
    owner = other_organization if role == "stranger" else organization
    key = role and make_key(owner, Role.MANAGER if role == "stranger" else Role(role))
    client = client_of(key)
    assert client.get(page_of(row)).status_code == read_status
    assert client.patch(page_of(row), {"note": "ask Bob"}).status_code == write_status
    assert (UnlockLicense.objects.get().note == "ask Bob") == (write_status == 200)


def test_strangers_find_no_license_in_any_list(stranger, dock, other_organization):
    license_(dock)
    own = Device.objects.create(sn="OWN", model_key="3-2-0", organization=other_organization)
    license_(own, 2)
    assert listed(stranger) == [2]
    assert listed(stranger, device=dock.sn) == []
    assert listed(stranger, organization="12345678") == []
    assert listed(stranger, search=dock.sn) == []
    assert stranger.get(of_dock(dock)).status_code == 404
    assert listed(stranger, of_dock(own)) == [2]


@pytest.mark.django_db(transaction=True)
def test_a_note_is_written_audited_and_told_to_browsers(operator, dock):
    row = license_(dock)
    with listen_to(dock) as listener:
        operator.patch(page_of(row), {"note": "ask Bob"})
        assert listener.heard(1) == [{"type": "licenses", "sn": dock.sn}]
    assert UnlockLicense.objects.get().note == "ask Bob"
    event = AuditEvent.objects.get(action="change")
    assert (event.through, event.before, event.after) == ("api", {"note": ""}, {"note": "ask Bob"})
    assert event.api_key.name == "operator key"


def test_the_same_note_again_is_no_change(operator, dock):
    row = license_(dock, note="ask Bob")
    response = operator.patch(page_of(row), {"note": "ask Bob"})
    assert response.data["note"] == "ask Bob"
    assert not AuditEvent.objects.filter(action="change").exists()


def test_only_the_note_can_be_written(operator, dock):
    row = license_(dock, enabled=False)
    response = operator.patch(page_of(row), {"enabled": True, "note": "on"})
    assert response.status_code == 400
    assert [error["pointer"] for error in response.data["errors"]] == ["/enabled"]
    row.refresh_from_db()
    assert (row.enabled, row.note) == (False, "")
    for send in (operator.put, operator.delete, operator.post):
        assert send(page_of(row), {}).status_code == 405


def test_a_note_is_not_written_over_another(operator, dock):
    row = license_(dock)
    tag = operator.get(page_of(row))["ETag"]
    assert operator.patch(page_of(row), {"note": "first"}, headers={"If-Match": tag}).status_code == 200
    assert operator.patch(page_of(row), {"note": "second"}, headers={"If-Match": tag}).status_code == 412
    assert UnlockLicense.objects.get().note == "first"


@pytest.mark.parametrize("note", ["a\0b", "\ud800", 5, None, ["x"], {"a": 1}, True])
def test_a_note_that_is_no_text_is_refused(operator, dock, note):
    row = license_(dock)
    response = operator.generic("PATCH", page_of(row), json.dumps({"note": note}), content_type="application/json")
    assert response.status_code == 400
    assert response.data["errors"][0]["pointer"].startswith("/note")


@pytest.mark.parametrize("key", ["abc", "0", "-1", "9" * 18, "9" * 19, "1" + "0" * 30, "%00", "%F0%9F%98%80", "1.0"])
def test_an_id_that_is_none_is_not_found(viewer, dock, key):
    license_(dock)
    response = viewer.get(f"{LIST}{key}/")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


# --- which licenses --------------------------------------------------------------------------------


@pytest.fixture
def fleet(dock):
    """1: in both inventories, of a circle; 2: expired and on; 3: not imported; 4: off; 5: of another dock, no end."""
    license_(dock, 1, AIRCRAFT, begin=-3, name="Harbour")
    license_(dock, 1, DOCK, begin=-3, name="Harbour")
    license_(dock, 2, end=-2, type=3)
    license_(dock, 3, DOCK, end=50)
    license_(dock, 4, end=60, enabled=False, device_sn="BOUND1")
    other = Device.objects.create(sn="DOCK0002", model_key="3-2-0", organization=dock.organization, callsign="Pier 8")
    license_(other, 5, end=None, enabled=None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [2, 3, 4, 1, 1, 5]),
        ({"ordering": "-end_time"}, [5, 1, 1, 4, 3, 2]),
        ({"ordering": "begin_time", "listed": "true"}, [2, 3, 4, 5, 1]),
        ({"listed": "true"}, [2, 3, 4, 1, 5]),
        ({"listed": "false"}, [2, 3, 4, 1, 1, 5]),
        ({"inventory": "dock"}, [3, 1]),
        ({"inventory": "dock", "listed": "true"}, [3]),
        ({"in_other_inventory": "true"}, [1, 1]),
        ({"inventory": "aircraft", "in_other_inventory": "false"}, [2, 4, 5]),
        ({"device": "DOCK0002"}, [5]),
        ({"device": "NOBODY"}, []),
        ({"organization": "12345678", "type": 3}, [2]),
        ({"type": 9**30}, []),
        ({"state": "expired-enabled"}, [2]),
        ({"state": "in-force"}, [1]),
        ({"state": "disabled"}, [4]),
        ({"state": "not-imported"}, [3]),
        ({"state": "not-told"}, [5]),
        ({"enabled": "true"}, [2, 3, 1, 1]),
        ({"enabled": "false"}, [4]),
        ({"license_id": 3}, [3]),
        ({"license_id": -(10**30)}, []),
        ({"search": "harb"}, [1, 1]),
        ({"search": "Pier 8"}, [5]),
        ({"search": "bound1"}, [4]),
        ({"search": "--5"}, []),
        ({"search": "9" * 40}, []),
    ],
)
def test_licenses_are_narrowed_and_ordered(viewer, fleet, query, expected):
    assert listed(viewer, **query) == expected


def test_licenses_are_narrowed_by_their_end(viewer, fleet):
    moment = (timezone.now() + timedelta(days=55)).isoformat()
    assert listed(viewer, end_before=moment) == [2, 3]
    assert listed(viewer, end_after=moment) == [4, 1, 1]
    assert listed(viewer, end_after="1999-01-01T00:00:00+23:59", listed="true") == [2, 3, 4, 1]


def test_licenses_are_narrowed_by_when_they_changed(operator, fleet):
    moment = timezone.now()
    row = UnlockLicense.objects.get(license_id=4)
    assert listed(operator, updated_since=moment.isoformat()) == []
    operator.patch(page_of(row), {"note": "ask Bob"})
    assert listed(operator, updated_since=moment.isoformat()) == [4]
    assert listed(operator, ordering="-updated")[0] == 4


@pytest.mark.parametrize(
    "query",
    [
        {"listed": "yes"}, {"enabled": "1"}, {"state": "good"}, {"inventory": "0"}, {"type": "circle"}, {"type": "1.5"},
        {"license_id": "1e3"}, {"license_id": "9" * 5000}, {"end_before": "soon"}, {"end_after": ""},
        {"search": "a\0b"}, {"end_after": "0001-01-01T00:00:00+14:00"}, {"end_before": "9999-12-31T23:00:00-12:00"},
        {"ordering": "name"}, {"ordering": "device__sn"}, {"fields": "id"}, {"devise": "DOCK0001"}, {"include": "all"},
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(viewer, fleet, query):
    response = viewer.get(LIST, query)
    assert response.status_code == 400
    assert response.data["errors"][0]["parameter"] == next(iter(query))


@pytest.mark.parametrize("ordering", ["end_time", "-end_time", "begin_time", "-begin_time", "id", "-id", "-updated"])
def test_pages_show_every_license_once(viewer, fleet, ordering):
    url, found = f"{LIST}?limit=1&ordering={ordering}", []
    while url:
        page = viewer.get(url).data
        found += [row["id"] for row in page["results"]]
        url = page["next"]
    assert sorted(found) == sorted(UnlockLicense.objects.values_list("pk", flat=True))


def queries(client, url, **query):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = client.get(url, query)
    assert response.status_code == 200
    return len(captured), response.data


def test_lists_ask_a_constant_number_of_queries(organization, dock):
    bob = client_of(member("bob2", organization, Role.VIEWER))
    read(dock)
    counts = []
    for keys in (range(2), range(2, 20)):
        for key in keys:
            other = Device.objects.create(sn=f"D{key}", model_key="3-2-0", organization=organization)
            DeviceState.objects.create(device=other)
            for row in (dock, other):
                license_(row, key)
                license_(row, key, DOCK)
        bob.get(LIST)
        counts.append([queries(bob, url)[0] for url in (LIST, of_dock(dock))])
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 6


def test_the_raw_license_is_not_read_for_a_list(viewer, fleet):
    with CaptureQueriesContext(connection) as captured:
        viewer.get(LIST)
    (query,) = [query["sql"] for query in captured if 'ORDER BY "licenses_unlocklicense"' in query["sql"]]
    assert '"raw"' not in query


# --- of one dock -----------------------------------------------------------------------------------


def test_the_list_of_a_dock_tells_how_its_inventories_were_read(viewer, fleet, dock):
    read(dock, AIRCRAFT, hours=1, count=3, consistence=False)
    read(dock, AIRCRAFT, count=None, applied=False, complete=False)
    page = viewer.get(of_dock(dock), {"listed": "true"}).data
    assert [row["license_id"] for row in page["results"]] == [2, 3, 4, 1]
    aircraft, own = page["inventories"]
    moment = LicenseList.objects.get(count=3).fetched_at.isoformat().replace("+00:00", "Z")
    assert aircraft == {
        "device_model_domain": 0,
        "inventory": "aircraft",
        "fetched_at": moment,
        "complete": True,
        "consistence": False,
        "count": 3,
        "is_stale": False,
    }
    unread = dict.fromkeys(("fetched_at", "complete", "consistence", "count"))
    assert own == {"device_model_domain": 3, "inventory": "dock", **unread, "is_stale": True}


def test_each_page_of_a_dock_tells_of_its_inventories(viewer, fleet, dock):
    page = viewer.get(of_dock(dock), {"limit": 3}).data
    page = viewer.get(page["next"]).data
    assert len(page["results"]) == 2
    assert len(page["inventories"]) == 2


def test_the_list_of_a_dock_takes_no_other_dock(viewer, fleet, dock):
    assert viewer.get(of_dock(dock), {"device": "DOCK0002"}).status_code == 400
    assert viewer.get("/api/v1/devices/NOBODY/licenses/").status_code == 404
    assert viewer.post(of_dock(dock), {}).status_code == 405
    assert APIClient().get(of_dock(dock)).status_code == 401
