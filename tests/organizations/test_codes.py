"""Binding codes in the admin: issued once with their sheet, edited, revoked."""

import re
from datetime import timedelta
from itertools import product

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from organizations import codes
from organizations.audit import Actor
from organizations.codes import State
from organizations.models import AuditEvent, BindingCode, Organization
from organizations.typed import digest_of, normalise_code

LIST = "/admin/organizations/bindingcode/"
SHEET = re.compile(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}")


@pytest.fixture(autouse=True)
def _what_docks_are_told(settings):
    settings.DOCK_MQTT_URL = "ssl://mqtt.example.org:8883"
    settings.DOCK_MQTT_USERNAME = "dock-account"
    settings.DOCK_MQTT_PASSWORD = "dock <password>"
    settings.MQTT_URL = "mqtt://bridge:innermost-secret@127.0.0.1:1883"


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def ask(client, organization, **fields):
    expires = timezone.now() + timedelta(days=7)
    data = {
        "organization": organization.pk,
        "label": "Pier 7",
        "code": "",
        "expires_at_0": f"{expires:%Y-%m-%d}",
        "expires_at_1": "12:00:00",
        "max_uses": "1",
        **fields,
    }
    return client.post(f"{LIST}add/", data)


def actor(user):
    return Actor(AuditEvent.Through.ADMIN, user=user)


def test_the_answer_is_the_sheet_and_is_not_cached(page, organization, alice):
    response = ask(page, organization)
    row = BindingCode.objects.get()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert SHEET.search(response.content.decode())
    assert (row.label, row.max_uses, row.created_by) == ("Pier 7", 1, alice)


def test_the_sheet_holds_the_five_values_and_no_other_secret(page, organization):
    response = ask(page, organization)
    values = response.context["sheet"].values
    assert [one.value for one in values][:4] == [
        "ssl://mqtt.example.org:8883",
        "dock-account",
        "dock <password>",
        "12345678",
    ]
    assert len(values) == 5
    text = response.content.decode()
    assert "dock &lt;password&gt;" in text
    assert "innermost-secret" not in text
    assert "bridge:" not in text


def test_the_sheet_says_what_the_server_lacks(page, organization, settings):
    settings.DOCK_MQTT_URL = settings.DOCK_MQTT_PASSWORD = ""
    text = ask(page, organization).content.decode()
    assert "lack DOCK_MQTT_URL, DOCK_MQTT_PASSWORD" in text
    assert "innermost-secret" not in text


def test_the_code_is_shown_once_and_stored_nowhere(page, organization):
    plain = SHEET.search(ask(page, organization).content.decode()).group()
    row = BindingCode.objects.get()
    assert row.hint == plain[-4:]
    for url in (LIST, f"{LIST}{row.pk}/change/", f"{LIST}{row.pk}/history/", "/admin/organizations/auditevent/"):
        text = page.get(url).content.decode()
        assert plain not in text
        assert normalise_code(plain) not in text
    assert_not_in_database(plain, normalise_code(plain))


def assert_not_in_database(*secrets):
    for model in apps.get_models():
        for row in model._default_manager.values():
            assert not any(secret in str(row) for secret in secrets), model


def test_an_own_code_counts_in_any_spelling(page, organization):
    response = ask(page, organization, code="harbour-2026")
    assert "harbour-2026" in response.content.decode()
    assert BindingCode.objects.get().digest == digest_of("HARBOUR 2026")
    assert_not_in_database("harbour-2026", "HARBOUR2026")


@pytest.mark.parametrize("own", ["short", "----------", "taken-code"])
def test_a_bad_own_code_is_refused_with_a_reason(page, organization, own):
    BindingCode.objects.issue(organization=organization, code="TAKENCODE")
    response = ask(page, organization, code=own)
    assert response.context["errors"]
    assert BindingCode.objects.count() == 1


def test_an_expiry_in_the_past_is_refused(page, organization):
    assert ask(page, organization, expires_at_0="2020-01-01").context["errors"]


def test_no_expiry_and_no_limit_are_possible(page, organization):
    ask(page, organization, expires_at_0="", expires_at_1="", max_uses="")
    row = BindingCode.objects.get()
    assert (row.expires_at, row.max_uses) == (None, None)


