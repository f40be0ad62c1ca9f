"""Service calls over REST."""

import json
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.calls import asking, ending
from devices.models import Device, DeviceState, ServiceCall, ServiceCallEvent, ServiceCallSecret
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Role
from tests.api import client_of, make_key
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
CALLS = "/api/v1/service-calls/"
LIST, SWITCH, UPDATE, LOGIN = (
    "unlock_license_list",
    "unlock_license_switch",
    "unlock_license_update",
    "login_dji_account",
)
READING = {"device": "DOCK0001", "method": LIST, "data": {"device_model_domain": 0}}
CANARY = "canary-password"


@pytest.fixture(autouse=True)
def _bridge(db):
    """A bridge that listens, so that "offline" means something."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def operator(organization):
    return client_of(make_key(organization, Role.OPERATOR))


def add_dock(organization, sn, *, online=True, **fields):
    device = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization, **fields)
    DeviceState.objects.create(device=device, online=online, last_seen=timezone.now())
    return device


def pointers(answer):
    return [error["pointer"] for error in answer.json()["errors"]]


# --- ask ---------------------------------------------------------------------------------------------


def test_a_dock_is_asked_for_a_service(dock, operator):
    answer = operator.post(CALLS, {**READING, "note": "before the flight"})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["device"], told["method"], told["status"], told["version"]) == (dock.sn, LIST, "queued", 1)
    assert (told["note"], told["requested_by"], told["requested_with"]) == ("before the flight", None, "integrator")
    assert answer["Location"].endswith(f"{CALLS}{told['id']}/")
    assert AuditEvent.objects.get(action="command").through == "api"


def test_the_answer_has_the_tag_of_what_is_there(dock, operator):
    answer = operator.post(CALLS, {**READING, "method": SWITCH, "data": {"license_id": 1, "enable": True}})
    read = operator.get(answer["Location"])
    assert (read.status_code, read.json(), read["ETag"]) == (200, answer.json(), answer["ETag"])
    assert operator.get(answer["Location"], HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 304
    canceled = operator.post(f"{answer['Location']}cancel/", HTTP_IF_MATCH=answer["ETag"])
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")


def test_an_offline_dock_is_asked_only_if_it_may_wait(organization, operator):
    add_dock(organization, "AWAY", online=False)
    refused = operator.post(CALLS, {**READING, "device": "AWAY"})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:dock-cloud:problem:offline")
    waits = operator.post(CALLS, {**READING, "device": "AWAY", "queue": True, "expires_in": 3600})
    assert waits.status_code == 201
    call = ServiceCall.objects.get()
    assert call.queue
    assert call.expires - call.created == timedelta(hours=1)


def test_a_dock_is_not_asked_for_the_same_twice_at_once(dock, operator):
    assert operator.post(CALLS, READING).status_code == 201
    again = operator.post(CALLS, READING)
    assert (again.status_code, again.json()["type"]) == (409, "urn:dock-cloud:problem:busy")


def test_without_a_worker_nothing_can_be_asked(dock, operator, settings):
    settings.COMMANDS_AVAILABLE = False
    assert operator.post(CALLS, READING).status_code == 503


def test_an_aircraft_takes_no_commands(aircraft, operator):
    answer = operator.post(CALLS, {**READING, "device": aircraft.sn})
    assert (answer.status_code, "aircraft" in answer.json()["detail"]) == (400, True)


def test_the_dock_of_another_is_not_there(dock, charlie, other_organization):
    for client in (client_of(charlie), client_of(make_key(other_organization, Role.OPERATOR))):
        answer = client.post(CALLS, READING)
        assert (answer.status_code, pointers(answer)) == (404, ["/device"])
    assert not ServiceCall.objects.exists()


def test_the_license_file_of_another_is_not_there(dock, operator):
    answer = operator.post(CALLS, {**READING, "method": UPDATE, "data": {"license_file": 1}})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"device": ["DOCK0001"]}, "/device"),
        ({"device": "D" * 65}, "/device"),
        ({"device": 1}, "/device"),
        ({"devise": "DOCK0001"}, "/devise"),
        ({"device": "a\0"}, "/device"),
        ({"method": "fly_to_the_moon"}, "/method"),
        ({"method": "a\ud800"}, "/method"),
        ({"method": {"name": LIST}}, "/method"),
        ({"data": []}, "/data"),
        ({"data": "text"}, "/data"),
        ({"note": "x" * 2001}, "/note"),
        ({"note": "a\ud800"}, "/note"),
        ({"queue": "true"}, "/queue"),
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": 10**30}, "/expires_in"),
        ({"expires_in": "60"}, "/expires_in"),
    ],
)
def test_a_wrong_field_is_named(dock, operator, changes, pointer):
    answer = operator.post(CALLS, json.dumps(READING | changes), content_type="application/json")
    assert (answer.status_code, set(pointers(answer))) == (400, {pointer})
    assert not ServiceCall.objects.exists()


@pytest.mark.parametrize("body", ["", "[]", "null", "5", '"text"', "{", '{"device": "DOCK0001"}', "[" * 5000])
def test_a_body_that_is_no_request_is_refused(dock, operator, body):
    assert operator.post(CALLS, body, content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        {"device_model_domain": 7},
        {"device_model_domain": 10**30},
        {"device_model_domain": "0"},
        {"device_model_domain": 0, "a\0": 1},
        {"device_model_domain": 0, "a\ud800": 1},
        {},
    ],
)
def test_data_that_no_dock_could_be_given_is_refused(dock, operator, data):
    answer = operator.post(CALLS, json.dumps(READING | {"data": data}), content_type="application/json")
    assert answer.status_code == 400
    assert not ServiceCall.objects.exists()


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "reads", "writes"),
    [(None, 401, 401), ("viewer", 200, 403), ("operator", 200, 201), ("manager", 200, 201)],
)
def test_operators_ask_and_viewers_look(dock, organization, who, reads, writes):
    client = client_of(make_key(organization, Role(who))) if who else client_of()
    call = make_call(dock, status="failed", subject="")
    waiting = make_call(dock)
    assert client.get(CALLS).status_code == reads
    assert client.get(f"{CALLS}{call.pk}/").status_code == reads
    assert client.post(CALLS, READING).status_code == writes
    assert client.post(f"{CALLS}{call.pk}/retry/").status_code == (409 if writes == 201 else writes)  # busy: just asked
    assert client.post(f"{CALLS}{waiting.pk}/cancel/").status_code == (200 if writes == 201 else writes)


def test_members_of_a_session_may_what_their_role_says(dock, alice, bob, staff):
    answers = {
        who.username: client_of(who).post(CALLS, READING | {"data": {"device_model_domain": domain}}).status_code
        for who, domain in ((bob, 0), (alice, 0), (staff, 3))
    }
    assert answers == {"bob": 403, "alice": 201, "root": 201}


def test_whoever_only_looks_at_the_organization_of_the_dock_asks_nothing(dock, charlie, organization):
    Membership.objects.create(user=charlie, organization=organization, role=Role.VIEWER)
    waiting, client = make_call(dock), client_of(charlie)
    assert client.post(CALLS, READING).status_code == 403
    assert client.post(f"{CALLS}{waiting.pk}/cancel/").status_code == 403
    assert client.post(f"{CALLS}{waiting.pk}/retry/").status_code == 403
    assert client.get(f"{CALLS}{waiting.pk}/").status_code == 200


def test_strangers_find_nothing(dock, charlie, other_organization):
    call = make_call(dock)
    for client in (client_of(charlie), client_of(make_key(other_organization, Role.MANAGER))):
        assert client.get(CALLS).json()["results"] == []
        assert client.get(CALLS, {"device": dock.sn}).json()["results"] == []
        assert client.get(f"{CALLS}{call.pk}/").status_code == 404
        assert client.post(f"{CALLS}{call.pk}/cancel/").status_code == 404
        assert client.post(f"{CALLS}{call.pk}/retry/", [], format="json").status_code == 404
    call.refresh_from_db()
    assert call.status == "queued"


def test_a_call_stays_with_the_organization_that_asked(dock, organization, other_organization):
    call = make_call(dock, status="failed")
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert client_of(make_key(other_organization, Role.OPERATOR)).get(f"{CALLS}{call.pk}/").status_code == 404
    assert client_of(make_key(organization, Role.OPERATOR)).get(f"{CALLS}{call.pk}/").status_code == 200
    assert client_of(make_key(organization, Role.OPERATOR)).post(f"{CALLS}{call.pk}/retry/").status_code == 409


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_calls_are_not_changed_nor_deleted(dock, operator, method):
    assert getattr(operator, method)(f"{CALLS}{make_call(dock).pk}/").status_code == 405


@pytest.mark.parametrize("key", ["abc", "0", "1" + "0" * 30, str(uuid.UUID(int=7)), "%00"])
def test_an_unknown_call_is_not_there(operator, key):
    assert operator.get(f"{CALLS}{key}/").status_code == 404
    assert operator.post(f"{CALLS}{key}/cancel/").status_code == 404


# --- cancel, retry -------------------------------------------------------------------------------


def test_what_is_sent_is_not_canceled(dock, operator):
    call = make_call(dock, status="sent")
    answer = operator.post(f"{CALLS}{call.pk}/cancel/")
    assert (answer.status_code, "sent already" in answer.json()["detail"]) == (409, True)


def test_what_has_ended_is_not_canceled(dock, operator):
    answer = operator.post(f"{CALLS}{make_call(dock, status='canceled').pk}/cancel/")
    assert (answer.status_code, "closed already" in answer.json()["detail"]) == (409, True)


def test_what_is_not_as_the_client_knew_it_is_not_canceled(dock, operator):
    call = make_call(dock)
    answer = operator.post(f"{CALLS}{call.pk}/cancel/", HTTP_IF_MATCH='"something else"')
    assert answer.status_code == 412
    call.refresh_from_db()
    assert call.status == "queued"


def test_what_failed_is_asked_again_as_a_new_call(dock, operator):
    call = make_call(dock, status="failed", note="first")
    answer = operator.post(f"{CALLS}{call.pk}/retry/", HTTP_IDEMPOTENCY_KEY="again")
    told = answer.json()
    assert (answer.status_code, told["retry_of"], told["note"]) == (201, str(call.pk), "first")
    assert answer["Location"].endswith(f"{CALLS}{told['id']}/")
    assert ServiceCall.objects.get(pk=told["id"]).idempotency_key == "again"


def test_what_is_open_is_not_asked_again(dock, operator):
    assert operator.post(f"{CALLS}{make_call(dock).pk}/retry/").status_code == 409


def test_a_login_is_tried_again_with_the_password(dock, operator):
    call = make_call(dock, method=LOGIN, status="failed", data={"username": "pilot", "password": "***"})
    assert operator.post(f"{CALLS}{call.pk}/retry/").status_code == 400
    answer = operator.post(f"{CALLS}{call.pk}/retry/", {"data": {"username": "pilot", "password": CANARY}})
    assert (answer.status_code, answer.json()["retry_of"]) == (201, str(call.pk))
    assert CANARY in ServiceCallSecret.objects.get().sealed


# --- wait ----------------------------------------------------------------------------------------


def test_a_client_may_wait_for_the_end_of_an_open_call(dock, operator):
    call = make_call(dock)
    answer = operator.get(f"{CALLS}{call.pk}/?wait=2.5")
    assert answer.waits_for == (call.pk, 2.5)
    unchanged = operator.get(f"{CALLS}{call.pk}/?wait=1", HTTP_IF_NONE_MATCH=answer["ETag"])
    assert (unchanged.status_code, unchanged.waits_for) == (304, (call.pk, 1.0))


def test_there_is_nothing_to_wait_for_when_a_call_has_ended(dock, operator):
    ended, running = make_call(dock, status="failed"), make_call(dock)
    for path in (f"{ended.pk}/?wait=10", f"{running.pk}/?wait=0", f"{running.pk}/"):
        assert not hasattr(operator.get(f"{CALLS}{path}"), "waits_for")


@pytest.mark.parametrize("wait", ["", "-1", "31", "nan", "1e1", "soon", "%00"])
def test_nobody_waits_for_what_is_no_time(dock, operator, wait):
    answer = operator.get(f"{CALLS}{make_call(dock).pk}/?wait={wait}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "wait")


def test_a_stranger_does_not_wait(dock, charlie):
    answer = client_of(charlie).get(f"{CALLS}{make_call(dock).pk}/?wait=10")
    assert (answer.status_code, hasattr(answer, "waits_for")) == (404, False)


# --- secrets ---------------------------------------------------------------------------------------


def test_no_answer_tells_a_password(dock, operator):
    data = {"username": "pilot", "password": CANARY, "verification_code": ""}
    answer = operator.post(CALLS, READING | {"method": LOGIN, "data": data})
    assert answer.json()["data"] == {"username": "pilot", "password": "***", "verification_code": ""}
    for path in (CALLS, answer["Location"], f"{answer['Location']}?include=events"):
        assert CANARY not in operator.get(path).content.decode()


@pytest.mark.parametrize(
    "data",
    [
        {"username": CANARY},
        {"username": "pilot", "password": CANARY * 20},
        {"username": "pilot", "password": [CANARY]},
        {"username": "pilot", "password": f"{CANARY}\0"},
        {"username": "pilot", "password": f"{CANARY}\ud800"},
        {"username": "pilot", "password": CANARY, "verification_code": CANARY * 9},
        CANARY,
        [CANARY],
    ],
)
def test_the_refusal_of_a_login_names_no_value(dock, operator, data):
    answer = operator.post(
        CALLS, json.dumps(READING | {"method": LOGIN, "data": data}), content_type="application/json"
    )
    assert answer.status_code == 400
    assert CANARY not in answer.content.decode()


# --- read ----------------------------------------------------------------------------------------


def test_history_is_told_when_asked_for(dock, operator):
    call = asking.issue(
        device=dock, method=LIST, data={"device_model_domain": 0}, actor=Actor(AuditEvent.Through.COMMAND)
    )
    ending.cancel(call, actor=Actor(AuditEvent.Through.COMMAND))
    told = operator.get(f"{CALLS}{call.pk}/", {"include": "events"}).json()
    assert [(event["version"], event["source"], event["status"]) for event in told["events"]] == [
        (1, "issued", "queued"),
        (2, "person", "canceled"),
    ]
    assert "events" not in operator.get(f"{CALLS}{call.pk}/").json()
    assert operator.get(CALLS, {"include": "events"}).status_code == 400


def test_a_call_that_failed_says_why_in_djis_words_too(dock, operator):
    call = make_call(dock, status="failed", result_code=325012)
    assert operator.get(f"{CALLS}{call.pk}/").json()["problem"] == {
        "type": "urn:dock-cloud:problem:failed",
        "title": "Failed",
        "detail": "Failed: the aircraft is not connected (325012).",
        "dji_code": 325012,
        "dji_text": "the aircraft is not connected",
    }


@pytest.fixture
def calls(dock, alice, organization, other_organization):
    other = add_dock(other_organization, "DOCK0002")
    first = make_call(dock, status="failed", method=SWITCH, requested_by=alice, idempotency_key="k1")
    return {
        "failed": first,
        "again": make_call(dock, status="succeeded", retry_of=first),
        "queued": make_call(dock),
        "others": make_call(other),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"failed", "again", "queued", "others"}),
        ("device=DOCK0001", {"failed", "again", "queued"}),
        ("device=NONE", set()),
        ("organization=87654321", {"others"}),
        (f"method={SWITCH}", {"failed"}),
        ("status=failed", {"failed"}),
        ("status=failed&status=succeeded", {"failed", "again"}),
        ("open=true", {"queued", "others"}),
        ("open=false", {"failed", "again"}),
        ("requested_by=alice", {"failed"}),
        ("idempotency_key=k1", {"failed"}),
        ("created_since=2020-01-01T00:00:00Z", {"failed", "again", "queued", "others"}),
        ("updated_since=2100-01-01T00:00:00Z", set()),
        ("updated_since=2020-01-01T00:00:00Z&ordering=updated&limit=1", {"failed"}),
        ("created_before=2020-01-01T00:00:00Z", set()),
        ("ordering=created&limit=1", {"failed"}),
    ],
)
def test_lists_hold_what_was_asked_for(calls, staff, query, found):
    answer = client_of(staff).get(f"{CALLS}?{query}").json()
    names = {str(call.pk): name for name, call in calls.items()}
    assert {names[told["id"]] for told in answer["results"]} == found


def test_the_attempts_that_followed_are_found(calls, staff):
    [told] = client_of(staff).get(CALLS, {"retry_of": calls["failed"].pk}).json()["results"]
    assert told["id"] == str(calls["again"].pk)


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "batch=abc",
        "retry_of=1",
        "batch=",
        "open=perhaps",
        "created_since=yesterday",
        "created_before=0001-01-01T00:00:00%2B14:00",
        "device=%00",
        "colour=red",
        "ordering=device",
        "wait=1",
    ],
)
def test_a_parameter_that_means_nothing_is_refused(operator, query):
    assert operator.get(f"{CALLS}?{query}").status_code == 400


def test_lists_cost_the_same_for_any_number(dock, alice):
    client = client_of(alice)

    def add(count):
        for _ in range(count):
            make_call(dock, requested_by=alice)

    add(2)
    with CaptureQueriesContext(connection) as few:
        assert len(client.get(CALLS).json()["results"]) == 2
    add(18)
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(CALLS).json()["results"]) == 20
    assert len(many) == len(few)


def test_a_long_history_costs_one_query(dock, alice):
    client, call = client_of(alice), make_call(dock)
    queries = []
    for version in (1, 20):
        for number in range(version):
            ServiceCallEvent.objects.get_or_create(
                call=call, version=number + 1, defaults={"at": timezone.now(), "source": "issued", "status": "queued"}
            )
        with CaptureQueriesContext(connection) as asked:
            assert len(client.get(f"{CALLS}{call.pk}/?include=events").json()["events"]) == version
        queries.append(len(asked))
    assert queries[0] == queries[1]


def test_a_service_that_is_not_there_is_answered_with_those_that_are(dock, operator):
    response = operator.post(CALLS, {"device": dock.sn, "method": "takeoff"})
    assert response.status_code == 400
    assert "unlock_license_list, " in response.json()["errors"][0]["detail"]
    assert "takeoff" not in response.content.decode()
