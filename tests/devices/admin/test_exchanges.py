"""The journal in the admin."""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.models import Device
from mqtt_bridge.models import Exchange, Heartbeat
from organizations.admin.tenant import CappedPaginator

pytestmark = pytest.mark.django_db
LIST = "/admin/mqtt_bridge/exchange/"


def exchange(sn="DOCK0001", organization=None, **fields):
    defaults = {
        "channel": "requests",
        "method": "airport_organization_bind",
        "tid": f"tid-{sn}",
        "received_at": timezone.now(),
        "outcome": "answered",
        "payload": '{"bind_devices": [{"sn": "A", "device_binding_code": "***"}]}',
        "reply": '{"result": 0, "output": {"err_infos": [{"sn": "A", "err_code": 210232}]}}',
    }
    return Exchange.objects.create(gateway_sn=sn, organization=organization, **{**defaults, **fields})


@pytest.fixture
def see(client):
    def see(user, url=LIST, **query):
        client.force_login(user)
        response = client.get(url, query)
        assert response.status_code == 200
        return response.content.decode()

    return see


def shown(see, user, **query):
    """The gateways that the list shows."""
    _, _, table = see(user, LIST, **query).partition('id="result_list"')
    return {sn for sn in Exchange.objects.values_list("gateway_sn", flat=True) if sn in table.partition("</table>")[0]}


def test_members_see_what_concerned_their_organization(see, bob, charlie, staff, dock, organization):
    exchange(organization=organization)
    exchange("STRANGER")
    assert shown(see, bob) == {"DOCK0001"}
    assert shown(see, charlie) == set()
    assert shown(see, staff) == {"DOCK0001", "STRANGER"}


def test_a_gateway_is_linked_to_its_device_if_it_may_be_seen(see, bob, charlie, dock, organization, other_organization):
    exchange(organization=organization)
    exchange(organization=other_organization)
    link = reverse("admin:devices_device_change", args=[dock.pk])
    assert link in see(bob)
    text = see(charlie)
    assert "DOCK0001" in text
    assert link not in text
    assert dock.callsign not in text


@pytest.mark.parametrize(
    "query",
    [
        {"outcome": "error"},
        {"method": "update_topo"},
        {"method__exact": "update_topo"},
        {"channel": "status"},
        {"q": "SECOND"},
        {"q": "second"},
        {"q": "tid-SECOND"},
        {"gateway_sn": "SECOND"},
        {"organization__id__exact": "{organization}"},
    ],
)
def test_the_journal_can_be_narrowed(see, staff, organization, query):
    exchange("FIRST")
    exchange("SECOND", organization, outcome="error", method="update_topo", channel="status")
    query = {name: value.format(organization=organization.pk) for name, value in query.items()}
    assert shown(see, staff, **query) == {"SECOND"}


def test_the_journal_can_be_narrowed_to_refusals(see, staff):
    exchange("ACCEPTED")
    exchange("REFUSED", reason="code expired")
    exchange("BROKEN", reason="no JSON", outcome="quarantined")
    exchange("REMARKED", reason="DRONE: belongs to another organization", method="update_topo", channel="status")
    assert shown(see, staff, outcome="refused") == {"REFUSED"}
    assert shown(see, staff, outcome="answered") == {"ACCEPTED", "REMARKED"}


def test_an_answer_of_a_dock_that_was_used_is_not_called_ignored(see, staff):
    used = exchange("HEARD", outcome="ignored", channel="services_reply")
    exchange("STRAY", outcome="ignored", channel="services_reply", reason="not a command of this server")
    assert used.became == "noted"
    assert shown(see, staff, outcome="noted") == {"HEARD"}
    assert shown(see, staff, outcome="ignored") == {"STRAY"}


def test_a_refusal_is_not_called_answered(see, staff, dock):
    row = exchange(dock.sn, reason="code expired")
    for page in (LIST, reverse("admin:devices_device_change", args=[dock.pk]), f"{LIST}{row.pk}/change/"):
        text = see(staff, page)
        assert '<span class="outcome outcome-refused">refused</span>' in text
        assert ">answered<" not in text.split('id="changelist-filter"')[0]