def test_a_manager_issues_no_code_for_another_organization(page, other_organization):
    assert ask(page, other_organization).context["errors"]
    assert not BindingCode.objects.exists()


def test_a_viewer_issues_no_code(client, bob, organization):
    client.force_login(bob)
    assert ask(client, organization).status_code == 403
    assert not BindingCode.objects.exists()


def test_issuing_is_audited_without_the_code(page, organization, alice):
    plain = SHEET.search(ask(page, organization).content.decode()).group()
    event = AuditEvent.objects.get(action="issue")
    assert (event.user, event.organization, event.through) == (alice, organization, "admin")
    assert event.after["label"] == "Pier 7"
    assert plain not in str(event.after) + event.object_name
    assert LogEntry.objects.count() == 1


def test_revoking_is_audited_once(alice, code):
    row, _ = code
    assert codes.revoke([row], actor=actor(alice)) == 1
    assert codes.revoke([row], actor=actor(alice)) == 0
    row.refresh_from_db()
    assert row.why_unusable(timezone.now()) == "code revoked"
    assert AuditEvent.objects.filter(action="revoke", organization=row.organization).count() == 1


def test_the_button_revokes(page, code):
    row, _ = code
    assert page.get(f"{LIST}{row.pk}/revoke/").status_code == 405
    assert page.post(f"{LIST}{row.pk}/revoke/").status_code == 302
    row.refresh_from_db()
    assert row.revoked_at is not None


@pytest.mark.parametrize(("visitor", "status"), [("bob", 403), ("charlie", 404)])
def test_the_button_is_not_for_everybody(client, request, code, visitor, status):
    client.force_login(request.getfixturevalue(visitor))
    assert client.post(f"{LIST}{code[0].pk}/revoke/").status_code == status
    assert BindingCode.objects.get().revoked_at is None


def test_the_action_revokes_only_where_she_manages(client, alice, code, other_organization):
    foreign, _ = BindingCode.objects.issue(organization=other_organization)
    other_organization.memberships.create(user=alice, role="viewer")
    client.force_login(alice)
    chosen = [code[0].pk, foreign.pk]
    client.post(LIST, {"action": "revoke_selected", "_selected_action": chosen})
    assert list(BindingCode.objects.exclude(revoked_at=None)) == [code[0]]


def test_a_change_of_the_limit_is_audited(page, code):
    row, _ = code
    expires = {"expires_at_0": f"{row.expires_at:%Y-%m-%d}", "expires_at_1": f"{row.expires_at:%H:%M:%S}"}
    page.post(f"{LIST}{row.pk}/change/", {"label": "harbour", "max_uses": "9", **expires})
    row.refresh_from_db()
    assert row.max_uses == 9
    assert AuditEvent.objects.get(action="change").after["max_uses"] == 9


def test_a_code_that_bound_a_device_cannot_be_deleted(page, code, dock):
    Device.objects.update(bound_with=code[0])
    assert page.post(f"{LIST}{code[0].pk}/delete/", {"post": "yes"}).status_code == 403
    assert "Pier 7 (DOCK0001)" in page.get(f"{LIST}{code[0].pk}/change/").content.decode()
    Device.objects.update(bound_with=None)
    page.post(f"{LIST}{code[0].pk}/delete/", {"post": "yes"})
    assert not BindingCode.objects.exists()


def test_each_state_lists_its_codes(organization):
    now = timezone.now()
    rows = {}
    for name, days, uses, revoked in (
        ("fresh", 6, 0, None),
        ("soon", 1, 0, None),
        ("used", 6, 1, None),
        ("over", -1, 0, None),
        ("revoked", 6, 1, now),
    ):
        row, _ = BindingCode.objects.issue(
            organization=organization, label=name, max_uses=1, expires_at=now + timedelta(days=days)
        )
        BindingCode.objects.filter(pk=row.pk).update(uses=uses, revoked_at=revoked)
    for state in State:
        found = codes.in_state(BindingCode.objects.all(), state, now)
        rows[state] = sorted(found.values_list("label", flat=True))
    assert rows == {
        State.USABLE: ["fresh", "soon"],
        State.EXPIRING: ["soon"],
        State.USED_UP: ["used"],
        State.EXPIRED: ["over"],
        State.REVOKED: ["revoked"],
        State.INACTIVE: [],
    }


