"""Requests with an `Idempotency-Key`, through the route that asks docks for services."""

import json
import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import Error, connection, connections, transaction
from django.utils import timezone

from devices.calls import ending, refusal
from devices.models import ServiceCall
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, IdempotentAnswer, Membership, OrganizationAPIKey, Role
from tests.api import client_of, make_key
from tests.stack import wait_for

pytestmark = pytest.mark.django_db
CALLS = "/api/v1/service-calls/"
READING = {"device": "DOCK0001", "method": "unlock_license_list", "data": {"device_model_domain": 0}}
SWITCHING = {"device": "DOCK0001", "method": "unlock_license_switch", "data": {"license_id": 1, "enable": True}}


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def client(dock):
    return client_of(make_key(dock.organization, Role.OPERATOR))


def post(client, body=READING, key="k1", path=CALLS):
    return client.post(path, body, HTTP_IDEMPOTENCY_KEY=key)


def replayed(answer):
    return answer.headers.get("Idempotency-Replayed") == "true"


# --- the same, another, none -------------------------------------------------------------------------


def test_the_same_request_is_carried_out_once_and_answered_alike(client):
    first, second = post(client), post(client)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    for name in ("Location", "ETag", "Content-Type"):
        assert first[name] == second[name]
    assert (replayed(first), replayed(second)) == (False, True)
    assert ServiceCall.objects.get().idempotency_key == "k1"
    assert AuditEvent.objects.filter(action="command").count() == 1


def test_the_answer_is_told_again_as_it_was_though_the_call_has_moved_on(client):
    first = post(client)
    ending.cancel(ServiceCall.objects.get(), actor=Actor(AuditEvent.Through.COMMAND))
    assert post(client).json() == first.json()


def test_another_request_with_the_same_key_is_refused(client):
    first = post(client)
    for answer in (post(client, SWITCHING), post(client, path=f"{first['Location']}retry/")):
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:dock-cloud:problem:idempotency_key_reused")
    assert ServiceCall.objects.count() == 1


def test_another_key_is_another_request(client):
    post(client)
    answer = post(client, key="k2")
    assert (answer.status_code, replayed(answer)) == (409, False)  # busy


def test_without_a_key_every_request_counts(client):
    assert [client.post(CALLS, READING).status_code for _ in range(2)] == [201, 409]
    assert not IdempotentAnswer.objects.exists()


def test_the_key_of_one_is_nothing_to_another(client, dock, alice):
    post(client)
    session = client_of(alice)
    for other in (client_of(make_key(dock.organization, Role.OPERATOR)), session):
        answer = post(other)
        assert (answer.status_code, replayed(answer)) == (409, False)  # busy, and not what the first was told


def test_whoever_may_not_ask_any_more_is_not_told_again(client):
    post(client)
    OrganizationAPIKey.objects.update(role=Role.VIEWER)
    assert post(client).status_code == 403
    OrganizationAPIKey.objects.update(revoked=True)
    assert post(client).status_code == 401


def test_whoever_may_not_see_the_row_any_more_is_not_told_again(dock, alice, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.OPERATOR)
    assert post(client_of(alice)).status_code == 201
    assert replayed(post(client_of(alice)))
    alice.memberships.get(organization=dock.organization).delete()
    answer = post(client_of(alice))
    assert (answer.status_code, replayed(answer)) == (404, False)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\t", "ü", "k" * 256])
def test_a_key_that_is_none_is_refused(client, key):
    assert post(client, key=key).status_code == 400
    assert not ServiceCall.objects.exists()


