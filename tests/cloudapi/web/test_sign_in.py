"""Guessing passwords at the admin's door."""

import http.client
import statistics
import threading
import time
from contextlib import closing
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.core.cache import cache
from django.test import Client
from prometheus_client import REGISTRY

from cloudapi.web import sign_in
from organizations import api_keys
from organizations.audit import Actor
from organizations.models import AuditEvent, Role
from tests.web import running_web

PATH = "/admin/login/?next=/admin/"


@pytest.fixture(autouse=True)
def _no_tries():
    cache.clear()
    yield
    cache.clear()


def try_password(client, password, name="alice", address="127.0.0.1"):
    return client.post(PATH, {"username": name, "password": password}, REMOTE_ADDR=address)


def refused_so_far():
    return REGISTRY.get_sample_value("web_sign_in_lockouts_total", {"kind": "password"}) or 0


def is_refused(name="alice", address="127.0.0.1", *, client=None, is_right=True):
    password = "right password" if is_right else "wrong"
    return try_password(client or Client(), password, name, address).status_code == 429


@pytest.mark.usefixtures("alice")
def test_the_right_password_opens(client):
    assert try_password(client, "right password").status_code == 302


@pytest.mark.usefixtures("alice")
def test_the_sixth_try_is_refused_with_the_right_password(client):
    for _ in range(5):
        assert "_auth_user_id" not in try_password(client, "wrong").wsgi_request.session
    assert try_password(client, "right password").status_code == 429
    assert client.get("/admin/").status_code == 302


@pytest.mark.usefixtures("alice")
def test_a_sign_in_without_csrf_token_is_refused():
    assert try_password(Client(enforce_csrf_checks=True), "right password").status_code == 403


@pytest.mark.usefixtures("alice")
def test_nothing_secret_of_a_failed_sign_in_is_kept(client):
    fields = {"username": "alice", "password": "nearly right", "csrfmiddlewaretoken": "token of the page"}
    client.post(PATH, fields, REMOTE_ADDR="127.0.0.1")
    [kept] = AccessAttempt.objects.values_list("post_data", flat=True)
    assert "username" in kept
    assert "nearly right" not in kept
    assert "token of the page" not in kept


# --- strangers are counted by address, by name and in all ----------------------------------------------------


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("addresses", "last", "other"),
    [
        (["192.0.2.7"] * 40, "192.0.2.7", "192.0.2.8"),
        ([f"2001:db8::{n}" for n in range(1, 41)], "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
    ],
    ids=["IPv4", "one IPv6 network"],
)
def test_forty_names_from_one_client_are_too_many(addresses, last, other):
    before = refused_so_far()
    refused = [is_refused(f"name{n}", address) for n, address in enumerate(addresses)]
    assert refused == [False] * 30 + [True] * 10
    assert refused_so_far() - before == 10
    assert is_refused(address=last)
    assert not is_refused(address=other)


@pytest.mark.usefixtures("alice", "bob")
def test_one_name_from_forty_addresses_is_too_many():
    refused = [is_refused(address=f"192.0.2.{n}", is_right=False) for n in range(40)]
    assert refused == [False] * 20 + [True] * 20
    assert is_refused(address="192.0.2.200")
    assert not is_refused("bob", "192.0.2.200")


@pytest.mark.usefixtures("alice")
def test_too_many_strangers_in_all_are_refused_but_not_the_first_try_of_an_address(monkeypatch):
    monkeypatch.setattr(sign_in, "IN_ALL", sign_in.IN_ALL._replace(tries=10, seconds=86_400))
    refused = [is_refused(f"name{n}", f"192.0.2.{n // 2}") for n in range(20)]
    assert refused == [False] * 10 + [False, True] * 5
    assert not is_refused(address="192.0.2.200")


@pytest.mark.usefixtures("alice")
def test_right_passwords_are_not_counted():
    assert not any(is_refused(address="192.0.2.9") for _ in range(31))


@pytest.mark.usefixtures("alice")
def test_no_header_makes_another_client():
    for n in range(31):
        told = {f"HTTP_{name}": f"203.0.113.{n}" for name in ("X_FORWARDED_FOR", "FORWARDED", "X_REAL_IP", "CLIENT_IP")}
        found = Client().post(PATH, {"username": f"name{n}", "password": "wrong"}, **told)
    assert found.status_code == 429
    assert 0 < int(found["Retry-After"]) <= 600


# --- nobody locks out others ---------------------------------------------------------------------------------


@pytest.fixture
def own_browser(alice):
    """Where Alice has signed in before."""
    client = Client()
    assert not is_refused(client=client)
    del client.cookies["sessionid"]
    assert sign_in.COOKIE in client.cookies
    return client


