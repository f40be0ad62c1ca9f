"""Batches of service calls over REST."""

import json
import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.calls import batches, scheduling
from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch, Site
from mqtt_bridge.models import Heartbeat
from organizations.models import Membership, Role
from tests.api import client_of, make_key
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
BATCHES = "/api/v1/service-call-batches/"
CALLS = "/api/v1/service-calls/"
LIST, LOGIN = "unlock_license_list", "login_dji_account"
READING = {"devices": ["DOCK0001"], "method": LIST, "data": {"device_model_domain": 0}}


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def operator(organization):
    return client_of(make_key(organization, Role.OPERATOR))


def add_docks(organization, count, *, online=True, prefix="BULK"):
    """Docks by their serial numbers."""
    docks = Device.objects.bulk_create(
        Device(sn=f"{prefix}{number:04}", model_key="3-2-0", organization=organization) for number in range(count)
    )
    DeviceState.objects.bulk_create(DeviceState(device=dock, online=online, last_seen=timezone.now()) for dock in docks)
    return [dock.sn for dock in docks]


def pointers(answer):
    return [error["pointer"] for error in answer.json()["errors"]]


def make_batch(dock, **fields):
    return ServiceCallBatch.objects.create(organization=dock.organization, method=LIST, **fields)


# --- start -------------------------------------------------------------------------------------------


def test_many_docks_are_asked_and_who_is_not_is_told(dock, aircraft, organization, operator):
    [away] = add_docks(organization, 1, online=False, prefix="AWAY")
    body = READING | {"devices": [dock.sn, away, aircraft.sn, dock.sn], "note": "spring check"}
    answer = operator.post(BATCHES, body, HTTP_IDEMPOTENCY_KEY="spring")
    told = answer.json()
    assert (answer.status_code, told["total"], told["done"], told["counts"]["queued"]) == (201, 1, 0, 1)
    assert {left["sn"]: left["callsign"] for left in told["skipped"]} == {away: "", aircraft.sn: "Gull"}
    assert all(left["reason"] for left in told["skipped"])
    assert (told["organization"], told["note"], told["requested_with"]) == ("12345678", "spring check", "integrator")
    read = operator.get(answer["Location"])
    assert (read.json(), read["ETag"]) == (told, answer["ETag"])
    [call] = operator.get(CALLS, {"batch": told["id"]}).json()["results"]
    assert (call["device"], call["batch"], call["note"]) == (dock.sn, told["id"], "spring check")
    assert ServiceCall.objects.get().idempotency_key == "spring"


def test_the_same_batch_is_started_once_for_its_key(dock, operator):
    answers = [operator.post(BATCHES, READING, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert ServiceCallBatch.objects.count() == ServiceCall.objects.count() == 1


def test_docks_that_are_away_may_wait(organization, operator):
    sns = add_docks(organization, 2, online=False)
    told = operator.post(BATCHES, READING | {"devices": sns, "queue": True}).json()
    assert (told["total"], told["skipped"]) == (2, [])


@pytest.mark.parametrize(("asked", "seconds"), [({}, 600), ({"expires_in": 7 * 86400}, 7 * 86400)])
def test_docks_that_are_away_may_wait_as_long_as_was_asked(organization, operator, asked, seconds):
    add_docks(organization, 1, online=False)
    operator.post(BATCHES, READING | {"devices": ["BULK0000"], "queue": True, **asked})
    call = ServiceCall.objects.get()
    assert (call.expires - call.created).total_seconds() == seconds


def test_devices_that_are_not_there_for_whoever_asks_are_all_named(dock, other_organization, operator):
    [foreign] = add_docks(other_organization, 1)
    answer = operator.post(BATCHES, READING | {"devices": ["NONE", dock.sn, foreign]})
    assert (answer.status_code, pointers(answer)) == (404, ["/devices/0", "/devices/2"])
    assert not ServiceCallBatch.objects.exists()


def test_a_password_is_not_sent_to_many(dock, operator):
    body = READING | {"method": LOGIN, "data": {"username": "pilot", "password": "canary-password"}}
    answer = operator.post(BATCHES, body)
    assert (answer.status_code, pointers(answer)) == (400, ["/method"])
    assert "canary" not in answer.content.decode()


def test_a_batch_is_of_one_organization_unless_platform_staff_starts_it(dock, alice, staff, other_organization):
    Membership.objects.create(user=alice, organization=other_organization, role=Role.OPERATOR)
    [foreign] = add_docks(other_organization, 1)
    body = READING | {"devices": [dock.sn, foreign]}
    answer = client_of(alice).post(BATCHES, body)
    assert (answer.status_code, pointers(answer)) == (400, ["/devices"])
    told = client_of(staff).post(BATCHES, body)
    assert (told.status_code, told.json()["organization"], told.json()["total"]) == (201, None, 2)


def test_whoever_only_looks_at_one_of_the_devices_starts_nothing(dock, charlie, organization, other_organization):
    Membership.objects.create(user=charlie, organization=organization, role=Role.VIEWER)
    assert client_of(charlie).post(BATCHES, READING).status_code == 403
    assert not ServiceCallBatch.objects.exists()


def test_without_a_worker_nothing_is_started(dock, operator, settings):
    settings.COMMANDS_AVAILABLE = False
    assert operator.post(BATCHES, READING).status_code == 503
    assert not ServiceCallBatch.objects.exists()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"devices": []}, "/devices"),
        ({"devices": "DOCK0001"}, "/devices"),
        ({"devices": {}}, "/devices"),
        ({"devices": ["D"] * 1001}, "/devices"),
        ({"devices": [5]}, "/devices/0"),
        ({"devices": ["a", None]}, "/devices/1"),
        ({"devices": ["a", "\ud800"]}, "/devices/1"),
        ({"devices": ["a", "\0"]}, "/devices/1"),
        ({"method": "odd"}, "/method"),
        ({"data": 5}, "/data"),
        ({"note": ["x"]}, "/note"),
        ({"expires_in": 0}, "/expires_in"),
        ({"organization": "87654321"}, "/organization"),
    ],
)
def test_a_wrong_field_is_named(dock, operator, changes, pointer):
    answer = operator.post(BATCHES, json.dumps(READING | changes), content_type="application/json")
    assert answer.status_code == 400
    assert pointer in pointers(answer)
    assert not ServiceCallBatch.objects.exists()