def test_every_code_is_listed_in_the_state_that_it_names(organization, other_organization):
    now = timezone.now()
    Organization.objects.filter(pk=other_organization.pk).update(is_active=False)
    for owner, days, uses, revoked in product(
        (organization, other_organization), (None, -1, 1, 6), (0, 1), (None, now)
    ):
        expires = None if days is None else now + timedelta(days=days)
        row, _ = BindingCode.objects.issue(organization=owner, max_uses=1, expires_at=expires)
        BindingCode.objects.filter(pk=row.pk).update(uses=uses, revoked_at=revoked)
    rows = BindingCode.objects.all()
    for state in State:
        found = {row.pk for row in codes.in_state(rows, state, now)}
        counted = {state, State.EXPIRING} if state == State.USABLE else {state}
        assert found == {row.pk for row in rows if row.state_at(now) in counted}, state
    assert {row.state_at(now) in (State.USABLE, State.EXPIRING) for row in rows if not row.why_unusable(now)} == {True}


def test_issue_refuses_a_taken_code(alice, organization):
    codes.issue(actor=actor(alice), organization=organization, code="harbour2026")
    with pytest.raises(ValidationError):
        codes.issue(actor=actor(alice), organization=organization, code="HARBOUR-2026")
    assert AuditEvent.objects.count() == 1


def test_the_list_asks_a_constant_number_of_queries(page, organization, code):
    page.get(LIST)
    with CaptureQueriesContext(connection) as few:
        page.get(LIST)
    for _ in range(10):
        BindingCode.objects.issue(organization=organization)
    with CaptureQueriesContext(connection) as many:
        page.get(LIST)
    assert len(many) == len(few)


def form_id(page):
    return re.search(r'name="form_id" value="([^"]+)"', page.get(f"{LIST}add/").content.decode())[1]


def test_a_reloaded_sheet_issues_no_second_code(page, organization):
    shown = form_id(page)
    assert SHEET.search(ask(page, organization, form_id=shown).content.decode())
    again = ask(page, organization, form_id=shown)
    code = BindingCode.objects.get()
    assert again["Location"] == f"{LIST}{code.pk}/change/"
    assert "has issued its binding code already" in page.get(again["Location"]).content.decode()


def test_the_next_form_issues_another_code(page, organization):
    for _ in range(2):
        ask(page, organization, form_id=form_id(page))
    assert BindingCode.objects.count() == 2


def test_the_only_organization_is_chosen_already(page, organization, client, staff, other_organization):
    selected = f'<option value="{organization.pk}" selected>'
    assert selected in page.get(f"{LIST}add/").content.decode()
    client.force_login(staff)
    assert selected not in client.get(f"{LIST}add/").content.decode()
    assert selected in client.get(f"{LIST}add/?organization={organization.pk}").content.decode()


def test_times_of_a_code_name_their_zone(page, code):
    row, _ = code
    text = page.get(f"{LIST}{row.pk}/change/").content.decode()
    assert "In the time zone UTC. Empty: never." in text
    assert f"{row.created:%H:%M} UTC" in text


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_a_time_is_typed_in_the_readers_zone_and_as_pages_write_it(page, organization, language):
    page.cookies["zone"] = "Asia/Shanghai"
    headers = {"Accept-Language": language}
    form = page.get(f"{LIST}add/", headers=headers).content.decode()
    assert re.search(r'value="\d{4}-\d\d-\d\d"', form)
    assert "Asia/Shanghai" in form
    fields = {"organization": organization.pk, "expires_at_0": "2036-01-31", "expires_at_1": "18:00", "login": "fixed"}
    page.post(f"{LIST}add/", {"count": 1, **fields}, headers=headers)
    assert f"{organization.binding_codes.get().expires_at:%H:%M}" == "10:00"


def test_rows_of_nobody_are_no_choice_of_a_member(client, alice, staff, organization, other_organization):
    for user, offered in ((alice, False), (staff, True)):
        client.force_login(user)
        text = client.get("/admin/devices/device/").content.decode()
        assert ("organization__isnull=True" in text) is offered
