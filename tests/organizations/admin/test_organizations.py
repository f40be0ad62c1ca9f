"""Organizations and the audit trail in the admin; who may do what."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState
from mqtt_bridge.models import Heartbeat
from organizations import audit
from organizations.models import AuditEvent, BindingCode, Membership, Organization, Role

ORGANIZATIONS = "/admin/organizations/organization/"
AUDIT = "/admin/organizations/auditevent/"


def change(client, organization, **fields):
    kept = {"name": organization.name, "app_id": organization.app_id, "license_sync_hours": 24}
    data = {"is_active": "on", "device_limit": organization.device_limit, **kept, **fields}
    return client.post(f"{ORGANIZATIONS}{organization.pk}/change/", data)


@pytest.fixture
def page(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def licensed(organization):
    organization.app_id, organization.app_key, organization.app_license = "100", "s3cret-key", "s3cret-license"
    organization.save()
    return organization


# door x role: the status of opening it; 302 is Django's answer for a row that she cannot see
DOORS = {
    "organization/add/": {"staff": 200, "alice": 403, "bob": 403, "charlie": 403},
    "organization/{organization}/change/": {"staff": 200, "alice": 200, "bob": 200, "charlie": 302},
    "organization/{organization}/delete/": {"staff": 200, "alice": 403, "bob": 403, "charlie": 403},
    "bindingcode/add/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "bindingcode/{code}/change/": {"staff": 200, "alice": 200, "bob": 200, "charlie": 302},
    "bindingcode/{code}/delete/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "membership/add/": dict.fromkeys(("staff", "alice", "bob", "charlie"), 403),
    "invitation/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "invitation/add/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "membership/{membership}/change/": {"staff": 200, "alice": 200, "bob": 200, "charlie": 302},
    "membership/{membership}/delete/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "organization/{organization}/history/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "bindingcode/{code}/history/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "membership/{membership}/history/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "auditevent/add/": dict.fromkeys(["staff", "alice", "bob", "charlie"], 403),
    "auditevent/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "bindingfailure/": {"staff": 200, "alice": 403, "bob": 403, "charlie": 403},
    "bindingfailure/add/": dict.fromkeys(["staff", "alice", "bob", "charlie"], 403),
}


@pytest.mark.parametrize("visitor", ["staff", "alice", "bob", "charlie"])
@pytest.mark.parametrize("door", DOORS)
def test_door_by_role(client, request, door, visitor, organization, code, bob):
    client.force_login(request.getfixturevalue(visitor))
    keys = {"organization": organization.pk, "code": code[0].pk, "membership": Membership.objects.get(user=bob).pk}
    assert client.get("/admin/organizations/" + door.format(**keys)).status_code == DOORS[door][visitor]


@pytest.mark.parametrize("visitor", ["bob", "charlie"])
def test_what_may_not_be_changed_is_not_changed(client, request, visitor, organization, code, bob):
    client.force_login(request.getfixturevalue(visitor))
    row = Membership.objects.get(user=bob)
    for door, data in (
        (f"organization/{organization.pk}/change/", {"name": "Stolen"}),
        (f"bindingcode/{code[0].pk}/change/", {"label": "Stolen", "max_uses": 99}),
        (f"bindingcode/{code[0].pk}/delete/", {"post": "yes"}),
        (f"membership/{row.pk}/change/", {"role": "manager"}),
        (f"membership/{row.pk}/delete/", {"post": "yes"}),
    ):
        assert client.post(f"/admin/organizations/{door}", data).status_code in (302, 403)
    assert not Organization.objects.filter(name="Stolen").exists()
    assert BindingCode.objects.get().label == "harbour"
    assert Membership.objects.get(user=bob).role == Role.VIEWER
    assert not AuditEvent.objects.exists()


def test_a_manager_changes_how_often_licenses_are_read(client, alice, organization):
    client.force_login(alice)
    change(client, organization, license_sync_hours="6")
    change(client, organization, license_sync_hours="0")
    organization.refresh_from_db()
    assert organization.license_sync_hours == 6


def test_a_manager_changes_the_name_and_nothing_else(client, alice, organization):
    client.force_login(alice)
    change(
        client, organization, name="Harbour", device_limit="9", app_id="1", app_key="k", app_license="l", is_active=""
    )
    organization.refresh_from_db()
    assert organization.name == "Harbour"
    assert (organization.device_limit, organization.app_id, organization.app_key) == (1000, "", "")
    assert organization.is_active
    event = AuditEvent.objects.get()
    assert (event.before, event.after) == ({"name": "Harbour Survey"}, {"name": "Harbour"})


def test_the_id_is_chosen_once(page, organization):
    page.post(f"{ORGANIZATIONS}add/", {"organization_id": "my-org", "name": "New", "is_active": "on"})
    assert Organization.objects.filter(organization_id="my-org", name="New").exists()
    change(page, organization, organization_id="other")
    organization.refresh_from_db()
    assert organization.organization_id == "12345678"


@pytest.mark.parametrize("visitor", ["staff", "alice", "bob"])
def test_the_license_is_never_shown(client, request, licensed, visitor):
    client.force_login(request.getfixturevalue(visitor))
    text = client.get(f"{ORGANIZATIONS}{licensed.pk}/change/").content.decode()
    assert "s3cret" not in text
    assert "Its own." in text


def test_an_empty_secret_keeps_the_stored_one(page, licensed):
    change(page, licensed, name="Renamed")
    licensed.refresh_from_db()
    assert (licensed.app_key, licensed.app_license) == ("s3cret-key", "s3cret-license")
    assert AuditEvent.objects.get().after == {"name": "Renamed"}


def test_a_new_secret_is_stored_encrypted_and_audited_masked(page, licensed):
    change(page, licensed, app_license="another")
    licensed.refresh_from_db()
    assert licensed.app_license == "another"
    event = AuditEvent.objects.get()
    assert (event.before, event.after) == ({"app_license": "***"}, {"app_license": "***"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_license FROM organizations_organization")
        assert "another" not in cursor.fetchone()[0]


def test_the_license_can_be_removed(page, licensed):
    change(page, licensed, clear_license="on")
    licensed.refresh_from_db()
    assert (licensed.app_id, licensed.app_key, licensed.app_license) == ("", "", "")


def test_a_manager_chooses_the_time_zone_of_her_organization(client, alice, organization):
    client.force_login(alice)
    assert change(client, organization, time_zone="Asia/Atlantis").context["errors"]
    change(client, organization, time_zone="Asia/Shanghai")
    organization.refresh_from_db()
    assert organization.time_zone == "Asia/Shanghai"


def test_half_a_license_is_refused(page, organization):
    assert change(page, organization, app_id="100").context["errors"]


def test_the_list_counts_docks_and_aircraft(page, organization, dock, aircraft):
    now = timezone.now()
    Device.objects.create(sn="DOCK2", model_key="3-3-0", organization=organization)
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)
    row = page.get(ORGANIZATIONS).context["cl"].result_list[0]
    assert (row.docks, row.docks_online, row.aircraft) == (2, 1, 1)
    Heartbeat.objects.all().delete()
    assert b"unknown" in page.get(ORGANIZATIONS).content


@pytest.mark.parametrize(("visitor", "linked"), [("alice", True), ("bob", False)])
def test_the_history_is_linked_for_whoever_may_read_it(client, request, visitor, linked, organization):
    client.force_login(request.getfixturevalue(visitor))
    page = f"{ORGANIZATIONS}{organization.pk}/"
    assert (f"{page}history/" in client.get(f"{page}change/").content.decode()) == linked


@pytest.mark.usefixtures("code", "bob", "charlie")
def test_its_page_lists_members_and_codes(client, alice, organization):
    client.force_login(alice)
    text = client.get(f"{ORGANIZATIONS}{organization.pk}/change/").content.decode()
    assert "bob" in text
    assert "harbour …" in text
    assert "charlie" not in text


def test_the_list_asks_a_constant_number_of_queries(page, organization, dock):
    page.get(ORGANIZATIONS)
    with CaptureQueriesContext(connection) as few:
        page.get(ORGANIZATIONS)
    for number in range(12):
        other = Organization.objects.create(name=f"Customer {number}")
        device = Device.objects.create(sn=f"D{number}", model_key="3-2-0", organization=other)
        DeviceState.objects.create(device=device)
    with CaptureQueriesContext(connection) as many:
        page.get(ORGANIZATIONS)
    assert len(many) == len(few)


def test_a_manager_reads_the_trail_of_the_organizations_she_manages(client, alice, organization, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.VIEWER)
    actor = audit.Actor(AuditEvent.Through.COMMAND)
    audit.record(
        audit.event(actor, "note", subject, organization_id=subject.pk)
        for subject in (organization, other_organization)
    )
    client.force_login(alice)
    rows = client.get(AUDIT).context["cl"].queryset
    assert [row.organization for row in rows] == [organization]
    foreign = AuditEvent.objects.get(organization=other_organization)
    assert client.get(f"{AUDIT}{foreign.pk}/change/").status_code == 302


@pytest.mark.parametrize("visitor", ["staff", "alice"])
def test_nobody_rewrites_the_trail(client, request, visitor, organization):
    actor = audit.Actor(AuditEvent.Through.COMMAND)
    audit.record([audit.event(actor, "note", organization, organization_id=organization.pk)])
    row = AuditEvent.objects.get()
    client.force_login(request.getfixturevalue(visitor))
    assert client.post(f"{AUDIT}{row.pk}/change/", {"action": "forged"}).status_code == 403
    assert client.post(f"{AUDIT}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(AUDIT, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert AuditEvent.objects.get().action == "note"


def test_audit_trail_of_what_is_gone_is_found_by_its_name(page, staff, organization):
    device = Device.objects.create(sn="GONE0001", callsign="Pier 9", organization=organization)
    audit.record([audit.event(audit.Actor(AuditEvent.Through.ADMIN, staff), "delete", device, organization_id=None)])
    device.delete()
    found = page.get(AUDIT, {"q": "Pier 9 (GONE0001)"})
    assert [row.action for row in found.context["cl"].result_list] == ["delete"]
    assert "Show all" in found.content.decode()
    assert "Show all" not in page.get(AUDIT).content.decode()  # there is nothing else


def test_a_row_of_the_trail_by_nobody_says_so_and_has_no_history(page, organization):
    actor = audit.Actor(AuditEvent.Through.SCHEDULE)
    audit.record([audit.event(actor, "note", organization, organization_id=organization.pk)])
    shown = page.get(f"{AUDIT}{AuditEvent.objects.get().pk}/change/").content.decode()
    assert re.search(r'field-who.*?<div class="readonly">–</div>', shown, re.DOTALL)
    assert "historylink" not in shown
