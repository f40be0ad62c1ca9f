"""Mails that a manager makes this server send: an invitation's link, and a member's own link for a new password."""

import re

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from organizations.admin import members
from organizations.models import AuditEvent, Membership
from organizations.people import password_reset
from organizations.people.tasks import send_password_reset

INVITATIONS = "/admin/organizations/invitation/"


@pytest.fixture
def page(client, alice, settings, monkeypatch):
    """The browser of a manager, of a server that sends mail, with a worker that works at once."""
    settings.EMAIL_URL, settings.DEFAULT_FROM_EMAIL = "smtp://mail.example.org", "docks@example.org"
    monkeypatch.setattr(send_password_reset, "delay", send_password_reset.run)
    cache.clear()
    client.force_login(alice)
    return client


def invite(page, organization):
    """A new invitation of Dana: its primary key and what its link carries."""
    form = {"username": "dana", "organization": organization.pk, "role": "viewer"}
    sheet = page.post(f"{INVITATIONS}add/", form)
    plain = re.search(r"/welcome/([^/<\s]+)/", sheet.context["link"])[1]
    return sheet.context["invitation"].pk, {"plain": plain, "address": "dana@example.org", "language": "en"}


# --- invitations -----------------------------------------------------------------------------------


def test_an_invitation_is_mailed_with_its_link(page, organization):
    pk, form = invite(page, organization)
    answer = page.post(f"{INVITATIONS}{pk}/mail/", form, follow=True)
    assert "The link is mailed to dana@example.org" in answer.content.decode()
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == (["dana@example.org"], "Dock Cloud: an invitation to Harbour Survey")
    assert f"http://127.0.0.1:8000/welcome/{form['plain']}/" in sent.body
    assert "alice invites you to Harbour Survey" in sent.body
    event = AuditEvent.objects.get(action="mail")
    assert (event.after, event.organization) == ({"address": "dana@example.org"}, organization)
    assert form["plain"] not in answer.content.decode()


def test_an_invitation_is_mailed_in_the_language_that_the_manager_chooses(page, organization):
    pk, form = invite(page, organization)
    page.post(f"{INVITATIONS}{pk}/mail/", form | {"language": "zh-hans"}, headers={"Accept-Language": "en"})
    [sent] = mail.outbox
    assert sent.subject == "Dock Cloud：加入 Harbour Survey 的邀请"
    assert "alice 邀请您以用户 dana 的身份加入" in sent.body
    assert not re.search("[A-Za-z ]{20,}", sent.body.replace(form["plain"], ""))  # no English sentence


@pytest.mark.parametrize("wrong", [{"address": "dana"}, {"language": "tlh"}])
def test_what_cannot_be_sent_shows_the_link_again(page, organization, wrong):
    pk, form = invite(page, organization)
    answer = page.post(f"{INVITATIONS}{pk}/mail/", form | wrong)
    assert form["plain"] in answer.content.decode()
    assert "errorlist" in answer.content.decode()
    assert not mail.outbox


def test_a_mail_server_that_is_away_leaves_the_link_on_the_page(page, organization, settings):
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend", "127.0.0.1", 9,
    )  # fmt: skip
    pk, form = invite(page, organization)
    text = page.post(f"{INVITATIONS}{pk}/mail/", form).content.decode()
    assert "The mail server did not take it" in text
    assert form["plain"] in text
    assert not AuditEvent.objects.filter(action="mail").exists()


def test_one_address_gets_three_mails_an_hour(page, organization):
    for _ in range(4):
        pk, form = invite(page, organization)
        text = page.post(f"{INVITATIONS}{pk}/mail/", form, follow=True).content.decode()
    assert "Too many invitations were mailed lately" in text
    assert len(mail.outbox) == 3


def test_only_the_link_of_that_invitation_is_mailed_and_by_its_organization(page, organization, charlie, bob):
    pk, form = invite(page, organization)
    other, _ = invite(page, organization)
    page.post(f"{INVITATIONS}{other}/mail/", form)
    page.post(f"{INVITATIONS}{pk}/mail/", form | {"plain": "guessed"})
    for user in (charlie, bob):
        stranger = Client()
        stranger.force_login(user)
        assert stranger.post(f"{INVITATIONS}{pk}/mail/", form).status_code == 404
    assert not mail.outbox


def test_a_server_that_sends_no_mail_offers_none(page, organization, settings):
    settings.EMAIL_URL = ""
    pk, form = invite(page, organization)
    assert (
        "Send it by mail"
        not in page.post(
            f"{INVITATIONS}add/", {"username": "eve", "organization": organization.pk, "role": "viewer"}
        ).content.decode()
    )
    page.post(f"{INVITATIONS}{pk}/mail/", form)
    assert not mail.outbox


# --- passwords -------------------------------------------------------------------------------------


@pytest.fixture
def member_page(bob):
    return f"/admin/organizations/membership/{Membership.objects.get(user=bob).pk}/"


def test_a_manager_makes_a_member_get_a_link_and_never_sees_it(page, member_page, organization):
    assert "password-reset/" in page.get(f"{member_page}change/").content.decode()
    text = page.post(f"{member_page}password-reset/", follow=True).content.decode()
    assert "A link to choose a new password is mailed to bob." in text
    [sent] = mail.outbox
    assert sent.to == ["bob@example.org"]
    link = re.search(r"/password-reset/\S+", sent.body)[0]
    assert link not in text
    for reader in (page, Client()):  # signed in, and not
        assert reader.get(link, follow=True).content.decode().count('class="language"') == 1
    assert "bob@example.org" not in text
    event = AuditEvent.objects.get()
    assert (event.action, event.organization, event.user.username) == ("send password reset", organization, "alice")


def test_one_user_gets_three_links_an_hour(page, member_page, monkeypatch):
    sent = []
    monkeypatch.setattr(members.send_password_reset, "delay", sent.append)
    for _ in range(4):
        text = page.post(f"{member_page}password-reset/", follow=True).content.decode()
    assert "three links within an hour" in text
    assert sent == ["bob@example.org"] * password_reset.BY_MANAGERS.tries


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"email": ""}, "No mail address is stored"), ({"password": "!"}, "signs in without a password")],
)
def test_a_link_that_cannot_be_mailed_is_not_offered(page, bob, member_page, fields, words):
    type(bob).objects.filter(pk=bob.pk).update(**fields)
    text = page.get(f"{member_page}change/").content.decode()
    assert words in text
    assert "password-reset/" not in text
    page.post(f"{member_page}password-reset/")
    assert not mail.outbox
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(("visitor", "status"), [("bob", 403), ("charlie", 404)])
def test_nobody_else_makes_a_member_get_a_link(page, request, member_page, visitor, status):
    page.force_login(request.getfixturevalue(visitor))
    assert page.post(f"{member_page}password-reset/").status_code == status
    assert "password-reset/" not in page.get(f"{member_page}change/", follow=True).content.decode()
    assert not mail.outbox
