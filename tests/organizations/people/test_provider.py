"""Sign-in through OpenID Connect, with a real provider on loopback."""

from urllib.parse import parse_qs, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client
from joserfc.jwk import RSAKey

from cloudapi.rest.guesses import Limit
from organizations.models import Organization
from organizations.people import views
from tests.oidc_provider import Provider
from tests.organizations.people.sign_in import CODE, DEVICES, LOGIN, SET_UP, give_code, may_enter, with_second_factor

START = "/sign-in/provider/"
PUBLIC = "https://docks.example.com"


@pytest.fixture(scope="module")
def running():
    provider = Provider()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # plain HTTP, on loopback
        yield provider
    provider.close()


@pytest.fixture
def provider(running, settings):
    settings.OIDC_ISSUER = running.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = running.CLIENT
    settings.OIDC_NAME = "Harbour ID"
    settings.PUBLIC_URL = PUBLIC  # as behind a proxy
    running.claims = {"sub": "248289", "email": "Alice@example.org", "email_verified": True}
    running.overrides, running.signs_with = {}, running.key
    return running


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def visit_provider(address):
    """What the browser does there; returns where it is sent back to, as our own path."""
    try:
        build_opener(_Stay).open(address)
    except Exception as redirect:
        back = redirect.headers["Location"]
    assert back.startswith(f"{PUBLIC}/sign-in/provider/callback/")
    return back.removeprefix(PUBLIC)


def sign_in(client, then=DEVICES):
    """Returns the answer to the browser that comes back."""
    return client.get(visit_provider(client.get(START, {"next": then})["Location"]))


def test_a_verified_address_opens_its_account(client, provider, alice):
    assert "Sign in with Harbour ID" in client.get(LOGIN).content.decode()
    assert sign_in(client)["Location"] == DEVICES
    assert may_enter(client)
    assert client.get("/sessions/").context["user"] == alice
    asked = provider.asked[-1]
    assert asked["redirect_uri"] == f"{PUBLIC}/sign-in/provider/callback/"
    assert asked["nonce"]
    assert asked["state"]


def test_a_second_factor_is_asked_here_too(client, provider, alice):
    app, _ = with_second_factor(alice)
    assert sign_in(client)["Location"] == CODE
    assert not may_enter(client)
    assert give_code(client, app.code())["Location"] == DEVICES
    assert may_enter(client)


def test_one_that_is_required_is_set_up_here_too(client, provider, alice):
    Organization.objects.update(second_factor_required=True)
    assert sign_in(client)["Location"] == SET_UP
    assert not may_enter(client)


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"email_verified": False}, "has not verified your email address"),
        ({"email_verified": None}, "has not verified your email address"),
        ({"email_verified": "false"}, "has not verified your email address"),
        ({"email": ""}, "has not verified your email address"),
        ({"email": "nobody@example.org"}, "No accounts here have the address"),
        ({"email": "al\u0131ce@example.org"}, "No accounts here have the address"),  # in C.UTF-8 its capitals match
    ],
)
def test_who_is_not_known_gets_no_account(client, provider, alice, claims, words):
    provider.claims |= claims
    before = get_user_model().objects.count()
    assert sign_in(client)["Location"] == LOGIN
    assert words in client.get(LOGIN).content.decode()
    assert not may_enter(client)
    assert get_user_model().objects.count() == before


@pytest.mark.parametrize("fields", [{"is_active": False}, {"is_staff": False}])
def test_who_may_not_sign_in_gains_no_right(client, provider, alice, fields):
    get_user_model().objects.update(**fields)
    assert sign_in(client)["Location"] == LOGIN
    assert not may_enter(client)
    assert get_user_model().objects.filter(**fields).exists()


def test_a_client_is_sent_to_the_provider_only_so_often(client, provider, alice, monkeypatch):
    """Each time stores a session."""
    cache.clear()
    monkeypatch.setattr(views, "SENT_THERE", Limit("provider", 2, 600))
    answers = [client.get(START)["Location"] for _ in range(3)]
    assert [answer.startswith(provider.issuer) for answer in answers] == [True, True, False]
    assert answers[2] == LOGIN
    assert client.get(START, REMOTE_ADDR="192.0.2.9")["Location"].startswith(provider.issuer)
    cache.clear()


def test_an_address_of_two_accounts_opens_neither(client, provider, alice, bob):
    get_user_model().objects.update(email="alice@example.org")
    assert sign_in(client)["Location"] == LOGIN
    assert "2 accounts here have the address" in client.get(LOGIN).content.decode()


@pytest.mark.parametrize(
    "overrides",
    [{"nonce": "another"}, {"aud": "another"}, {"iss": "https://another.example.org"}, {"exp": 1, "iat": 0}],
    ids=lambda overrides: next(iter(overrides)),
)
def test_a_token_for_something_else_opens_nothing(client, provider, alice, overrides):
    provider.overrides = overrides
    assert sign_in(client)["Location"] == LOGIN
    assert not may_enter(client)


def test_a_token_with_another_signature_opens_nothing(client, provider, alice):
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "1"})
    assert sign_in(client)["Location"] == LOGIN
    assert not may_enter(client)


def test_an_answer_counts_only_in_the_browser_that_asked_and_once(client, provider, alice):
    back = visit_provider(client.get(START)["Location"])
    stranger = Client()
    assert stranger.get(back)["Location"] == LOGIN  # a foreign state
    assert not may_enter(stranger)
    assert client.get(back)["Location"] == "/admin/"
    client.logout()
    assert client.get(back)["Location"] == LOGIN


def test_a_provider_that_says_no_is_no_error(client, provider, db):
    state = parse_qs(urlsplit(client.get(START)["Location"]).query)["state"][0]
    back = client.get(f"{START}callback/", {"error": "access_denied", "state": state})
    assert back["Location"] == LOGIN
    assert "did not confirm who you are" in client.get(LOGIN).content.decode()


def test_a_provider_that_is_away_is_no_error(client, provider, settings, db):
    settings.OIDC_ISSUER = "http://127.0.0.1:1"
    assert client.get(START)["Location"] == LOGIN
    assert "does not answer" in client.get(LOGIN).content.decode()


def test_no_foreign_page_follows(client, provider, alice):
    assert sign_in(client, then="https://evil.example.org/")["Location"] == "/admin/"


def test_without_the_settings_there_is_none(client, db):
    assert "Sign in with" not in client.get(LOGIN).content.decode()
    assert client.get(START).status_code == 404
    assert client.get(f"{START}callback/").status_code == 404