def test_data_that_no_dock_could_be_given_starts_nothing(dock, operator):
    assert operator.post(BATCHES, READING | {"data": {"device_model_domain": 7}}).status_code == 400
    assert not ServiceCallBatch.objects.exists()


@pytest.mark.turns(2)
def test_a_thousand_docks_cost_as_many_queries_as_one(organization, alice):
    client = client_of(alice)
    first, *rest = add_docks(organization, 1001)
    with CaptureQueriesContext(connection) as few:
        assert client.post(BATCHES, READING | {"devices": [first]}).json()["total"] == 1
    with CaptureQueriesContext(connection) as many:
        assert client.post(BATCHES, READING | {"devices": rest}).json()["total"] == 1000
    assert len(many) == len(few)


# --- later -----------------------------------------------------------------------------------------


def soon(zone="UTC", **after):
    """A moment as clocks in this zone show it."""
    return timezone.localtime(timezone=ZoneInfo(zone)) + timedelta(**after)


def test_a_batch_is_planned_for_a_moment_and_starts_then(dock, operator):
    due = soon("Asia/Shanghai", hours=5).replace(microsecond=0)
    body = READING | {"devices": [dock.sn] * 2, "due_at": due.isoformat(), "queue": True, "expires_in": 86400}
    answers = [operator.post(BATCHES, body, HTTP_IDEMPOTENCY_KEY="night") for _ in range(2)]
    told = answers[0].json()
    assert (answers[0].status_code, answers[0].content) == (201, answers[1].content)
    assert (datetime.fromisoformat(told["due_at"]), told["planned"], told["queue_seconds"]) == (due, 1, 86400)
    assert (told["total"], told["started_at"]) == (0, None)
    assert [len(operator.get(BATCHES, {"planned": kind}).json()["results"]) for kind in ("true", "false")] == [1, 0]
    assert scheduling.start_due(now=due + timedelta(seconds=1)) == 1
    told = operator.get(answers[0]["Location"]).json()
    assert (told["total"], told["skipped"], told["started_at"] is not None) == (1, [], True)
    assert ServiceCall.objects.get().requested_with.name == told["requested_with"] == "integrator"


def test_a_batch_that_is_stopped_before_its_moment_never_starts(dock, operator):
    planned = operator.post(BATCHES, READING | {"due_at": soon(hours=1).isoformat()})
    assert operator.post(f"{planned['Location']}stop/").json()["stopped"]
    assert scheduling.start_due(now=soon(hours=2)) == 0
    assert operator.get(BATCHES, {"planned": "true"}).json()["results"] == []


