"""API keys: made, recognised, revoked; and what they open."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.apps import apps
from django.core.cache import cache
from django.utils import timezone

from cloudapi.rest.guesses import Limit, WrongTries
from organizations import api_keys, audit
from organizations.models import AuditEvent, OrganizationAPIKey, Role
from tests.api import make_key

ROUTE = "/api/v1/devices/"
NOON = datetime(2027, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def actor(alice):
    return audit.Actor(AuditEvent.Through.ADMIN, user=alice)


def test_issuing_returns_the_key_and_keeps_a_hash_alone(actor, alice, organization):
    row, plain = api_keys.issue(actor=actor, organization=organization, name="ERP", role=Role.VIEWER)
    secret = plain.partition(".")[2]
    assert len(secret) == 32
    assert api_keys.recognise(plain) == row
    for model in apps.get_models():
        assert not any(secret in str(values) for values in model._default_manager.values()), model
    assert row.hashed_key.startswith("sha512$$")


def test_issuing_is_audited(actor, alice, organization):
    row, _ = api_keys.issue(actor=actor, organization=organization, name="ERP", role=Role.VIEWER, expires=NOON)
    event = AuditEvent.objects.get()
    assert (event.action, event.user, event.organization, event.object_id) == (
        "issue", alice, organization, str(row.pk),
    )  # fmt: skip
    assert event.after == {"name": "ERP", "role": "viewer", "expiry_date": str(NOON)}


def test_a_revoked_key_opens_nothing_any_more(actor, api, manager_key):
    assert api_keys.revoke([manager_key], actor=actor) == 1
    assert api(manager_key).get(ROUTE).status_code == 401
    assert api_keys.recognise(manager_key.plain) is None


def test_revoking_is_audited_once(actor, manager_key, viewer_key):
    assert api_keys.revoke([manager_key], actor=actor) == 1
    assert api_keys.revoke([manager_key, viewer_key], actor=actor) == 1
    assert AuditEvent.objects.filter(action="revoke").count() == 2


def test_an_expired_key_opens_nothing_any_more(api, organization):
    key = make_key(organization, expires=NOON)
    with time_machine.travel(NOON - timedelta(seconds=1), tick=False):
        assert api(key).get(ROUTE).status_code == 200
    with time_machine.travel(NOON + timedelta(seconds=1), tick=False):
        assert api(key).get(ROUTE).status_code == 401


def test_a_key_of_a_deleted_organization_opens_nothing(api, stranger_key, other_organization):
    assert api(stranger_key).get(ROUTE).status_code == 200
    other_organization.delete()
    assert api(stranger_key).get(ROUTE).status_code == 401


WRONG = {
    "wrong secret": "Api-Key {prefix}.{reversed}",
    "wrong prefix": "Api-Key aaaaaaaa.{secret}",
    "prefix alone": "Api-Key {prefix}.",
    "too long": "Api-Key {prefix}.{secret}x",
    "very long": "Api-Key " + "x" * 5000,
    "quoted": 'Api-Key "{prefix}.{secret}"',
    "line feed": "Api-Key {prefix}.{secret}\n",
    "NUL": "Api-Key {prefix}.{secret}\0",
    "not ASCII": "Api-Key {prefix}.{secret}é",
    "other digits": "Api-Key {prefix}.\u0663{secret}",
    "no key": "Api-Key ",
    "no key, no space": "Api-Key",
    "wrong scheme": "Bearer {prefix}.{secret}",
    "no scheme": "{prefix}.{secret}",
    "empty": "",
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused_and_told_what_to_show(api, manager_key, name):
    prefix, _, secret = manager_key.plain.partition(".")
    header = WRONG[name].format(prefix=prefix, secret=secret, reversed=secret[::-1])
    response = api().get(ROUTE, HTTP_AUTHORIZATION=header)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Api-Key"
    assert response["Content-Type"] == "application/problem+json"
    assert secret not in response.content.decode()


def test_a_bad_key_is_not_mended_by_a_session(api, alice, manager_key):
    response = api(alice).get(ROUTE, HTTP_AUTHORIZATION="Api-Key wrong")
    assert response.status_code == 401


def test_the_scheme_is_read_in_any_case(api, manager_key):
    assert api().get(ROUTE, HTTP_AUTHORIZATION=f"API-KEY {manager_key.plain}").status_code == 200


def test_recognising_asks_once(manager_key, django_assert_num_queries):
    with django_assert_num_queries(1):
        found = api_keys.recognise(manager_key.plain)
        assert found.organization.name
    with django_assert_num_queries(0):
        assert api_keys.recognise("\0") is None


def test_a_use_is_noted_once_a_minute(api, manager_key):
    client = api(manager_key)

    def last_used():
        return OrganizationAPIKey.objects.get(pk=manager_key.pk).last_used

    assert last_used() is None
    for seconds, noted in ((0, 0), (59, 0), (61, 61), (90, 61), (121, 121)):
        with time_machine.travel(NOON + timedelta(seconds=seconds), tick=False):
            client.get(ROUTE)
        assert last_used() == NOON + timedelta(seconds=noted)


def test_a_refused_key_is_not_in_use(api, actor, manager_key):
    api_keys.revoke([manager_key], actor=actor)
    api(manager_key).get(ROUTE)
    assert OrganizationAPIKey.objects.get().last_used is None


def test_a_note_of_a_use_takes_one_write_however_many_come_at_once(manager_key, django_assert_num_queries):
    stale = OrganizationAPIKey.objects.get(pk=manager_key.pk)
    api_keys.note_use(manager_key)
    noted = OrganizationAPIKey.objects.get().last_used
    api_keys.note_use(stale)
    assert OrganizationAPIKey.objects.get().last_used == noted
    with django_assert_num_queries(0):
        api_keys.note_use(OrganizationAPIKey(pk=manager_key.pk, last_used=timezone.now()))


def test_no_key_is_logged(api, manager_key, caplog):
    caplog.set_level(logging.DEBUG)
    api(manager_key).get(ROUTE)
    api().get(ROUTE, HTTP_AUTHORIZATION=f"Api-Key {manager_key.plain}x")
    assert manager_key.plain.partition(".")[2] not in caplog.text


# --- sessions ----------------------------------------------------------------------------------------


def test_a_session_changes_nothing_without_csrf_token(api, alice, dock):
    client = api(alice, enforce_csrf_checks=True)
    refused = client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Stolen"})
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    client.get("/admin/")
    token = client.cookies["csrftoken"].value
    answer = client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 8"}, HTTP_X_CSRFTOKEN=token)
    assert answer.json()["callsign"] == "Pier 8"


def test_a_key_needs_no_csrf_token(api, manager_key, dock):
    client = api(manager_key, enforce_csrf_checks=True)
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 8"}).status_code == 200


def test_a_session_whose_user_was_locked_out_is_over(api, alice):
    client = api(alice)
    assert client.get(ROUTE).status_code == 200
    alice.is_active = False
    alice.save()
    assert client.get(ROUTE).status_code == 401


# --- wrong keys ---------------------------------------------------------------------------------------------


@pytest.fixture
def _few_wrong_keys(monkeypatch):
    """At most three wrong keys from an address and six in all, in an hour."""
    limits = WrongTries(by_client=Limit("key", 3, 3600), in_all=Limit("keys", 6, 3600))
    monkeypatch.setattr(api_keys, "_wrong_keys", limits)
    monkeypatch.setattr(api_keys, "_prefixes", api_keys._Prefixes())
    cache.clear()
    yield
    cache.clear()


def wrong_key(number):
    return f"Api-Key {number:08}.{'a' * 32}"


def status_of(api, authorization, address="192.0.2.7"):
    return api().get(ROUTE, HTTP_AUTHORIZATION=authorization, REMOTE_ADDR=address).status_code


@pytest.mark.usefixtures("_few_wrong_keys")
def test_too_many_wrong_keys_of_an_address_are_refused_unread(api, manager_key, django_assert_num_queries):
    assert [status_of(api, wrong_key(n)) for n in range(5)] == [401, 401, 401, 429, 429]
    with django_assert_num_queries(0):
        answer = api().get(ROUTE, HTTP_AUTHORIZATION=wrong_key(6), REMOTE_ADDR="192.0.2.7")
    assert (answer.json()["type"], int(answer["Retry-After"]) <= 3601) == ("urn:dock-cloud:problem:throttled", True)
    assert status_of(api, wrong_key(7), "192.0.2.8") == 401


@pytest.mark.usefixtures("_few_wrong_keys")
def test_a_valid_key_of_that_address_goes_on(api, manager_key):
    for number in range(5):
        status_of(api, wrong_key(number))
    assert status_of(api, f"Api-Key {manager_key.plain}") == 200
    assert status_of(api, f"Api-Key {manager_key.plain[:-1]}") == 401  # its beginning is known, so it is read


@pytest.mark.usefixtures("_few_wrong_keys")
def test_too_many_wrong_keys_in_all_are_refused_and_valid_ones_go_on(api, manager_key):
    assert [status_of(api, wrong_key(n), f"192.0.2.{n}") for n in range(8)] == [401] * 6 + [429] * 2
    assert status_of(api, f"Api-Key {manager_key.plain}", "192.0.2.200") == 200
