"""Password reset by mail, with a real SMTP server."""

import re
from email import message_from_bytes

import pytest
import time_machine
from aiosmtpd.controller import Controller
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from environ import Env

from organizations.models import AuditEvent
from organizations.people import password_reset
from organizations.people.models import Preference
from organizations.people.tasks import send_password_reset
from tests.demo import free_port
from tests.organizations.people.sign_in import LOGIN, give_password, may_enter, with_second_factor

PAGE = "/password-reset/"
CHOSEN = {"new_password1": "Quay-side 9", "new_password2": "Quay-side 9"}


class Mailbox:
    """Keeps what an SMTP server takes."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content).get_payload()))
        return "250 OK"


@pytest.fixture
def mailbox(settings, monkeypatch):
    """The mail of this server, which a worker that works at once sends."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_URL = f"smtp://127.0.0.1:{controller.port}"
    for name, value in Env.email_url_config(settings.EMAIL_URL).items():
        setattr(settings, name, value)
    settings.DEFAULT_FROM_EMAIL = "docks@example.org"
    settings.PUBLIC_URL = "https://docks.example.com"
    settings.ALLOWED_HOSTS = ["*"]
    monkeypatch.setattr(send_password_reset, "delay", send_password_reset.run)
    cache.clear()  # of the pause after a mail of another test
    yield box
    controller.stop()


def ask(address, **headers):
    return Client(headers=headers).post(PAGE, {"email": address})


def link_in(mailbox):
    [(_, text)] = mailbox.mails
    return re.search(r"https://docks\.example\.com(/password-reset/\S+)", text)[1]


def choose(link, client=None):
    client = client or Client()
    return client.post(client.get(link)["Location"], CHOSEN)


def test_a_person_chooses_a_new_password_and_all_sessions_end(mailbox, alice):
    session = Client()
    session.force_login(alice)
    assert "Forgot your password?" in Client().get(LOGIN).content.decode()
    ask("Alice@example.org")
    assert mailbox.mails[0][0] == ["alice@example.org"]
    link = link_in(mailbox)
    assert choose(link)["Location"] == "/password-reset/done/"
    assert not may_enter(session)
    assert give_password(Client(), "alice", "Quay-side 9")["Location"] == "/admin/"
    assert {"reset password", "end sessions"} <= {*AuditEvent.objects.values_list("action", flat=True)}
    assert b"invalid" in Client().get(link, follow=True).content  # it works once


def test_a_second_factor_is_asked_all_the_same(mailbox, alice):
    with_second_factor(alice)
    ask("alice@example.org")
    browser = Client()
    choose(link_in(mailbox), browser)
    assert not may_enter(browser)
    assert give_password(browser, "alice", "Quay-side 9")["Location"] == "/sign-in/code/"


def test_the_answer_is_the_same_for_an_unknown_address(mailbox, alice, django_assert_num_queries):
    answers = []
    for address in ("alice@example.org", "nobody@example.org"):
        answer = ask(address)
        answers.append((answer.status_code, answer["Location"], answer.content))
    assert answers[0] == answers[1]
    assert len(mailbox.mails) == 1


def test_the_request_itself_looks_nobody_up(mailbox, alice, monkeypatch, django_assert_num_queries):
    """Else the time of the answer would tell whether the address is known: a worker does it."""
    sent = []
    monkeypatch.setattr(send_password_reset, "delay", lambda *given: sent.append(given))
    with django_assert_num_queries(0):
        ask("alice@example.org")
    assert (sent, mailbox.mails) == ([("alice@example.org", "en")], [])


def test_a_host_that_the_browser_made_up_is_in_no_link(mailbox, alice):
    ask("alice@example.org", host="evil.example.org", x_forwarded_host="evil.example.org")
    assert "evil" not in mailbox.mails[0][1]
    assert link_in(mailbox)


def test_a_mail_is_in_the_language_of_its_reader_else_of_the_request(alice):
    for chosen, subject in (("", "设置新密码"), ("en", "choose a new password")):
        Preference.objects.update_or_create(user=alice, defaults={"language": chosen})
        cache.clear()
        password_reset.send("alice@example.org", "zh-hans")
        assert subject in mail.outbox[-1].subject


def test_one_address_gets_one_mail_in_five_minutes(mailbox, alice):
    for _ in range(3):
        ask("alice@example.org")
    assert len(mailbox.mails) == 1


def test_the_eleventh_request_of_a_client_is_refused(mailbox, db):
    with time_machine.travel(timezone.now().replace(minute=1), tick=False):
        statuses = [ask(f"nobody{number}@example.org").status_code for number in range(11)]
        assert statuses == [302] * 10 + [429]
        assert Client(REMOTE_ADDR="192.0.2.1").post(PAGE, {"email": "alice@example.org"}).status_code == 302


def test_who_may_not_sign_in_gets_none(mailbox, alice):
    get_user_model().objects.update(is_active=False)
    ask("alice@example.org")
    assert mailbox.mails == []


def test_without_mail_there_is_no_link_and_no_page(client, db):
    assert "Forgot your password?" not in client.get(LOGIN).content.decode()
    for page in (PAGE, "/password-reset/sent/", "/password-reset/MQ/abc-def/", "/password-reset/done/"):
        assert client.get(page).status_code == 404
    assert mail.outbox == []
