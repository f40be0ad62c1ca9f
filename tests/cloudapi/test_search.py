"""The search for everything: what each kind finds, for whom, and for how many queries."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.calls import methods
from devices.models import Device, Label, ServiceCall, Site
from licenses.models import UnlockLicense
from mqtt_bridge.models import Exchange
from organizations.models import Organization
from tests.world import furnish_both

pytestmark = pytest.mark.django_db
FOREIGN = ("Northern", "NORTHERN", "87654321", "charlie")


@pytest.fixture
def find(client):
    """find(user, term) returns by kind the names that were found."""

    def find(user, term):
        client.force_login(user)
        answer = client.get("/admin/search/", {"q": term, "format": "json"}).json()
        return {kind["name"]: [row["text"] for row in kind["rows"]] for kind in answer["kinds"]}

    return find


@pytest.fixture
def both(organization, alice, other_organization, charlie):
    """Both organizations with a row of everything, and what nobody owns."""
    furnish_both(organization, alice, other_organization, charlie)
    Exchange.objects.filter(organization=organization).update(tid="tid-of-a-harbour-dock")
    Exchange.objects.filter(organization=other_organization).update(tid="tid-of-a-northern-dock")
    UnlockLicense.objects.filter(device__organization=organization).update(license_id=240330)
    UnlockLicense.objects.filter(device__organization=other_organization).update(license_id=240331)
    Site.objects.filter(organization=other_organization).update(place="Pier 9")


def title(call):
    return methods.title(call.method, call.data)


def terms(organization, foreign=False):
    """What finds something of this organization's: a term for each kind and way."""
    prefix, call = ("NORTHERN" if foreign else "HARBOUR"), ServiceCall.objects.get(organization=organization)
    return [
        (f"{prefix[1:]}DOC".lower(), "Devices", f"{prefix} dock ({prefix}DOCK)"),
        (f"{prefix} DOCK", "Devices", f"{prefix} dock ({prefix}DOCK)"),
        (prefix.lower()[:6], "Organizations", organization.name),
        (organization.organization_id, "Organizations", organization.name),
        (f"{prefix} lic", "Unlock licenses", f"{prefix} license"),
        ("240331" if foreign else "240330", "Unlock licenses", f"{prefix} license"),
        *((str(number), "Commands", title(call)) for number in (call.pk, call.tid, call.bid)),
        (f"tid-of-a-{prefix.lower()}-dock", "Messages", "airport_organization_bind"),
        (f"{prefix}DOCK".lower(), "Messages", "airport_organization_bind"),
        (f"{prefix} site", "Sites", f"{prefix} site"),
        (f"{prefix} label", "Labels", f"{prefix} label"),
    ]


def test_each_kind_is_found_by_its_names_and_numbers(find, both, bob, organization):
    for term, kind, text in terms(organization):
        assert find(bob, term).get(kind) == [text], term


def test_nothing_of_another_organization_is_found_by_any_term(client, find, both, bob, staff, other_organization):
    for term, kind, text in [*terms(other_organization, foreign=True), ("Pier 9", "Sites", "NORTHERN site")]:
        assert find(bob, term) == {}, term
        page = client.get("/admin/search/", {"q": term}).content.decode().replace(f"“{term}”", "")
        page = page.replace(f'value="{term}"', "").replace(f"?q={term.replace(' ', '+')}", "")
        assert not [name for name in FOREIGN if name in page], term
        assert find(staff, term).get(kind) == [text], term


def test_who_left_an_organization_finds_nothing_of_it(find, both, bob):
    assert find(bob, "HARBOUR")
    bob.memberships.all().delete()
    assert find(bob, "HARBOUR") == {}


def test_a_dock_that_has_moved_is_not_named_by_its_new_owner(client, find, both, bob, organization, other_organization):
    call = ServiceCall.objects.get(organization=organization)
    Device.objects.filter(pk=call.device_id).update(organization=other_organization, callsign="Northern secret")
    assert find(bob, str(call.pk)) == {"Commands": [title(call)]}
    answer = client.get("/admin/search/", {"q": str(call.pk), "format": "json"}).content.decode()
    assert "HARBOURDOCK" in answer
    assert "Northern secret" not in answer


