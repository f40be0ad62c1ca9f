"""API keys in the admin: shown once, looked after, revoked; and what they did, in the audit trail."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework_api_key.models import APIKey

from cloudapi import urls  # noqa: F401  (registers the pages)
from organizations import audit, codes
from organizations.models import AuditEvent, Membership, OrganizationAPIKey, Role
from tests.api import make_key
from tests.organizations.test_codes import assert_not_in_database

KEYS = "/admin/organizations/organizationapikey/"
PLAIN = re.compile(r"[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}")


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def ask(client, organization, days=365, **fields):
    """Post the form; `days=None` leaves the expiry empty."""
    expires = None if days is None else timezone.now() + timedelta(days=days)
    data = {
        "organization": organization.pk,
        "name": "ERP",
        "role": "operator",
        "expiry_date_0": f"{expires:%Y-%m-%d}" if expires else "",
        "expiry_date_1": "12:00:00" if expires else "",
        **fields,
    }
    return client.post(f"{KEYS}add/", data)


def form_id(page):
    return re.search(r'name="form_id" value="([^"]+)"', page.get(f"{KEYS}add/").content.decode())[1]


def test_the_key_is_shown_once_with_a_line_to_try_it(page, organization, alice, api, settings):
    response = ask(page, organization)
    plain = PLAIN.search(response.content.decode()).group()
    assert "no-store" in response["Cache-Control"]
    line = f"curl -H 'Authorization: Api-Key {plain}' {settings.PUBLIC_URL}/api/v1/organizations/"
    assert line in response.content.decode()
    row = OrganizationAPIKey.objects.get()
    assert (row.name, row.role, row.created_by) == ("ERP", Role.OPERATOR, alice)
    row.plain = plain
    assert api(row).get("/api/v1/devices/").status_code == 200
    for url in (KEYS, f"{KEYS}{row.pk}/change/", f"{KEYS}{row.pk}/history/", "/admin/organizations/auditevent/"):
        assert plain not in page.get(url).content.decode()
    assert_not_in_database(plain, plain.partition(".")[2])


def test_a_reloaded_page_issues_no_second_key(page, organization):
    shown = form_id(page)
    ask(page, organization, form_id=shown)
    again = ask(page, organization, form_id=shown)
    key = OrganizationAPIKey.objects.get()
    assert again["Location"] == f"{KEYS}{key.pk}/change/"
    assert "has issued its API key already" in page.get(again["Location"]).content.decode()


def test_forms_of_codes_and_of_keys_are_told_apart(page, organization):
    shown = form_id(page)
    codes.issue(actor=audit.Actor(AuditEvent.Through.COMMAND), organization=organization)
    page.post(
        "/admin/organizations/bindingcode/add/", {"organization": organization.pk, "form_id": shown, "max_uses": 1}
    )
    assert PLAIN.search(ask(page, organization, form_id=shown).content.decode())


def test_a_key_expires_in_a_year_unless_somebody_says_otherwise(page):
    shown = page.get(f"{KEYS}add/").content.decode()
    in_a_year = timezone.now() + timedelta(days=365)
    assert f'value="{in_a_year:%Y-%m-%d}"' in shown


def test_no_expiry_is_refused_unless_never_is_said(page, organization):
    assert "Say when it expires" in ask(page, organization, days=None).content.decode()
    assert not OrganizationAPIKey.objects.exists()
    ask(page, organization, days=None, never_expires="on")
    assert OrganizationAPIKey.objects.get().expiry_date is None


def test_never_wins_over_the_time_that_the_form_suggests(page, organization):
    ask(page, organization, never_expires="on")
    assert OrganizationAPIKey.objects.get().expiry_date is None


def test_an_expiry_in_the_past_is_refused(page, organization):
    assert ask(page, organization, days=-1).context["errors"]
    assert not OrganizationAPIKey.objects.exists()


def test_a_manager_makes_no_key_for_another_organization(page, alice, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.OPERATOR)
    assert ask(page, other_organization).context["errors"]
    assert not OrganizationAPIKey.objects.exists()


DOORS = {
    "": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "add/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 200},
    "{key}/change/": {"staff": 200, "alice": 200, "bob": 403, "charlie": 302},
    "{key}/history/": {"staff": 200, "alice": 200, "bob": 302, "charlie": 302},
    "{key}/delete/": {"staff": 200, "alice": 403, "bob": 403, "charlie": 403},
}


@pytest.mark.parametrize("visitor", ["staff", "alice", "bob", "charlie"])
@pytest.mark.parametrize("door", DOORS)
def test_door_by_role(client, request, viewer_key, door, visitor):
    client.force_login(request.getfixturevalue(visitor))
    assert client.get(KEYS + door.format(key=viewer_key.pk)).status_code == DOORS[door][visitor]


def test_only_the_name_of_a_key_changes(page, viewer_key):
    before = OrganizationAPIKey.objects.values().get()
    data = {"name": "Renamed", "role": "manager", "expiry_date_0": "2099-01-01", "revoked": "on", "prefix": "x"}
    page.post(f"{KEYS}{viewer_key.pk}/change/", data)
    assert OrganizationAPIKey.objects.values().get() == {**before, "name": "Renamed"}
    event = AuditEvent.objects.get()
    assert (event.action, event.before, event.after) == ("change", {"name": "viewer key"}, {"name": "Renamed"})


def test_the_button_revokes_and_is_audited(page, viewer_key, api):
    assert page.get(f"{KEYS}{viewer_key.pk}/revoke/").status_code == 405
    assert "Revoke this API key" in page.get(f"{KEYS}{viewer_key.pk}/change/").content.decode()
    assert page.post(f"{KEYS}{viewer_key.pk}/revoke/").status_code == 302
    assert AuditEvent.objects.get().action == "revoke"
    assert api(viewer_key).get("/api/v1/devices/").status_code == 401
    assert "Revoke this API key" not in page.get(f"{KEYS}{viewer_key.pk}/change/").content.decode()


def test_the_action_revokes_only_where_she_manages(page, alice, viewer_key, stranger_key):
    Membership.objects.create(user=alice, organization=stranger_key.organization, role=Role.OPERATOR)
    page.post(KEYS, {"action": "revoke_selected", "_selected_action": [viewer_key.pk, stranger_key.pk]})
    assert list(OrganizationAPIKey.objects.filter(revoked=True)) == [viewer_key]


@pytest.mark.parametrize(("visitor", "status"), [("bob", 404), ("charlie", 404)])
def test_the_button_is_not_for_everybody(client, request, viewer_key, visitor, status):
    client.force_login(request.getfixturevalue(visitor))
    assert client.post(f"{KEYS}{viewer_key.pk}/revoke/").status_code == status
    assert not OrganizationAPIKey.objects.get().revoked


@pytest.mark.parametrize(("state", "name"), [("usable", "fresh"), ("expired", "old"), ("revoked", "taken back")])
def test_each_state_lists_its_keys(page, organization, state, name):
    past = timezone.now() - timedelta(days=1)
    make_key(organization, name="fresh", expires=timezone.now() + timedelta(days=1))
    make_key(organization, name="old", expires=past)
    OrganizationAPIKey.objects.filter(pk=make_key(organization, name="taken back", expires=past).pk).update(
        revoked=True
    )
    rows = page.get(KEYS, {"state": state}).context["cl"].result_list
    assert [(row.name, row.why_unusable(timezone.now()) or "usable") for row in rows] == [(name, state)]


@pytest.mark.parametrize("query", ["ERP", "prefix"])
def test_the_list_finds_a_key_by_name_and_prefix(page, organization, query):
    wanted = make_key(organization, name="ERP")
    make_key(organization, name="another")
    rows = page.get(KEYS, {"q": wanted.prefix if query == "prefix" else query}).context["cl"].result_list
    assert list(rows) == [wanted]


def test_the_list_asks_a_constant_number_of_queries(page, organization, viewer_key):
    page.get(KEYS)
    with CaptureQueriesContext(connection) as few:
        page.get(KEYS)
    for _ in range(10):
        make_key(organization)
    with CaptureQueriesContext(connection) as many:
        page.get(KEYS)
    assert len(many) == len(few)


@pytest.mark.parametrize(("visitor", "shown"), [("staff", True), ("alice", True), ("bob", False)])
def test_the_organizations_page_lists_keys_for_its_managers(client, request, viewer_key, visitor, shown):
    client.force_login(request.getfixturevalue(visitor))
    text = client.get(f"/admin/organizations/organization/{viewer_key.organization_id}/change/").content.decode()
    assert ("viewer key" in text) is shown
    assert (f"{KEYS}add/?organization=" in text) is shown


def test_a_key_stays_when_its_maker_leaves(page, organization, alice, api):
    plain = PLAIN.search(ask(page, organization).content.decode()).group()
    alice.delete()
    row = OrganizationAPIKey.objects.get()
    row.plain = plain
    assert row.created_by is None
    assert api(row).get("/api/v1/devices/").status_code == 200


def test_the_librarys_own_keys_are_not_in_the_admin():
    assert not admin.site.is_registered(APIKey)


# --- the audit trail ---------------------------------------------------------------------------------


def act(key, subject, action="change"):
    actor = audit.Actor(AuditEvent.Through.API, key=key)
    audit.record([audit.event(actor, action, subject, organization_id=key.organization_id)])


def test_the_audit_trail_names_the_key_that_did_it(page, manager_key, code):
    act(manager_key, code[0])
    event = AuditEvent.objects.get()
    for url in ("", f"{event.pk}/change/"):
        assert str(manager_key) in page.get(f"/admin/organizations/auditevent/{url}").content.decode()
    for query in ("manager key", manager_key.prefix):
        found = page.get("/admin/organizations/auditevent/", {"q": query}).context["cl"].result_list
        assert list(found) == [event]


def test_a_devices_page_names_the_key_that_did_it(page, manager_key, dock):
    act(manager_key, dock)
    assert str(manager_key) in page.get(f"/admin/devices/device/{dock.pk}/change/").content.decode()


def test_a_keys_page_shows_what_it_did_and_links_to_the_rest(page, manager_key, viewer_key, code):
    act(manager_key, code[0], "revoke")
    act(viewer_key, code[0], "look")
    text = page.get(f"{KEYS}{manager_key.pk}/change/").content.decode()
    assert "revoke" in text
    assert "look" not in text
    link = re.search(r'href="(/admin/organizations/auditevent/\?[^"]+)"', text)[1]
    assert [row.action for row in page.get(link).context["cl"].result_list] == ["revoke"]


def test_the_trail_asks_a_constant_number_of_queries(page, organization, code):
    with CaptureQueriesContext(connection) as few:
        act(make_key(organization), code[0])
        page.get("/admin/organizations/auditevent/")
    for _ in range(10):
        act(make_key(organization), code[0])
    with CaptureQueriesContext(connection) as many:
        act(make_key(organization), code[0])
        page.get("/admin/organizations/auditevent/")
    assert len(many) == len(few)


def test_times_of_a_key_look_as_elsewhere(page, organization):
    row = make_key(organization, expires=datetime(2031, 5, 4, 12, tzinfo=UTC))
    for url in (KEYS, f"{KEYS}{row.pk}/change/"):
        assert "2031-05-04 12:00 UTC" in page.get(url).content.decode()