@pytest.mark.parametrize("key", ["k" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_any_visible_text_is_a_key(client, key):
    assert post(client, key=key).status_code == 201


# --- errors --------------------------------------------------------------------------------------


def test_errors_are_told_again_and_leave_nothing_else(client, dock):
    dock.is_enabled = False
    dock.save()
    first = post(client)
    dock.is_enabled = True
    dock.save()
    second = post(client)
    assert (first.status_code, second.status_code, replayed(second)) == (409, 409, True)
    assert (first.content, first["Content-Type"]) == (second.content, second["Content-Type"])
    assert second["Content-Type"].startswith("application/problem+json")
    assert not ServiceCall.objects.exists()


@pytest.mark.parametrize("body", ["", "[]", "{", '{"device": "\\u0000"}', '{"method": "\\ud800"}', '{"\\ud800": 1}'])
def test_bad_input_is_told_again(client, body):
    answers = [client.post(CALLS, body, content_type="application/json", HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].content == answers[1].content
    assert replayed(answers[1])


def test_a_session_whose_csrf_token_is_checked_is_answered_alike(dock, alice):
    session = client_of(alice, enforce_csrf_checks=True)
    assert post(session).status_code == 403
    session.cookies["csrftoken"] = token = "t" * 32
    session.credentials(HTTP_X_CSRFTOKEN=token)
    answers = [post(session) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert replayed(answers[1])
    assert post(session, SWITCHING).status_code == 422
    form = session.post(CALLS, {"csrfmiddlewaretoken": token}, format="multipart", HTTP_IDEMPOTENCY_KEY="k2")
    assert form.status_code == 415


def test_a_service_that_is_not_there_now_may_be_asked_again(client, settings):
    settings.COMMANDS_AVAILABLE = False
    assert post(client).status_code == 503
    settings.COMMANDS_AVAILABLE = True
    answer = post(client)
    assert (answer.status_code, replayed(answer)) == (201, False)


def test_a_fault_of_ours_leaves_nothing_and_may_be_asked_again(client, dock, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("a fault")

    client.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr("devices.api.calls.ServiceCallViewSet.created", fail)
        assert post(client).status_code == 500
    assert not ServiceCall.objects.exists()
    assert not IdempotentAnswer.objects.exists()
    assert post(client).status_code == 201


def test_what_was_written_before_an_error_is_taken_back(client, monkeypatch):
    def refuse(*_arguments, **_options):
        raise refusal.Refused(refusal.Refused.Kind.BUSY, "too late")

    monkeypatch.setattr("devices.api.calls.ServiceCallViewSet.created", refuse)
    assert post(client).status_code == 409
    assert not ServiceCall.objects.exists()
    assert IdempotentAnswer.objects.get().status == 409


# --- for how long ------------------------------------------------------------------------------------


def grow_old(hours):
    IdempotentAnswer.objects.update(created=timezone.now() - timedelta(hours=hours))


def test_an_answer_is_kept_for_a_day(client):
    post(client)
    grow_old(23.9)
    assert replayed(post(client))
    grow_old(24.1)
    again = post(client)
    assert (again.status_code, replayed(again)) == (409, False)  # carried out anew: busy
    assert IdempotentAnswer.objects.get().status == 409
    assert replayed(post(client))


# --- secrets ---------------------------------------------------------------------------------------


def test_no_password_is_kept_and_its_digest_is_keyed(client, settings):
    body = {
        "device": "DOCK0001",
        "method": "login_dji_account",
        "data": {"username": "pilot", "password": "canary-password"},
    }
    assert post(client, body).status_code == 201
    row = IdempotentAnswer.objects.get()
    assert "canary" not in json.dumps([row.body, row.headers, row.key, row.principal])
    assert post(client, body | {"data": {"username": "pilot", "password": "another"}}).status_code == 422
    settings.SECRET_KEY = "another"
    assert post(client, body).status_code in (401, 422)


# --- at the same moment --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_moment_one_is_carried_out(dock):
    clients = [client_of(make_key(dock.organization, Role.OPERATOR))] * 2
    statuses = Counter()
    for number in range(40):
        answers = at_once(clients, {**SWITCHING, "data": {"license_id": number, "enable": True}}, str(number))
        made = [answer for answer in answers if answer.status_code == 201]
        assert made
        assert len({answer.content for answer in made}) == 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        for answer in answers:
            assert answer.status_code == 201 or (
                answer["Retry-After"] == "1" and answer.json()["type"].endswith(":running")
            )
        assert ServiceCall.objects.count() == number + 1
        statuses.update(answer.status_code for answer in answers)
    assert statuses[409] > 0  # it did happen at the same moment


def at_once(clients, body, key):
    barrier = threading.Barrier(len(clients))
    answers = []

    def send(client):
        barrier.wait()
        answers.append(post(client, body, key))
        connections.close_all()

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.django_db(transaction=True)
def test_as_long_as_the_first_is_not_through_the_second_is_told_at_once(client):
    client.get(CALLS)  # notes that the key is in use, which the next requests then need not
    has_asked, may_commit = threading.Event(), threading.Event()

    def send():
        with transaction.atomic():
            post(client)
            has_asked.set()
            may_commit.wait(10)
        connections.close_all()

    first = threading.Thread(target=send)
    first.start()
    has_asked.wait(10)
    answer = post(client)
    may_commit.set()
    first.join()
    assert (answer.status_code, answer["Retry-After"]) == (409, "1")
    assert replayed(post(client))


@pytest.mark.django_db(transaction=True)
def test_a_process_that_dies_leaves_nothing_that_seems_to_run(client):
    def send():
        with suppress(Error), transaction.atomic():
            post(client)
            connection.connection.close()  # as the kernel does when a process is killed
        connections.close_all()

    first = threading.Thread(target=send)
    first.start()
    first.join()
    assert not ServiceCall.objects.exists()
    answers = []

    def is_through():
        """PostgreSQL notices a moment later that nobody is there, and until then the client is told to come again."""
        answers.append(post(client))
        return answers[-1].status_code != 409

    wait_for(is_through)
    assert (answers[-1].status_code, replayed(answers[-1])) == (201, False)