def test_the_box_gets_where_each_thing_is(client, both, bob, organization):
    client.force_login(bob)
    answer = client.get("/admin/search/", {"q": "HARBOURDOCK", "format": "json"}).json()
    [devices] = [kind for kind in answer["kinds"] if kind["name"] == "Devices"]
    dock = Device.objects.get(sn="HARBOURDOCK")
    [row] = devices["rows"]
    assert row["address"] == f"/admin/devices/device/{dock.pk}/change/"
    assert row["note"].startswith("Harbour Survey")
    assert answer["all"] == {"text": "2 found. Show all", "address": "/admin/search/?q=HARBOURDOCK"}


def test_the_page_leads_to_each_list_with_the_same_search(client, both, bob):
    client.force_login(bob)
    page = client.get("/admin/search/", {"q": "harbour d"}).content.decode()
    lists = ("devices/device", "licenses/unlocklicense", "devices/servicecall", "mqtt_bridge/exchange", "devices/site")
    for address in lists:
        assert f'href="/admin/{address}/?q=harbour+d"' in page
    page = client.get("/admin/search/", {"q": "not there"}).content.decode()
    assert len(re.findall(r'href="/admin/\w+/\w+/\?q=not\+there"', page)) == 7


def test_an_exact_serial_number_comes_first_and_five_are_shown(client, find, dock, bob, organization):
    for number in range(9):
        Device.objects.create(sn=f"A-DOCK0001-{number}", callsign="Aaa", organization=organization)
    found = find(bob, "dock0001")["Devices"]
    assert (found[0], len(found)) == ("Pier 7 (DOCK0001)", 5)
    assert "There are more:" in client.get("/admin/search/", {"q": "dock0001"}).content.decode()


def test_a_license_of_both_inventories_is_shown_once(find, dock, bob):
    for domain in (0, 3):
        UnlockLicense.objects.create(device=dock, device_model_domain=domain, license_id=7, name="Airport")
    assert find(bob, "airp") == {"Unlock licenses": ["Airport"]}
    assert find(bob, "ai") == {}  # no index finds two characters among all names


@pytest.mark.parametrize("term", ["", " ", "x", "x" * 129, "9" * 23, str(2**63), "%", "__", "１２", "\u200b1", "{0}"])
def test_odd_terms_find_nothing_and_break_nothing(client, find, both, staff, term):
    assert find(staff, term) in ({}, find(staff, "12") if term == "１２" else {})
    assert client.get("/admin/search/", {"q": term}).status_code == 200


def test_what_is_found_costs_the_same_number_of_queries_however_much_it_is(client, both, bob, organization):
    client.force_login(bob)

    def queries(term):
        with CaptureQueriesContext(connection) as captured:
            client.get("/admin/search/", {"q": term, "format": "json"})
        return len(captured)

    nothing = queries("nothing at all")
    now = timezone.now()
    for number in range(8):
        dock = Device.objects.create(sn=f"MANY{number}", organization=organization)
        UnlockLicense.objects.create(device=dock, device_model_domain=3, license_id=number, name="MANY")
        Exchange.objects.create(
            gateway_sn=dock.sn, organization=organization, channel="events", tid="MANY", received_at=now, outcome="left"
        )
        Label.objects.create(organization=organization, name=f"MANY {number}")
        Site.objects.create(organization=organization, name=f"MANY {number}")
    Organization.objects.filter(pk=organization.pk).update(name="MANY")
    assert queries("MANY") == nothing


def test_who_is_not_signed_in_finds_nothing(client, both):
    assert client.get("/admin/search/", {"q": "HARBOUR", "format": "json"}).status_code == 302
    assert client.post("/admin/search/", {"q": "HARBOUR"}).status_code == 302


def test_the_search_is_only_read(client, staff):
    client.force_login(staff)
    assert client.post("/admin/search/", {"q": "HARBOUR"}).status_code == 405
