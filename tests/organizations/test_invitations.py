"""Invitations: what each side learns, who may accept, and when a link ends."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.test import Client

from organizations import invitations
from organizations.models import AuditEvent, Invitation, Membership, Role
from tests.cast import member

LIST = "/admin/organizations/invitation/"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/welcome/[^<\s]+)")
PASSWORD = "Quay-side 9"
CHOSEN = {"new_password1": PASSWORD, "new_password2": PASSWORD}


@pytest.fixture
def page(client, alice):
    """A manager of Harbour Survey's browser."""
    client.force_login(alice)
    return client


@pytest.fixture
def other_page(charlie):
    """A manager of Northern Grid's browser."""
    client = Client()
    client.force_login(charlie)
    return client


def invite(page, organization, username, role=Role.VIEWER):
    return page.post(f"{LIST}add/", {"username": username, "organization": organization.pk, "role": role.value})


def link_of(page, organization, username, role=Role.VIEWER):
    return LINK.search(invite(page, organization, username, role).content.decode()).group(1)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def user_of(name):
    return get_user_model().objects.get(username=name)


def organizations_of(name):
    return set(Membership.objects.filter(user__username=name).values_list("organization__name", flat=True))


def test_a_new_name_chooses_a_password_once(page, organization):
    answer = invite(page, organization, "dana", Role.OPERATOR)
    assert "no-store" in answer["Cache-Control"]
    assert not get_user_model().objects.filter(username="dana").exists()
    link = LINK.search(answer.content.decode()).group(1)
    shown = Client().get(link).content.decode()
    for words in ("alice", "dana", "Harbour Survey", "operator"):
        assert words in shown
    assert Client().post(link, CHOSEN)["Location"] == "/admin/"
    dana = user_of("dana")
    assert dana.check_password(PASSWORD)
    assert (dana.is_staff, dana.is_superuser) == (True, False)
    assert Membership.objects.get(user=dana).role == Role.OPERATOR
    assert Client().get(link).status_code == 410
    assert Client().post(link, {"new_password1": "another 9 one", "new_password2": "another 9 one"}).status_code == 410
    assert user_of("dana").check_password(PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "dana"])
def test_a_password_that_is_none_makes_nobody_a_member(page, organization, password):
    link = link_of(page, organization, "dana")
    assert Client().post(link, {"new_password1": password, "new_password2": password}).status_code == 200
    assert not get_user_model().objects.filter(username="dana").exists()


def test_an_account_that_exists_is_asked_and_gets_no_password(page, organization, charlie):
    link = link_of(page, organization, "CHARLIE")
    stranger = Client().get(link).content.decode()
    assert "/admin/login/?next=/welcome/" in stranger
    assert "new_password1" not in stranger
    before = user_of("charlie").password
    for visitor in (Client(), page):  # nobody, and she who made the link
        visitor.post(link, CHOSEN)
        assert organizations_of("charlie") == {"Northern Grid"}
    for user in (None, user_of("alice")):
        with pytest.raises(ValidationError, match="somebody else"):
            invitations.accept(link.split("/")[2], user=user, password=PASSWORD)
    assert user_of("charlie").password == before
    hers = signed_in(charlie)
    assert "new_password1" not in hers.get(link).content.decode()
    hers.post(link)
    assert organizations_of("charlie") == {"Northern Grid", "Harbour Survey"}
    assert user_of("charlie").password == before


def test_who_declines_is_no_member_and_the_link_ends(page, organization, charlie):
    link = link_of(page, organization, "charlie")
    assert "You are not a member" in signed_in(charlie).post(link, {"decline": "Decline"}).content.decode()
    assert signed_in(charlie).get(link).status_code == 410
    assert organizations_of("charlie") == {"Northern Grid"}


def test_a_kept_link_opens_nothing_of_another_organization(page, other_page, organization, other_organization):
    """A manager invites a name and keeps the link; another organization invites the same name."""
    kept = link_of(page, organization, "dana")
    hers = link_of(other_page, other_organization, "dana", Role.MANAGER)
    Client().post(hers, CHOSEN)
    assert organizations_of("dana") == {"Northern Grid"}
    assert Client().get(kept).status_code == 410
    assert Client().post(kept, {"new_password1": "another 9 one", "new_password2": "another 9 one"}).status_code == 410
    assert user_of("dana").check_password(PASSWORD)