def test_the_journal_can_be_narrowed_by_date(see, staff):
    exchange("NEW")
    exchange("OLD", received_at=timezone.now() - timedelta(days=40))
    since = (timezone.now() - timedelta(days=7)).isoformat()
    until = (timezone.now() + timedelta(days=1)).isoformat()
    assert shown(see, staff, received_at__gte=since, received_at__lt=until) == {"NEW"}


def test_the_typed_method_keeps_the_other_filters(see, staff):
    exchange()
    text = see(staff, LIST, channel="requests", q="DOCK0001", method='"><b>')
    assert '<input type="hidden" name="channel" value="requests">' in text
    assert '<input type="hidden" name="q" value="DOCK0001">' in text
    assert "<b>" not in text


def test_a_page_shows_both_sides_and_the_codes_in_words(see, bob, organization):
    row = exchange(organization=organization, reason="A: bound to another organization")
    text = see(bob, reverse("admin:mqtt_bridge_exchange_change", args=[row.pk]))
    assert "A: 210232: the device belongs to another organization" in text
    assert "&quot;device_binding_code&quot;: &quot;***&quot;" in text
    assert "bound to another organization" in text


def test_a_refused_stranger_is_explained_to_the_organization_it_tried(see, alice, organization):
    row = exchange(
        "STRANGER",
        organization,
        method="airport_organization_get",
        reply='{"result": 210230, "output": {}}',
        reason="code expired",
    )
    exchange("STRANGER", method="config", reply='{"result": 0}')
    text = see(alice, reverse("admin:mqtt_bridge_exchange_change", args=[row.pk]))
    assert "Stopped at step" in text
    assert "Issue a new code" in text
    assert 'DJI license</strong> <code>config</code>\n      <span class="step-status">not seen' in text


def test_charlie_opens_no_row_of_alices(client, charlie, organization):
    row = exchange(organization=organization, tid="secret-tid")
    client.force_login(charlie)
    for name in ("change", "history", "delete"):
        response = client.get(reverse(f"admin:mqtt_bridge_exchange_{name}", args=[row.pk]), follow=True)
        assert "secret-tid" not in response.content.decode()