def test_a_browser_that_signed_in_before_is_not_locked_out_by_strangers_behind_its_proxy(own_browser):
    for n in range(40):
        try_password(Client(), "wrong", f"name{n}")
    for _ in range(6):
        try_password(Client(), "wrong")
    assert is_refused()
    assert not is_refused(client=own_browser)


def test_nor_by_strangers_who_try_its_users_name_everywhere(own_browser):
    for n in range(40):
        try_password(Client(), "wrong", address=f"192.0.2.{n}")
    assert is_refused(address="192.0.2.200")
    assert not is_refused(client=own_browser, address="192.0.2.201")


def test_the_sixth_try_of_such_a_browser_is_refused_too(own_browser):
    assert [is_refused(client=own_browser, is_right=False) for _ in range(6)] == [False] * 5 + [True]
    assert is_refused(client=own_browser)
    assert not is_refused()


def test_such_a_browser_is_a_stranger_to_other_names(own_browser, bob):
    for _ in range(5):
        try_password(Client(), "wrong", "bob")
    assert is_refused("bob", client=own_browser)


@pytest.mark.usefixtures("alice")
def test_a_forged_cookie_makes_nobody_known():
    for _ in range(6):
        client = Client()
        client.cookies[sign_in.COOKIE] = '["AAAA", ["' + sign_in.digest("alice") + '"]]:AAAAAA:AAAA'
        found = try_password(client, "wrong")
    assert found.status_code == 429


def test_the_cookie_is_for_the_server_alone_and_holds_no_name(own_browser):
    cookie = own_browser.cookies[sign_in.COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert "alice" not in str(sign_in.signing.loads(cookie.value, salt=sign_in.COOKIE))


@pytest.mark.usefixtures("alice")
def test_a_cache_that_is_away_lets_nobody_guess_more(monkeypatch):
    from cloudapi.rest import guesses

    monkeypatch.setattr(guesses.cache, "add", lambda *_a, **_k: 1 / 0)
    guesses._own.clear()
    refused = [is_refused(f"name{n}", "192.0.2.7") for n in range(31)]
    guesses._own.clear()
    guesses._pause._until = 0.0
    assert refused == [False] * 30 + [True]


# --- hashing takes no thread from others ---------------------------------------------------------------------


def test_places_are_few_and_one_client_never_has_all_of_them(monkeypatch):
    monkeypatch.setattr(sign_in, "BUSY", 0.01)
    places = sign_in.Places(2)
    assert [places.enter(client) for client in ("a", "a", "a")] == [True, True, False]
    assert not places.enter("b")  # it waited in vain, and waits no more
    places.leave("a")
    assert places.enter("b")
    for client in ("a", "b"):
        places.leave(client)
    assert not places._taken
    assert places._hashing == 0


@pytest.mark.django_db(transaction=True)
def test_32_connections_that_invent_names_do_not_slow_rest_down(organization, tmp_path, report):
    _, key = api_keys.issue(
        actor=Actor(AuditEvent.Through.COMMAND), organization=organization, name="integration", role=Role.VIEWER
    )

    def rest_times(host, number=30):
        times = []
        with closing(http.client.HTTPConnection(host)) as connection:
            for _ in range(number):
                began = time.monotonic()
                connection.request("GET", "/api/v1/devices/", headers={"Authorization": f"Api-Key {key}"})
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (200, True)
                times.append(time.monotonic() - began)
        return times

    def guess(host, number):
        form = {"username": f"name{number}", "password": "guess", "csrfmiddlewaretoken": "a" * 32}
        headers = {"Cookie": f"csrftoken={'a' * 32}", "Content-Type": "application/x-www-form-urlencoded"}
        for _ in range(4):
            with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
                connection.request("POST", PATH, urlencode(form), headers)
                answers.append(connection.getresponse().status)

    answers = []
    with running_web(tmp_path / "log") as web:
        alone = rest_times(web.host)
        guessers = [threading.Thread(target=guess, args=(web.host, number)) for number in range(32)]
        for guesser in guessers:
            guesser.start()
        beside = rest_times(web.host)
        for guesser in guessers:
            guesser.join()
    usual, beside_them, worst = (
        f"{seconds * 1000:.0f} ms" for seconds in (statistics.median(alone), statistics.median(beside), max(beside))
    )
    report(f"REST p50 {usual} alone, {beside_them} and at most {worst} beside 32 guessers")
    report(f"{answers.count(200)} passwords were hashed, {answers.count(429)} tries refused")
    assert set(answers) == {200, 429}
    assert answers.count(200) <= 30  # without the limits every second one is hashed, and REST waits 5 s