def test_a_time_of_day_is_that_of_each_dock(organization, other_organization, operator):
    organization.time_zone = "Asia/Shanghai"
    organization.save()
    sns = add_docks(organization, 3)
    berlin = Site.objects.create(name="Harbour", organization=organization, time_zone="Europe/Berlin")
    Device.objects.filter(sn=sns[2]).update(site=berlin)
    local = (soon(days=2)).replace(hour=2, minute=0, second=0, microsecond=0, tzinfo=None)
    body = READING | {"devices": sns, "due_local": f"{local:%Y-%m-%dT%H:%M}"}
    answers = [operator.post(f"{BATCHES}by-time-zone/", body, HTTP_IDEMPOTENCY_KEY="night") for _ in range(2)]
    assert (answers[0].status_code, answers[1].content) == (201, answers[0].content)
    due = [datetime.fromisoformat(told["due_at"]) for told in answers[0].json()]
    assert due == [local.replace(tzinfo=ZoneInfo(zone)) for zone in ("Asia/Shanghai", "Europe/Berlin")]
    assert [told["planned"] for told in answers[0].json()] == [2, 1]
    assert ServiceCallBatch.objects.count() == 2
    ServiceCallBatch.objects.first().delete()
    answer = operator.post(f"{BATCHES}by-time-zone/", body, HTTP_IDEMPOTENCY_KEY="night")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("address", "changes", "pointer", "words"),
    [
        ("", {"due_at": "2026-12-01T02:00"}, "/due_at", "with its offset from UTC"),
        ("", {"due_at": "tonight"}, "/due_at", "wrong format"),
        ("", {"due_at": "0001-01-01T00:00:00+14:00"}, "/due_at", "out of range"),
        ("", {"due_at": "2020-01-01T00:00:00Z"}, "", "within the next 31 days"),
        ("", {"due_at": "9999-12-31T23:59:00Z"}, "", "within the next 31 days"),
        ("", {"due_at": "2026-12-01T02:00:00Z", "expires_in": 60}, "/expires_in", "Without `queue`"),
        ("", {"due_local": "2026-12-01T02:00"}, "/due_local", "Unknown field"),
        ("by-time-zone/", {}, "/due_local", "required"),
        ("by-time-zone/", {"due_local": "2026-12-01T02:00Z"}, "/due_local", "without an offset"),
        ("by-time-zone/", {"due_local": "2026-13-01T02:00"}, "/due_local", "without an offset"),
        ("by-time-zone/", {"due_local": "2027-03-28T02:30"}, "/due_local", "Europe/Berlin: The clocks are put forward"),
        ("by-time-zone/", {"due_local": "9999-12-31T23:59"}, "", "Europe/Berlin: Choose a moment within"),
        ("by-time-zone/", {"due_local": "2026-12-01T02:00", "devices": ["NONE"]}, "/devices/0", "Not found"),
    ],
)
def test_a_moment_that_cannot_be_meant_plans_nothing(dock, operator, organization, address, changes, pointer, words):
    organization.time_zone = "Europe/Berlin"
    organization.save()
    answer = operator.post(BATCHES + address, READING | changes)
    assert answer.status_code == (404 if "NONE" in str(changes) else 400)
    assert words in answer.content.decode()
    assert not pointer or pointer in pointers(answer)
    assert not ServiceCallBatch.objects.exists()


# --- stop ------------------------------------------------------------------------------------------


def test_what_is_not_sent_is_called_off(organization, alice):
    sns = add_docks(organization, 3)
    client = client_of(alice)
    started = client.post(BATCHES, READING | {"devices": sns})
    ServiceCall.objects.filter(device__sn=sns[0]).update(status="sent")
    stopped = client.post(f"{started['Location']}stop/")
    told = stopped.json()
    assert (stopped.status_code, told["counts"]["canceled"], told["counts"]["sent"]) == (200, 2, 1)
    assert (told["total"], told["done"], told["stopped"] is not None) == (3, 2, True)
    assert client.post(f"{started['Location']}stop/").json()["stopped"] == told["stopped"]