@pytest.mark.parametrize("who", ["alice", "staff"])
def test_nobody_writes_history(request, client, who, organization):
    row = exchange(organization=organization)
    client.force_login(request.getfixturevalue(who))
    assert client.post(f"{LIST}add/", {}).status_code == 403
    assert client.post(reverse("admin:mqtt_bridge_exchange_change", args=[row.pk]), {"method": "x"}).status_code == 403
    assert client.post(reverse("admin:mqtt_bridge_exchange_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert Exchange.objects.get().method == "airport_organization_bind"


def test_a_long_journal_takes_as_many_queries_as_a_short_one(
    client, alice, organization, django_assert_num_queries, django_assert_max_num_queries
):
    client.force_login(alice)
    Device.objects.create(sn="D0", organization=organization)
    exchange("D0", organization)
    client.get(LIST)
    with django_assert_max_num_queries(12) as captured:
        client.get(LIST)
    for number in range(1, 120):
        Device.objects.create(sn=f"D{number}", organization=organization)
        exchange(f"D{number}", organization)
    with django_assert_num_queries(len(captured)):
        client.get(LIST)


def test_the_list_reads_no_payloads_and_counts_no_further_than_its_cap(
    client, staff, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(CappedPaginator, "CAP", 60)
    for _ in range(70):
        exchange()
    client.force_login(staff)
    with django_assert_max_num_queries(20) as captured:
        text = client.get(LIST).content.decode()
    assert "the newest 60 messages" in text
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == 1
    assert "LIMIT 60" in counts[0]
    assert not any('"payload"' in query["sql"] for query in captured)
    assert client.get(LIST, {"p": 2}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        LIST,
        "/admin/devices/servicecall/",
        "/admin/devices/servicecallbatch/",
        "/admin/organizations/auditevent/",
        "/admin/licenses/licenseevent/",
        "/admin/licenses/licenselist/",
        "/admin/licenses/unlocklicense/",
    ],
)
def test_lists_that_grow_are_counted_to_a_cap_and_not_again_by_a_page_that_refreshes_itself(client, staff, dock, path):
    client.force_login(staff)
    with CaptureQueriesContext(connection) as first:
        client.get(path)
    counts = [query["sql"] for query in first if "COUNT(" in query["sql"] and " LIMIT 10000" in query["sql"]]
    assert counts
    # Nor are the person's saved filters read: the strip that shows them stays as it is.
    counts += [query["sql"] for query in first if 'FROM "organizations_savedfilter"' in query["sql"]]
    with CaptureQueriesContext(connection) as again:
        assert client.get(path, headers={"X-Refresh": "1"}).status_code == 200
    assert len(first) - len(again) == len(counts)


def test_a_page_that_is_fetched_again_has_the_same_rows(client, staff):
    exchange()
    client.force_login(staff)
    pages = [client.get(LIST, headers=headers).context["cl"] for headers in ({}, {"X-Refresh": "1"})]
    rows = [[row.pk for row in page.result_list] for page in pages]
    assert rows[0] == rows[1] != []


def test_the_heartbeat_is_for_platform_staff(client, alice, staff):
    now = timezone.now()
    beat = Heartbeat.objects.create(instance="bridge-1", started_at=now, beat_at=now, round_trip_ms=2)
    Heartbeat.objects.update(counters={"received": 23, "telemetry": 701})
    url = reverse("admin:mqtt_bridge_heartbeat_change", args=[beat.pk])
    client.force_login(alice)
    assert client.get("/admin/mqtt_bridge/heartbeat/").status_code == 403
    assert client.get(url).status_code == 403
    client.force_login(staff)
    text = client.get(url).content.decode()
    assert "bridge-1" in text
    assert "<code>received</code> 23" in text
    assert client.post(url, {"instance": "x"}).status_code == 403


@pytest.mark.parametrize("page", ["/admin/", LIST, "/admin/mqtt_bridge/"])
def test_the_journal_has_one_name(see, staff, page):
    text = see(staff, page)
    assert f'href="{LIST}"' in text
    assert ">Journal<" in text
    assert "Exchanges" not in text


def test_the_round_trip_of_the_bridge_is_told_in_round_figures(see, staff):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=3.14159)
    assert "3.1 ms" in see(staff, "/admin/mqtt_bridge/heartbeat/")


def test_what_is_not_kept_of_strangers_is_said_on_a_row_without_a_gateway(see, staff):
    reason = f"{Exchange.FULL_OF_STRANGERS}: 7 more are not kept"
    row = exchange("", method="", outcome="ignored", reason=reason, payload="", reply="")
    assert reason in see(staff)
    assert reason in see(staff, f"{LIST}{row.pk}/change/")


# --- a part of a serial number -----------------------------------------------------------------


@pytest.mark.parametrize("term", ["CK00", "ck00", "pier", "Pier 7"])
def test_a_part_of_a_serial_number_or_a_callsign_finds_the_devices_messages(see, bob, dock, organization, term):
    exchange(organization=organization)
    exchange("OTHER", organization)
    assert shown(see, bob, q=term) == {"DOCK0001"}


def test_a_part_finds_no_messages_through_a_device_of_another_organization(see, charlie, dock, other_organization):
    """He may see what a former dock of his sent, but not by the name or number it has with its new owner."""
    exchange(organization=other_organization)
    assert shown(see, charlie, q="Pier") == shown(see, charlie, q="CK00") == set()
    assert shown(see, charlie, q="dock0001") == {"DOCK0001"}


def test_a_part_of_many_serial_numbers_lists_the_first_twenty_and_says_so(see, staff):
    for number in range(22):
        Device.objects.create(sn=f"MANY{number:02}")
        exchange(f"MANY{number:02}")
    assert shown(see, staff, q="any") == {f"MANY{number:02}" for number in range(20)}
    assert "More than 20 devices match." in see(staff, LIST, q="any")
    assert "More than 20 devices match." not in see(staff, LIST, q="any0")


# --- one message -------------------------------------------------------------------------------


def test_a_message_is_shown_with_its_topic_and_the_envelope_that_the_columns_have(see, staff):
    at = datetime(2022, 6, 1, 8, 0, 0, 655_000, tzinfo=UTC)
    row = exchange("DOCK0001", bid="b-1", device_time=at)
    text = unescape(see(staff, f"{LIST}{row.pk}/change/"))
    assert "<code>thing/product/DOCK0001/requests</code>" in text
    assert "<code>thing/product/DOCK0001/requests_reply</code>" in text
    [message, answer] = re.findall(r'<pre id="(?:message|answer)-json">(.*?)</pre>', text, re.DOTALL)
    assert json.loads(message) == {
        "tid": "tid-DOCK0001",
        "bid": "b-1",
        "timestamp": 1654070400655,
        "method": "airport_organization_bind",
        "data": {"bind_devices": [{"sn": "A", "device_binding_code": "***"}]},
    }
    assert json.loads(answer)["data"]["output"] == {"err_infos": [{"sn": "A", "err_code": 210232}]}
    assert text.count("Rebuilt from what the journal keeps") == 2


def test_the_command_line_publishes_the_same_whatever_is_in_it(see, staff):
    row = exchange("DOCK0001", payload='{"text": "it\'s; $(reboot) \\"quoted\\""}')
    text = unescape(see(staff, f"{LIST}{row.pk}/change/"))
    line = re.search(r'<pre id="message-line">(.*?)</pre>', text, re.DOTALL)[1]
    words = shlex.split(line)
    assert words[:7] == ["mosquitto_pub", "-h", "BROKER", "-q", "1", "-t", "thing/product/DOCK0001/requests"]
    assert json.loads(words[-1])["data"] == {"text": 'it\'s; $(reboot) "quoted"'}
    assert len(words) == 9


def test_what_came_through_enrolment_and_a_topology_have_the_topics_they_had(see, staff):
    enrolled = exchange("DOCK0001", by_enrolment=True)
    topology = exchange("DOCK0002", channel="status", method="update_topo")
    assert "<code>enrol/thing/product/DOCK0001/requests_reply</code>" in see(staff, f"{LIST}{enrolled.pk}/change/")
    assert "<code>sys/product/DOCK0002/status</code>" in see(staff, f"{LIST}{topology.pk}/change/")


@pytest.mark.parametrize("payload", ["22 bytes, SHA-256 00", '{"cut": "of', '{"n": NaN}', ""])
def test_what_is_no_json_is_shown_as_it_is_kept_and_not_called_an_envelope(see, staff, payload):
    row = exchange(payload=payload, reply="", channel="services_reply")
    text = unescape(see(staff, f"{LIST}{row.pk}/change/"))
    assert f"<pre>{payload or 'nothing kept'}</pre>" in text
    assert "Rebuilt" not in text


def test_a_notice_of_all_strangers_has_no_topic(see, staff):
    row = exchange("", method="", payload="", reply="")
    assert "thing/product" not in see(staff, f"{LIST}{row.pk}/change/")


def test_the_list_keeps_itself_current_until_it_is_paused(see, staff):
    text = see(staff, LIST)
    assert "devices/refresh.js" in text
    assert "data-refreshed" in text
    assert 'data-pause aria-pressed="false"' in text


def test_an_empty_journal_says_what_to_do_next(see, staff):
    assert "They appear here as soon as a dock connects." in see(staff, LIST)
    assert "type the whole serial number" in see(staff, LIST, q="OCK1")
    assert "Remove a filter" in see(staff, LIST, outcome="error")
