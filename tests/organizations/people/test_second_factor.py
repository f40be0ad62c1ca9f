"""A second factor: what a password alone opens, which codes count, who must have one, who may remove it."""

import html
import re
from datetime import timedelta

import pyotp
import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from organizations import api_keys, invitations
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Organization, Role
from organizations.people import second_factor
from organizations.people.models import RecoveryCode, SecondFactor
from organizations.people.second_factor import Verdict
from organizations.people.sign_in import Backend
from tests.cast import member
from tests.organizations.people.sign_in import (
    CODE,
    DEVICES,
    LOGIN,
    OWN,
    SET_UP,
    App,
    codes_on,
    give_code,
    give_password,
    may_enter,
    secret_on,
    with_second_factor,
)

USERS = "/admin/auth/user/"


@pytest.fixture
def app(alice):
    """Alice's authenticator app."""
    return with_second_factor(alice)[0]


def require(organization):
    Organization.objects.filter(pk=organization.pk).update(second_factor_required=True)


def actions():
    return list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))


# --- the sign-in ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("app")
def test_a_password_alone_opens_nothing(client):
    assert give_password(client, "alice")["Location"] == CODE
    assert not may_enter(client)
    assert client.get(OWN)["Location"].startswith(LOGIN)
    assert client.get("/sessions/")["Location"].startswith(LOGIN)
    assert SecondFactor.objects.get().secret not in client.get(SET_UP, follow=True).content.decode()


def test_password_and_code_open_the_page_that_was_asked_for(client, app):
    give_password(client, "alice", then=DEVICES)
    assert client.get(CODE).status_code == 200
    code = app.code()
    assert give_code(client, f"{code[:3]} {code[3:]}")["Location"] == DEVICES
    assert may_enter(client)


def test_a_code_opens_nothing_without_a_password(client, app):
    assert give_code(client, app.code())["Location"] == LOGIN
    assert not may_enter(client)


def test_the_password_counts_for_ten_minutes(client, app):
    give_password(client, "alice")
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        assert give_code(client, app.code())["Location"] == LOGIN
        assert "counts for ten minutes only" in client.get(LOGIN).content.decode()


def test_a_password_that_was_changed_meanwhile_counts_no_more(client, app, alice):
    give_password(client, "alice")
    alice.set_password("another 9 one")
    alice.save()
    assert give_code(client, app.code())["Location"] == LOGIN


def test_no_foreign_page_follows(client, app):
    give_password(client, "alice", then="https://evil.example.org/")
    assert give_code(client, app.code())["Location"] == "/admin/"


def test_an_api_key_needs_none(client, app, organization):
    require(organization)
    actor = Actor(AuditEvent.Through.COMMAND)
    plain = api_keys.issue(actor=actor, organization=organization, name="a", role=Role.VIEWER)[1]
    assert client.get("/api/v1/devices/", headers={"Authorization": f"Api-Key {plain}"}).status_code == 200


# --- codes ---------------------------------------------------------------------------------------


def test_a_code_is_believed_once(alice, app):
    code = app.code()
    assert second_factor.check(alice, code) is Verdict.RIGHT
    assert second_factor.check(alice, code) is Verdict.WRONG
    assert second_factor.check(alice, app.code(steps=-1)) is Verdict.WRONG  # nor an older one
    assert second_factor.check(alice, app.code(steps=1)) is Verdict.RIGHT


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_of_another_time_is_wrong(alice, app, steps):
    with time_machine.travel(timezone.now() + timedelta(minutes=5), tick=False):
        assert second_factor.check(alice, app.code(steps=steps)) is Verdict.WRONG


@pytest.mark.parametrize("code", ["", "000", "ABCDEF", "１２", "²²²²²²", "\0", "9" * 64])
def test_what_is_no_code_is_wrong(alice, app, code):
    assert second_factor.check(alice, code) is Verdict.WRONG


def test_five_wrong_codes_lock_for_fifteen_minutes_from_any_address(client, app, alice):
    for number in range(5):
        browser = Client(REMOTE_ADDR=f"192.0.2.{number}")
        give_password(browser, "alice")
        answer = give_code(browser, "000000")
    assert b"Too many wrong codes. Try again in 15 minutes." in answer.content
    with time_machine.travel(timezone.now() + timedelta(minutes=9)):
        give_password(client, "alice")
        assert b"Try again in 6 minutes." in give_code(client, app.code()).content
    give_password(client, "alice")
    give_code(client, app.code())
    assert not may_enter(client)
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        give_password(client, "alice")
        give_code(client, app.code())
        assert may_enter(client)
    assert "lock second factor" in actions()