def test_who_takes_a_name_by_her_own_link_is_no_member_elsewhere(page, other_page, organization, other_organization):
    kept = link_of(page, organization, "dana")
    hers = link_of(other_page, other_organization, "dana", Role.MANAGER)
    Client().post(kept, CHOSEN)  # by the manager herself
    thief = signed_in(user_of("dana"))
    assert organizations_of("dana") == {"Harbour Survey"}
    assert thief.get(hers).status_code == 410
    assert thief.get("/admin/").status_code == 200
    assert "Northern" not in thief.get("/admin/").content.decode()


@pytest.mark.usefixtures("staff")
def test_inviting_says_nothing_about_whether_a_name_exists(page, organization, charlie):
    get_user_model().objects.create_user("retired", is_staff=True, is_active=False)
    answers = []
    for name in ("nobody", "charlie", "root", "retired"):
        told = invite(page, organization, name).content.decode().replace(name, "NAME")
        told = re.sub(r"/welcome/[\w-]+|/\d+/change/|\d+:\d+|nonce=\S+", "", told)
        answers.append(re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", told))
    assert len(set(answers)) == 1


@pytest.mark.parametrize("name", ["root", "retired"])
def test_neither_platform_staff_nor_who_may_not_sign_in_become_members(page, organization, staff, name):
    retired = get_user_model().objects.create_user("retired", is_staff=True, is_active=False)
    link = link_of(page, organization, name)
    token = link.split("/")[2]
    with pytest.raises(ValidationError, match="no membership"):
        invitations.accept(token, user={"root": staff, "retired": retired}[name])
    assert organizations_of(name) == set()


@pytest.mark.parametrize("name", ["no spaces", "alice", "ALICE", ""])
def test_a_name_that_cannot_be_invited_is_refused(page, organization, name):
    assert invite(page, organization, name).context["errors"]
    assert not Invitation.objects.exists()


def test_it_ends_after_72_hours(page, organization):
    link = link_of(page, organization, "dana")
    row = Invitation.objects.get()
    assert row.expires_at - row.created <= timedelta(hours=72)
    for seconds, status in ((-1, 200), (1, 410)):
        with time_machine.travel(row.expires_at + timedelta(seconds=seconds), tick=False):
            assert Client().get(link).status_code == status
            assert invitations.in_state(Invitation.objects.all(), "expired").exists() == (status == 410)


def test_a_manager_ends_it(page, organization):
    link = link_of(page, organization, "dana")
    row = Invitation.objects.get()
    page.post(f"{LIST}{row.pk}/revoke/")
    assert Client().get(link).status_code == 410
    assert "had ended before" in page.post(f"{LIST}{row.pk}/revoke/", follow=True).content.decode()
    actions = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["invite", "end"]


def test_the_page_of_one_offers_what_can_be_done_with_it(page, organization):
    link = link_of(page, organization, "dana")
    address = f"{LIST}{Invitation.objects.get().pk}/change/"
    before = page.get(address).content.decode()
    assert "Revoke this invitation" in before
    assert 'name="_save"' not in before
    assert "dana" in page.get(LIST, {"state": "usable"}).content.decode()
    Client().post(link, CHOSEN)
    assert "Revoke this invitation" not in page.get(address).content.decode()


def test_the_link_is_on_no_page_and_in_no_row(page, organization):
    token = link_of(page, organization, "dana").split("/")[2]
    row = Invitation.objects.get()
    everything = [*AuditEvent.objects.values(), *Invitation.objects.values()]
    assert token not in str(everything)
    assert token not in page.get(f"{LIST}{row.pk}/change/").content.decode()


def test_only_managers_invite_and_only_to_their_organization(client, page, organization, other_organization, bob):
    assert invite(page, other_organization, "dana").context["errors"]
    client.force_login(bob)
    assert invite(client, organization, "dana").status_code == 403
    assert client.get(LIST).status_code == 403
    assert not Invitation.objects.exists()


def test_a_manager_sees_no_invitation_of_another_organization(page, other_page, other_organization):
    invite(other_page, other_organization, "dana")
    assert "dana" not in page.get(LIST).content.decode()
    assert page.get(f"{LIST}{Invitation.objects.get().pk}/change/").status_code == 302


def test_who_is_a_member_already_keeps_her_role(page, organization):
    link = link_of(page, organization, "dana", Role.MANAGER)
    dana = member("dana", organization, Role.VIEWER)
    signed_in(dana).post(link)
    assert Membership.objects.get(user=dana).role == Role.VIEWER
    assert Client().get(link).status_code == 410


def test_a_link_that_nobody_made_is_not_valid(db):
    assert Client().get("/welcome/nothing/").status_code == 410
    assert Client().post("/welcome/nothing/", CHOSEN).status_code == 410
