"""The map of the docks: where each is, how near ones come together, who sees what, and the page around it."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState, ServiceCall, Site
from licenses.models import UnlockLicense
from mqtt_bridge.models import Heartbeat

pytestmark = pytest.mark.django_db
MAP, GEOJSON = "/admin/devices/device/map/", "/admin/devices/device/geojson/"


@pytest.fixture
def ask(client):
    """ask(user, query) returns the collection that this user gets."""

    def ask(user, query="", **headers):
        client.force_login(user)
        response = client.get(GEOJSON + query, headers=headers)
        assert response.status_code == 200, response.content
        return json.loads(response.content)

    return ask


@pytest.fixture
def bridge(db):
    now = timezone.now()
    return Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


def device(sn, organization, *, at=None, **fields):
    """A dock that is online, at (longitude, latitude) if it reported a place."""
    made = Device.objects.create(sn=sn, organization=organization, **{"model_key": "3-2-0", **fields})
    state = {"longitude": at[0], "latitude": at[1]} if at else {}
    DeviceState.objects.create(device=made, online=True, last_seen=timezone.now(), **state)
    return made


def places(told):
    return {one["properties"]["sn"]: one["geometry"]["coordinates"] for one in told["features"]}


def groups(told):
    found = [one["properties"] for one in told["features"] if one["properties"]["kind"] == "group"]
    return [(group["count"], group["state"], group["states"]) for group in found]


# --- where ---------------------------------------------------------------------------------------


def test_a_dock_is_where_it_reported_to_be_else_at_its_site_else_without_a_place(ask, alice, organization):
    site = Site.objects.create(organization=organization, name="Pier", latitude=53.5, longitude=9.9)
    half = Site.objects.create(organization=organization, name="Half", latitude=53.5)
    device("HERE", organization, at=(10.5, 54.25), site=site)
    device("SITE", organization, site=site)
    device("NOWHERE", organization, site=half)
    told = ask(alice)
    assert places(told) == {"HERE": [10.5, 54.25], "SITE": [9.9, 53.5]}
    assert (told["total"], told["placeless"], told["box"]) == (2, 1, [9.9, 53.5, 10.5, 54.25])
    assert [one["properties"]["reported"] for one in told["features"]] == [True, False]


def test_an_aircraft_is_shown_only_where_it_is_not_in_its_dock(ask, alice, organization):
    dock = device("DOCK", organization, at=(10, 54))
    inside = {"model_key": "0-91-1", "gateway": dock}
    device("HOME", organization, at=(10.0001, 54.0001), **inside)
    device("FLIES", organization, at=(10, 54.01), **inside)
    device("UNKNOWN", organization, **inside)
    device("ALONE", organization, at=(9, 53), model_key="0-91-1")
    assert set(places(ask(alice))) == {"DOCK", "FLIES", "ALONE"}


def test_what_is_retired_is_not_on_the_map(ask, staff, organization):
    device("OLD", None, at=(10, 54), retired_at=timezone.now())
    device("NEW", None, at=(10, 54))
    assert set(places(ask(staff))) == {"NEW"}


# --- how -----------------------------------------------------------------------------------------


def test_near_docks_come_together_with_the_worst_of_them(ask, alice, bridge, organization):
    for number in range(4):
        device(f"NEAR{number}", organization, at=(113.9, 22.5 + number / 1000))
    device("FAR", organization, at=(10, 54))
    DeviceState.objects.filter(device__sn="NEAR1").update(online=False)
    told = ask(alice, "?zoom=4")
    assert groups(told) == [(4, "offline", {"offline": 1, "online": 3})]
    assert [one["properties"]["sn"] for one in told["features"][1:]] == ["FAR"]
    DeviceState.objects.filter(device__sn="NEAR2").update(clock_skew_ms=900_000)
    assert groups(ask(alice, "?zoom=4"))[0][1:] == ("attention", {"attention": 1, "offline": 1, "online": 2})
    assert len(places(ask(alice, "?zoom=19&bbox=113.89,22.495,113.91,22.51"))) == 4
    assert places(ask(alice, "?bbox=113,22,114,22.5")) == {"NEAR0": [113.9, 22.5]}


def test_docks_on_both_sides_of_a_border_of_the_grid_come_together(ask, alice, organization):
    for number, longitude in enumerate((-0.1, 0.1, 40)):
        device(f"DOCK{number}", organization, at=(longitude, 50))
    told = ask(alice, "?zoom=3")
    assert [count for count, *_ in groups(told)] == [2]
    assert len(places(ask(alice, "?zoom=12&bbox=-0.2,49.9,0.2,50.1"))) == 2


def test_a_view_across_the_antimeridian_has_both_sides(ask, alice, organization):
    device("EAST", organization, at=(179, -17))
    device("WEST", organization, at=(-179, -17))
    assert places(ask(alice, "?bbox=170,-20,190,-10")) == {"EAST": [179, -17], "WEST": [181, -17]}
    assert places(ask(alice, "?bbox=-190,-20,-170,-10")) == {"EAST": [-181, -17], "WEST": [-179, -17]}


def test_a_dock_says_what_it_needs_and_leads_to_its_page(ask, alice, bridge, organization):
    site = Site.objects.create(organization=organization, name="Pier")
    made = device("DOCK", organization, at=(10, 54), site=site, callsign="Quay")
    DeviceState.objects.filter(device=made).update(clock_skew_ms=900_000)
    [one] = ask(alice)["features"]
    told = one["properties"]
    assert (told["callsign"], told["organization"], told["site"]) == ("Quay", "Harbour Survey", "Pier")
    assert (told["state"], told["presence_text"], len(told["needs"])) == ("attention", "online", 1)
    assert told["page"] == f"/admin/devices/device/{made.pk}/change/"


def test_while_no_bridge_runs_docks_are_unknown(ask, alice, organization):
    device("DOCK", organization, at=(10, 54))
    device("NEW", organization, at=(20, 54))
    DeviceState.objects.filter(device__sn="NEW").update(online=False, last_seen=None)
    states = {one["properties"]["sn"]: one["properties"]["state"] for one in ask(alice)["features"]}
    assert states == {"DOCK": "unknown", "NEW": "never"}


# --- who, and which ------------------------------------------------------------------------------


def test_members_see_the_docks_of_their_organizations_only(ask, alice, bob, charlie, staff, dock, other_organization):
    device("NORTH", other_organization, at=(5, 60))
    for user, seen in ((alice, {dock.sn}), (bob, {dock.sn}), (charlie, {"NORTH"}), (staff, {dock.sn, "NORTH"})):
        assert set(places(ask(user))) == seen
        assert ask(user, "?zoom=1")["total"] == len(seen)


def test_the_filters_of_the_list_count(ask, alice, bridge, dock, organization):
    site = Site.objects.create(organization=organization, name="Pier")
    device("OTHER", organization, at=(10, 54), model_key="3-3-0", site=site)
    DeviceState.objects.filter(device__sn="OTHER").update(clock_skew_ms=900_000)
    for query in (f"site={site.pk}", "product=3-3-0", "attention=yes", "q=OTHER", "clock=wrong"):
        assert set(places(ask(alice, f"?{query}"))) == {"OTHER"}, query
    assert set(places(ask(alice, "?presence=online"))) == {"OTHER", dock.sn}


@pytest.mark.parametrize(
    "query", ["bbox=1,2,3", "bbox=9,0,1,1", "bbox=nan,0,1,1", "zoom=x", "zoom=-1", "zoom=nan", "x=1"]
)
def test_a_query_that_means_nothing_is_refused(client, alice, query):
    client.force_login(alice)
    assert client.get(f"{GEOJSON}?{query}").status_code == 400


def test_more_docks_cost_no_more_queries(client, alice, bridge, organization):
    def count(query):
        client.get(query)
        with CaptureQueriesContext(connection) as captured:
            client.get(query)
        return len(captured)

    client.force_login(alice)
    device("DOCK", organization, at=(10, 54))
    pages = (MAP, f"{GEOJSON}?zoom=4", GEOJSON)
    few = [count(page) for page in pages]
    for number in range(40):
        device(f"DOCK{number}", organization, at=(number, 54) if number % 4 else None)
    assert all(now <= before for now, before in zip(map(count, pages), few, strict=True))
    assert max(few) <= 20


# --- the page ------------------------------------------------------------------------------------


def test_the_page_has_the_same_docks_as_a_table_the_worst_first(client, alice, bridge, organization):
    for number, skew in enumerate((0, 900_000, 0)):
        made = device(f"DOCK{number}", organization, at=(10, 54))
        DeviceState.objects.filter(device=made).update(clock_skew_ms=skew)
    device("NOWHERE", organization)
    DeviceState.objects.filter(device__sn="DOCK2").update(online=False)
    client.force_login(alice)
    response = client.get(MAP)
    assert [row.sn for row in response.context["cl"].result_list][:2] == ["DOCK1", "DOCK2"]
    words = response.content.decode()
    assert "1 dock without a place" in words
    assert words.index("1 dock without a place") < words.index("NOWHERE")
    assert "action-select" not in words


def test_the_page_says_which_licenses_its_filters_mean(client, alice, organization, dock):
    site = Site.objects.create(organization=organization, name="Pier")
    Device.objects.filter(pk=dock.pk).update(site=site)
    other = device("OTHER", organization)
    until = timezone.now() + timedelta(days=9)
    for one in (dock, other):
        UnlockLicense.objects.create(
            device=one, device_model_domain=3, license_id=1, type=5, name=one.sn, end_time=until
        )
    client.force_login(alice)
    asked = client.get(f"{MAP}?site={site.pk}&organization__id__exact={organization.pk}").context["licenses"]
    found = json.loads(client.get(asked).content)["features"]
    assert [one["properties"]["name"] for one in found if one["properties"]["kind"] == "license"] == [dock.sn]


def test_the_start_page_the_list_and_a_site_lead_to_the_map(client, alice, organization, dock):
    site = Site.objects.create(organization=organization, name="Pier")
    client.force_login(alice)
    assert f'href="{MAP}"' in client.get("/admin/").content.decode()
    assert f'href="{MAP}?presence=online"' in client.get("/admin/devices/device/?presence=online").content.decode()
    assert f'href="{MAP}?site={site.pk}"' in client.get(f"/admin/devices/site/{site.pk}/change/").content.decode()


@pytest.mark.parametrize("page", ["devices/dockconnection", "devices/servicecall", "licenses/unlocklicense"])
def test_other_lists_are_filtered_by_site_too(client, alice, organization, dock, page):
    site = Site.objects.create(organization=organization, name="Pier")
    other = device("OTHER", organization, bound_at=timezone.now())
    for one in (dock, other):
        UnlockLicense.objects.create(device=one, device_model_domain=3, license_id=1, type=5, name=one.sn)
        ServiceCall.objects.create(device=one, organization=organization, method="unlock_license_list", subject=one.sn)
    Device.objects.filter(pk=dock.pk).update(site=site)
    client.force_login(alice)

    def shown(query):
        rows = client.get(f"/admin/{page}/?{query}").context["cl"].result_list
        return {getattr(row, "device", row).sn for row in rows}

    assert shown(f"site={site.pk}") == {dock.sn}
    assert shown("site=none") == {"OTHER"}
    assert shown("site=999999") == set()
