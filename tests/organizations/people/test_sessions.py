"""Sessions: what their owner sees, and how they end."""

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from organizations.models import AuditEvent
from organizations.people import sessions
from organizations.people.models import UserSession
from tests.organizations.people.sign_in import PASSWORD, give_password, may_enter

PAGE = "/sessions/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"


def browser(user, agent=FIREFOX, address="192.0.2.7"):
    client = Client(REMOTE_ADDR=address, headers={"User-Agent": agent})
    give_password(client, user.username)
    return client


def test_the_list_shows_browser_and_address_and_marks_this_one(alice, bob):
    browser(bob, address="203.0.113.9")
    laptop, phone = browser(alice), browser(alice, PHONE, "198.51.100.4")
    text = phone.get(PAGE).content.decode()
    for words in ("Firefox on Windows", "192.0.2.7", "Chrome on Android", "198.51.100.4"):
        assert words in text
    assert "203.0.113.9" not in text
    assert text.count("this one") == 1
    assert laptop.session.session_key not in text


def test_the_last_use_is_noted_once_a_minute(alice):
    client = browser(alice)
    row = UserSession.objects.get()
    for minutes, is_later in ((0, False), (2, True)):
        with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
            client.get(PAGE, REMOTE_ADDR="198.51.100.4")
            noted = UserSession.objects.get()
            assert (noted.last_used > row.last_used) == is_later
            assert (noted.address == "198.51.100.4") == is_later
            assert noted.created == row.created


def test_an_open_browser_is_no_place_to_guess_the_password(client, alice, bob):
    cache.clear()
    client.force_login(alice)
    passwords = {"old_password": "wrong", "new_password1": "another 9 one", "new_password2": "another 9 one"}
    answers = [client.post("/admin/password_change/", passwords).status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]
    right = passwords | {"old_password": PASSWORD}
    assert client.post("/admin/password_change/", right).status_code == 429
    client.force_login(bob)
    assert client.post("/admin/password_change/", right).status_code == 302
    cache.clear()


def test_all_others_end_and_this_one_stays(alice, bob):
    own, other, stranger = browser(alice), browser(alice, PHONE), browser(bob)
    assert own.post(PAGE)["Location"] == PAGE
    assert (may_enter(own), may_enter(other), may_enter(stranger)) == (True, False, True)
    event = AuditEvent.objects.get(action="end sessions")
    assert (event.user, event.after) == (alice, {"ended": 1})


def test_a_session_that_a_new_password_ended_is_not_listed(alice):
    own, _ = browser(alice), browser(alice, PHONE)
    passwords = {"old_password": "right password", "new_password1": "Quay-side 9", "new_password2": "Quay-side 9"}
    own.post("/admin/password_change/", passwords)
    alice.refresh_from_db()
    assert [row.browser for row in sessions.of_user(alice)] == [FIREFOX]


def test_platform_staff_end_all_sessions_of_a_user(client, alice, bob, staff):
    hers, his = browser(alice), browser(bob)
    client.force_login(staff)
    users = "/admin/auth/user/"
    assert client.get(users).status_code == 200
    client.post(users, {"action": "end_sessions", "_selected_action": [alice.pk]})
    assert (may_enter(hers), may_enter(his)) == (False, True)
    assert AuditEvent.objects.get(action="end sessions").user == staff


def test_signing_out_leaves_no_row(alice):
    client = browser(alice)
    client.post("/admin/logout/")
    assert not UserSession.objects.filter(user=alice).exists()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Windows"),
        (PHONE, "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Mobile Safari/604.1", "Safari on iOS"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/142.0.0.0 Safari/537.36 Edg/142.0", "Edge on Windows"),
        ("curl/8.1", "curl/8.1"),
        ("", "unknown"),
    ],
)
def test_a_browser_has_the_name_that_people_know(agent, name):
    assert sessions.browser_name(agent) == name