def test_a_batch_that_has_moved_on_is_not_stopped_by_who_does_not_know(dock, operator):
    batch = make_batch(dock)
    tag = operator.get(f"{BATCHES}{batch.pk}/")["ETag"]
    make_call(dock, batch=batch)
    assert operator.post(f"{BATCHES}{batch.pk}/stop/", HTTP_IF_MATCH=tag).status_code == 412
    assert operator.post(f"{BATCHES}{batch.pk}/stop/").status_code == 200


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "reads", "starts", "stops"),
    [(None, 401, 401, 401), ("viewer", 200, 403, 403), ("operator", 200, 201, 200), ("manager", 200, 201, 200)],
)
def test_operators_start_and_stop_and_viewers_look(dock, organization, who, reads, starts, stops):
    client = client_of(make_key(organization, Role(who))) if who else client_of()
    batch = make_batch(dock)
    assert client.get(BATCHES).status_code == reads
    assert client.get(f"{BATCHES}{batch.pk}/").status_code == reads
    assert client.post(BATCHES, READING).status_code == starts
    assert client.post(f"{BATCHES}{batch.pk}/stop/").status_code == stops
    assert client.delete(f"{BATCHES}{batch.pk}/").status_code == (405 if who else 401)


def test_strangers_find_nothing(dock, charlie, other_organization):
    batch = make_batch(dock)
    make_call(dock, batch=batch)
    for client in (client_of(charlie), client_of(make_key(other_organization, Role.MANAGER))):
        assert client.get(BATCHES).json()["results"] == []
        assert client.get(f"{BATCHES}{batch.pk}/").status_code == 404
        assert client.post(f"{BATCHES}{batch.pk}/stop/").status_code == 404
        assert client.post(BATCHES, READING).status_code == 404
        assert client.get(CALLS, {"batch": str(batch.pk)}).json()["results"] == []
    assert ServiceCall.objects.get().status == "queued"


@pytest.mark.parametrize("key", ["abc", "0", "1" + "0" * 30, str(uuid.UUID(int=7)), "%00"])
def test_an_unknown_batch_is_not_there(operator, key):
    assert operator.get(f"{BATCHES}{key}/").status_code == 404
    assert operator.post(f"{BATCHES}{key}/stop/").status_code == 404


# --- read ----------------------------------------------------------------------------------------


def test_a_batch_tells_how_it_goes(dock, operator):
    batch = make_batch(dock, skipped=[{"sn": "X", "callsign": "", "reason": "Away.", "about": "Switch license 1 on"}])
    for status in ("succeeded", "succeeded", "failed", "in_progress", "queued"):
        make_call(dock, batch=batch, status=status)
    told = operator.get(f"{BATCHES}{batch.pk}/").json()
    assert (told["total"], told["done"]) == (5, 3)
    assert {status: count for status, count in told["counts"].items() if count} == {
        "succeeded": 2,
        "failed": 1,
        "in_progress": 1,
        "queued": 1,
    }
    assert set(told["counts"]) == set(ServiceCall.Status.values)
    assert told["skipped"] == [{"sn": "X", "callsign": "", "reason": "Away.", "about": "Switch license 1 on"}]


def test_a_list_counts_each_batch_and_costs_the_same_for_any_number(dock, alice):
    client = client_of(alice)

    def add(count):
        for _ in range(count):
            batch = make_batch(dock, requested_by=alice)
            for _ in range(2):
                make_call(dock, batch=batch)

    add(2)
    with CaptureQueriesContext(connection) as few:
        assert [told["total"] for told in client.get(BATCHES).json()["results"]] == [2, 2]
    add(18)
    with CaptureQueriesContext(connection) as many:
        assert [told["total"] for told in client.get(BATCHES).json()["results"]] == [2] * 20
    assert len(many) == len(few)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        ("organization=12345678", 1),
        (f"method={LIST}", 2),
        ("method=odd", 0),
        ("requested_by=alice", 1),
        ("created_since=2020-01-01T00:00:00Z", 2),
        ("updated_since=2100-01-01T00:00:00Z", 0),
        ("updated_since=2020-01-01T00:00:00Z&ordering=-updated", 2),
        ("created_before=2020-01-01T00:00:00Z", 0),
    ],
)
def test_lists_hold_what_was_asked_for(dock, alice, staff, other_organization, query, count):
    make_batch(dock, requested_by=alice)
    ServiceCallBatch.objects.create(organization=other_organization, method=LIST)
    assert len(client_of(staff).get(f"{BATCHES}?{query}").json()["results"]) == count


@pytest.mark.parametrize("query", ["status=failed", "created_since=soon", "ordering=note", "include=calls"])
def test_a_parameter_that_means_nothing_is_refused(operator, query):
    assert operator.get(f"{BATCHES}?{query}").status_code == 400


def test_counts_of_no_batch_cost_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert batches.counts([]) == {}