def test_a_recovery_code_replaces_the_app_once(client, alice):
    _, codes = with_second_factor(alice)
    give_password(client, "alice")
    assert give_code(client, codes[3].lower().replace("-", " "))["Location"] == "/admin/"
    assert "with a recovery code. 9 are left" in client.get(OWN).content.decode()
    assert may_enter(client)
    other = Client()
    give_password(other, "alice")
    give_code(other, codes[3])
    assert not may_enter(other)
    assert second_factor.codes_left(alice) == 9


def test_a_recovery_code_of_somebody_else_is_wrong(alice, bob):
    with_second_factor(alice)
    _, codes = with_second_factor(bob)
    assert second_factor.check(alice, codes[0]) is Verdict.WRONG


def test_the_database_has_neither_the_secret_nor_a_code(alice):
    app, codes = with_second_factor(alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM organizations_secondfactor")
        stored = cursor.fetchone()[0]
    assert app.totp.secret not in stored
    assert SecondFactor.objects.get().secret == app.totp.secret
    assert not {*codes} & {*RecoveryCode.objects.values_list("digest", flat=True)}
    assert all(secret not in str([*AuditEvent.objects.values()]) for secret in (app.totp.secret, *codes))


# --- set up, renew, turn off -----------------------------------------------------------------------


def test_a_person_sets_it_up_and_all_other_sessions_end(client, alice):
    client.force_login(alice)
    other = Client()
    other.force_login(alice)
    page = client.get(SET_UP)
    assert secret_on(page) == secret_on(client.get(SET_UP))
    link = re.search(r'href="(otpauth://[^"]+)"', page.content.decode())[1]  # for an app on the same phone
    assert pyotp.parse_uri(html.unescape(link)).secret == secret_on(page)
    assert 'style="' not in page.content.decode()  # the policy forbids it
    app = App(secret_on(page))
    assert not codes_on(client.post(SET_UP, {"code": "000000"}))
    assert second_factor.find(alice) is None
    assert len(codes_on(client.post(SET_UP, {"code": app.code()}))) == 10
    assert may_enter(client)
    assert not may_enter(other)
    assert client.get(SET_UP)["Location"] == OWN  # neither a second secret, nor this one again
    assert codes_on(client.get(OWN)) == []
    assert actions() == ["set up second factor", "end sessions"]


def test_new_recovery_codes_make_the_old_ones_void(client, alice):
    app, codes = with_second_factor(alice)
    client.force_login(alice)
    assert codes_on(client.post(OWN, {"code": "000000", "renew": "1"})) == []
    new = codes_on(client.post(OWN, {"code": app.code(), "renew": "1"}))
    assert len(new) == 10
    assert second_factor.check(alice, codes[0]) is Verdict.WRONG
    assert second_factor.check(alice, new[0]) is Verdict.RIGHT


def test_a_person_turns_it_off_with_a_code(client, alice, app):
    client.force_login(alice)
    client.post(OWN, {"code": "000000", "remove": "1"})
    assert second_factor.find(alice) is not None
    client.post(OWN, {"code": app.code(), "remove": "1"})
    assert second_factor.find(alice) is None
    assert not RecoveryCode.objects.exists()


def test_where_it_is_required_nobody_turns_it_off(client, alice, app, organization):
    require(organization)
    client.force_login(alice)
    assert b'name="remove"' not in client.get(OWN).content
    assert b"only platform staff" in client.post(OWN, {"code": app.code(), "remove": "1"}).content
    assert second_factor.find(alice) is not None


# --- required --------------------------------------------------------------------------------------


def test_who_needs_one_sets_it_up_before_anything_else(client, alice, organization):
    require(organization)
    assert give_password(client, "alice", then=DEVICES)["Location"] == SET_UP
    assert not may_enter(client)
    app = App(secret_on(client.get(SET_UP)))
    page = client.post(SET_UP, {"code": app.code()})
    assert len(codes_on(page)) == 10
    assert f'href="{DEVICES}"' in page.content.decode()
    assert may_enter(client)


def test_a_session_that_is_open_when_it_becomes_required_is_led_there_too(client, alice, organization):
    client.force_login(alice)
    assert may_enter(client)
    require(organization)
    assert not may_enter(client)
    assert client.get(DEVICES, follow=True).redirect_chain[-1][0] == SET_UP
    app = App(secret_on(client.get(SET_UP)))
    client.post(SET_UP, {"code": app.code()})
    assert may_enter(client)


def test_a_secret_that_another_sign_in_was_shown_is_void(client, alice, organization):
    """Who knows a password may not leave a secret that the person then confirms."""
    require(organization)
    thief = Client()
    give_password(thief, "alice")
    seen = secret_on(thief.get(SET_UP))
    give_password(client, "alice")
    assert secret_on(client.get(SET_UP)) != seen


def test_a_secret_that_another_session_was_shown_is_void(client, alice):
    """Nor may who came into the account while nobody needed a second factor."""
    thief = Client()
    give_password(thief, "alice")
    seen = secret_on(thief.get(SET_UP))
    give_password(client, "alice")
    shown = secret_on(client.get(SET_UP))
    assert shown != seen
    assert secret_on(client.get(SET_UP)) == shown
    secret_on(thief.get(SET_UP))
    assert "This code is wrong" in client.post(SET_UP, {"code": App(shown).code()}).content.decode()
    assert not second_factor.find(alice)


def test_other_organizations_do_not_oblige(client, charlie, organization):
    require(organization)
    give_password(client, "charlie")
    assert may_enter(client)


@pytest.mark.parametrize(("is_required", "page"), [(False, "/admin/"), (True, SET_UP)])
def test_platform_staff_need_one_if_the_settings_say_so(client, staff, settings, is_required, page):
    settings.STAFF_SECOND_FACTOR_REQUIRED = is_required
    assert give_password(client, "root")["Location"] == page


def test_who_accepts_an_invitation_sets_it_up_on_the_next_page(client, alice, organization):
    require(organization)
    actor = Actor(AuditEvent.Through.ADMIN, alice)
    _, plain = invitations.issue(actor=actor, organization=organization, username="dana", role=Role.VIEWER)
    chosen = {"new_password1": "Quay-side 9", "new_password2": "Quay-side 9"}
    assert client.post(f"/welcome/{plain}/", chosen)["Location"] == SET_UP
    assert not may_enter(client)
    app = App(secret_on(client.get(SET_UP)))
    client.post(SET_UP, {"code": app.code()})
    assert may_enter(client)


@pytest.mark.usefixtures("app")
def test_a_manager_turns_it_on_for_the_organization(client, alice, organization):
    client.force_login(alice)
    page = f"/admin/organizations/organization/{organization.pk}/change/"
    form = {"name": organization.name, "license_sync_hours": "24", "second_factor_required": "on"}
    assert client.post(page, form).status_code == 302
    organization.refresh_from_db()
    assert organization.second_factor_required
    assert AuditEvent.objects.get(action="change").after["second_factor_required"] is True


# --- platform staff ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("app")
def test_platform_staff_remove_a_lost_one(client, alice, staff, organization):
    require(organization)
    client.force_login(staff)
    client.post(USERS, {"action": "remove_second_factor", "_selected_action": [alice.pk]})
    assert second_factor.find(alice) is None
    event = AuditEvent.objects.get(action="remove second factor")
    assert (event.user, event.object_id) == (staff, str(alice.pk))
    assert give_password(Client(), "alice")["Location"] == SET_UP


@pytest.mark.usefixtures("app")
def test_nobody_else_does(client, alice, organization):
    eve = member("eve", organization, Role.MANAGER)
    client.force_login(eve)
    client.post(USERS, {"action": "remove_second_factor", "_selected_action": [alice.pk]})
    assert second_factor.find(alice) is not None
    assert Membership.objects.filter(user=alice).exists()


def test_who_needs_one_is_known_with_the_user(alice, organization, django_assert_num_queries):
    require(organization)
    with django_assert_num_queries(1):
        assert Backend().get_user(alice.pk) is None
    with_second_factor(alice)
    with django_assert_num_queries(1):
        assert Backend().get_user(alice.pk) == alice
