"""The journal of a gateway over REST."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from tests.api import client_of
from tests.devices.admin.test_exchanges import exchange

pytestmark = pytest.mark.django_db
LIST = "/api/v1/devices/DOCK0001/exchanges/"


@pytest.fixture
def viewer(viewer_key):
    return client_of(viewer_key)


@pytest.fixture
def said(dock):
    """Write a row of the dock so many minutes ago."""

    def said(minutes=0, **fields):
        moment = timezone.now() - timedelta(minutes=minutes)
        return exchange(dock.sn, dock.organization, **{"received_at": moment, **fields})

    return said


def shown(client, url=LIST, **query):
    """The ids of the rows in a list."""
    response = client.get(url, query)
    assert response.status_code == 200, response.data
    return [row["id"] for row in response.data["results"]]


def test_a_row_tells_what_was_said_and_what_became_of_it(viewer, said):
    row = said(bid="b", reason="A: bound to another organization")
    (seen,) = viewer.get(LIST).json()["results"]
    assert seen == {
        "id": row.pk,
        "organization": "12345678",
        "channel": "requests",
        "method": "airport_organization_bind",
        "tid": "tid-DOCK0001",
        "bid": "b",
        "received_at": row.received_at.isoformat().replace("+00:00", "Z"),
        "device_time": None,
        "outcome": "answered",
        "became": "refused",
        "reason": "A: bound to another organization",
        "by_enrolment": False,
    }


def test_both_sides_and_the_codes_in_words_are_told_when_asked(viewer, said):
    row = said()
    (seen,) = viewer.get(LIST, {"include": "payload,reply,codes"}).json()["results"]
    assert seen["payload"] == json.loads(row.payload)
    assert seen["reply"] == json.loads(row.reply)
    assert seen["codes"] == [
        {"side": "reply", "sn": "", "code": 0, "words": "success"},
        {"side": "reply", "sn": "A", "code": 210232, "words": "the device belongs to another organization"},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ('{"bind_dev', '{"bind_dev'),
        ("12 bytes, SHA-256 00ff", "12 bytes, SHA-256 00ff"),
        ("[" * 5000, "[" * 5000),
        ("null", None),
        ('{"key": 9007199254740993}', {"key": 2**53 + 1}),
    ],
)
def test_what_is_no_json_is_told_as_text(viewer, said, text, expected):
    said(payload=text, reply="")
    (seen,) = viewer.get(LIST, {"include": "payload,codes"}).json()["results"]
    assert (seen["payload"], seen["codes"]) == (expected, [])


def test_the_newest_comes_first_and_pages_show_every_row_once(viewer, said):
    moment = timezone.now()
    rows = [said(received_at=moment) for _ in range(5)] + [said(minutes) for minutes in (3, 1, 2)]
    url, found = f"{LIST}?limit=2", []
    while url:
        page = viewer.get(url).data
        found += [row["id"] for row in page["results"]]
        url = page["next"]
    expected = sorted(rows, key=lambda row: (row.received_at, row.pk), reverse=True)
    assert found == [row.pk for row in expected]


@pytest.mark.parametrize(
    "query",
    [
        {"method": "update_topo"},
        {"channel": "status"},
        {"outcome": "error"},
        {"became": "error"},
        {"tid": "other tid"},
        {"bid": "other bid"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:01Z"},
    ],
)
def test_the_journal_is_narrowed(viewer, said, query):
    said()
    moment = timezone.datetime.fromisoformat("2026-01-02T00:00:00+00:00")
    fields = {"method": "update_topo", "channel": "status", "outcome": "error", "tid": "other tid", "bid": "other bid"}
    row = said(received_at=moment, **fields)
    assert shown(viewer, **query) == [row.pk]


def test_a_refusal_is_not_among_the_answers(viewer, said):
    refused, answered = said(1, reason="code expired"), said(2)
    noted = said(3, outcome="ignored", channel="services_reply")
    assert shown(viewer, outcome="answered") == [refused.pk, answered.pk]
    assert shown(viewer, became="answered") == [answered.pk]
    assert shown(viewer, became="refused") == [refused.pk]
    assert shown(viewer, became="noted") == [noted.pk]
    assert shown(viewer, until=(timezone.now() - timedelta(minutes=2)).isoformat()) == [answered.pk, noted.pk]


@pytest.mark.parametrize(
    "query",
    [
        {"outcome": "refused"}, {"channel": "x"}, {"became": "ok"}, {"since": "yesterday"}, {"until": ""},
        {"method": "a\0"}, {"ordering": "method"}, {"gateway_sn": "DOCK0002"}, {"include": "organization"},
        {"search": "x"},
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(viewer, said, query):
    response = viewer.get(LIST, query)
    assert response.status_code == 400
    assert response.data["errors"][0]["parameter"] == next(iter(query))


# --- who sees it -----------------------------------------------------------------------------------


def test_who_may_not_see_the_device_finds_no_journal(said, alice, bob, charlie, staff, stranger_key):
    said()
    expected = {None: 401, alice: 200, bob: 200, charlie: 404, staff: 200, stranger_key: 404}
    for principal, status in expected.items():
        client = client_of(principal)
        assert client.get(LIST).status_code == status
        assert client.post(LIST, {}).status_code == (401 if principal is None else 405)


def test_what_a_dock_said_to_an_earlier_owner_stays_with_that_owner(said, viewer, stranger_key, other_organization):
    said()
    Device.objects.update(organization=other_organization)
    own = exchange("DOCK0001", other_organization)
    exchange("DOCK0001", None)
    new_owner = client_of(stranger_key)
    assert shown(new_owner) == [own.pk]
    assert viewer.get(LIST).status_code == 404


def test_what_another_gateway_said_is_not_told_here(viewer, said, organization):
    own = said()
    other = exchange("DOCK0002", organization)
    Device.objects.create(sn="DOCK0002", organization=organization)
    assert shown(viewer) == [own.pk]
    assert shown(viewer, "/api/v1/devices/DOCK0002/exchanges/") == [other.pk]


@pytest.mark.parametrize("path", ["NOBODY/exchanges/", "a%00b/exchanges/", "DOCK0001/exchanges/1/", "x" * 65])
def test_a_path_that_names_nothing_is_not_found(viewer, said, path):
    response = viewer.get(f"/api/v1/devices/{path}")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


# --- how it is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"sn": NaN}', '{"sn": 1e999}', r'{"sn": "\ud800", "result": 5}'])
@pytest.mark.parametrize("side", ["payload", "reply"])
def test_what_no_json_can_say_is_shown_as_text(viewer, said, side, text):
    said(**{side: text})
    (seen,) = viewer.get(LIST, {"include": "payload,reply,codes"}).json()["results"]
    assert seen[side] == text


@pytest.mark.parametrize("include", ["", "payload", "reply", "codes", "payload,reply,codes"])
def test_the_list_asks_a_constant_number_of_queries(bob, said, include):
    client, counts = client_of(bob), []
    for count in (2, 18):
        for _ in range(count):
            said()
        with CaptureQueriesContext(connection) as captured:
            shown(client, include=include)
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] <= 5
    (query,) = [query["sql"] for query in captured if "NULLS FIRST" in query["sql"]]
    assert ('"payload"' in query) == ("payload" in include or "codes" in include)
    assert ('"reply"' in query) == ("reply" in include or "codes" in include)


MANY = """
    INSERT INTO mqtt_bridge_exchange
        (gateway_sn, organization_id, channel, method, tid, bid, received_at, payload, reply, outcome, reason)
    SELECT CASE WHEN n % 50 = 0 THEN 'DOCK0001' ELSE 'OTHER' || n % 499 END, %s, 'requests', 'config', '', '',
        now() - n * interval '1 second', '{}', '{}', 'answered', '' FROM generate_series(1, 100000) n
"""


@pytest.mark.turns(2)
@pytest.mark.parametrize("who", ["bob", "staff", "viewer_key"])
def test_an_index_gives_each_page_in_its_order(request, dock, organization, who):
    client = client_of(request.getfixturevalue(who))
    with connection.cursor() as cursor:
        cursor.execute(MANY.replace("n %", "n %%"), [organization.pk])
        cursor.execute("ANALYZE")
    first = f"{LIST}?limit=50"
    for url in (first, client.get(first).data["next"]):
        with CaptureQueriesContext(connection) as captured:
            assert len(client.get(url).data["results"]) == 50
        (query,) = [query["sql"] for query in captured if "NULLS FIRST" in query["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Index Scan using exchange_gateway" in plan, plan
        assert not re.search(r"(?<!Incremental )Sort  ", plan), plan
