"""The journal's rows."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec.structs import replace

from devices.models import Device
from mqtt_bridge import allowance, journal
from mqtt_bridge.allowance import Allowance, Repeats
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange, PassingEvent, Trace
from tests.mqtt_bridge.test_dispatch import delivery, handle

pytestmark = pytest.mark.django_db


def written(*deliveries):
    journal.write(handle(*deliveries))
    return list(Exchange.objects.order_by("pk"))


def test_row_tells_who_asked_what_and_what_we_said(dock):
    [row] = written(delivery(dock.sn, "airport_bind_status", {"devices": [{"sn": dock.sn}]}))
    assert (row.gateway_sn, row.organization, row.method, row.tid) == (
        dock.sn,
        dock.organization,
        "airport_bind_status",
        "t1",
    )
    assert row.payload == '{"devices":[{"sn":"DOCK0001"}]}'
    assert '"is_device_bind_organization":true' in row.reply
    assert row.device_time.year == 2022


def test_codes_and_licenses_are_not_written_down(settings):
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1", "the key", "the license"
    data = {"device_binding_code": "SECR-ETCO-DE23", "organization_id": "1"}
    rows = written(delivery("DOCK1", "config"), delivery("DOCK2", "airport_organization_get", data))
    assert len(rows) == 2
    text = str([(row.payload, row.reply, row.reason) for row in rows])
    assert not any(secret in text for secret in ("SECR", "the key", "the license"))


def test_of_what_could_not_be_parsed_only_size_and_hash_are_kept():
    payload = b'{"password": "hunter2"'
    [row] = written(Delivery(topic="thing/product/DOCK1/requests", payload=payload))
    assert (row.outcome, "hunter2" in row.payload) == ("quarantined", False)
    assert row.payload.startswith("22 bytes, SHA-256 ")


def test_what_only_lacks_a_tid_is_kept_readable_without_its_secrets():
    [row] = written(delivery("DOCK1", "hms", {"list": [], "password": "hunter2"}, channel="events", tid=None))
    assert (row.outcome, row.method, row.payload) == ("quarantined", "hms", '{"list":[],"password":"***"}')


def test_failed_attempt_of_a_stranger_concerns_the_organization_it_named(organization):
    data = {"device_binding_code": "WRON-GCOD-EXXX", "organization_id": "12345678"}
    [row] = written(delivery("STRANGER", "airport_organization_get", data))
    assert (row.organization, row.reason) == (organization, "organization ID and code do not belong together")


def test_exchange_of_an_owned_dock_stays_with_its_owner(dock, other_organization):
    data = {"device_binding_code": "WRON-GCOD-EXXX", "organization_id": "87654321"}
    [row] = written(delivery(dock.sn, "airport_organization_get", data))
    assert row.organization == dock.organization


def test_whose_a_dock_is_that_binds_itself_need_not_be_asked(organization, code, django_assert_num_queries):
    mine = {"sn": "NEWDOCK1", "device_binding_code": code[1], "organization_id": "12345678", "device_callsign": "A"}
    results = handle(delivery("NEWDOCK1", "airport_organization_bind", {"bind_devices": [mine]}))
    with django_assert_num_queries(1):
        assert journal.write(results) == {"NEWDOCK1": organization.pk}
    assert Exchange.objects.get().organization == organization


@pytest.fixture
def aircraft(dock):
    return Device.objects.create(sn="AIR1", model_key="0-100-1", organization=dock.organization, gateway=dock)


def test_events_of_an_aircraft_belong_to_its_organization(aircraft):
    assert written(delivery(aircraft.sn, "hms", {"list": []}, channel="events")) == []
    assert PassingEvent.objects.get().organization == aircraft.organization


def test_what_asks_as_gateways_do_speaks_for_no_claimant_then_and_later(aircraft):
    """Another dock called it an aircraft: neither its requests nor its events may reach that dock's organization."""
    hms = delivery(aircraft.sn, "hms", {"list": []}, channel="events")
    for said in ([delivery(aircraft.sn, "config"), hms], [hms]):
        [row] = written(*said)
        assert (row.organization, PassingEvent.objects.get().organization) == (None, None)


def event(sn, method="hms", data=None, **fields):
    return delivery(sn, method, data or {"list": []}, channel="events", **fields)


def test_of_events_that_pass_by_the_latest_is_kept_with_a_count(dock):
    assert written(*(event(dock.sn, data={"number": number}) for number in range(5))) == []
    assert written(event(dock.sn, data={"number": 5}), event(dock.sn, "airsense_warning", [{"icao": "x"}])) == []
    kept = PassingEvent.objects.order_by("method").values_list("method", "count", "payload", "organization")
    assert list(kept) == [
        ("airsense_warning", 1, '[{"icao":"x"}]', dock.organization_id),
        ("hms", 6, '{"number":5}', dock.organization_id),
    ]


def test_what_we_act_on_is_kept_in_full(dock):
    rows = written(event(dock.sn, "login_dji_account"), delivery(dock.sn, "cover_open", channel="services_reply"))
    assert [row.method for row in rows] == ["login_dji_account", "cover_open"]
    assert not PassingEvent.objects.exists()


def test_new_owner_does_not_get_what_passed_by_before(dock, other_organization):
    written(event(dock.sn), event(dock.sn))
    Device.objects.update(organization=other_organization)
    written(event(dock.sn))
    assert PassingEvent.objects.values_list("count", "organization").get() == (1, other_organization.pk)


def test_device_that_makes_methods_up_fills_nothing():
    written(*(event("DOCK1", f"method_{number}") for number in range(50)))
    written(event("DOCK1", "method_60"), event("DOCK1", "method_1"))
    counts = dict(PassingEvent.objects.values_list("method", "count"))
    assert (len(counts), counts[""], counts["method_1"]) == (PassingEvent.MAX_KINDS + 1, 19, 2)


def test_while_a_trace_runs_each_event_is_kept_for_who_wanted_it(dock, other_organization):
    now = timezone.now()
    trace = Trace.objects.create(gateway_sn=dock.sn, organization=dock.organization, until=now + timedelta(minutes=10))
    assert len(written(event(dock.sn), event(dock.sn))) == 2
    assert PassingEvent.objects.get().count == 2
    Device.objects.update(organization=other_organization)
    assert len(written(event(dock.sn))) == 2
    Device.objects.update(organization=dock.organization)
    Trace.objects.filter(pk=trace.pk).update(until=now)
    assert len(written(event(dock.sn))) == 2


def test_events_cost_the_same_number_of_queries_however_many(dock):
    def queries(*deliveries):
        items = handle(*deliveries)
        with CaptureQueriesContext(connection) as captured:
            journal.write(items)
        return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]

    few = queries(event(dock.sn))
    many = queries(*(event(f"DOCK{number}", method) for number in range(20) for method in ("hms", "other")))
    assert len(few) == len(many) == 4


# --- left to others ----------------------------------------------------------------------------


@pytest.fixture
def left(settings):
    """A request that is left to others, as it is in the journal."""
    settings.MQTT_LEAVE_METHODS = frozenset({"storage_config_get"})
    [row] = written(delivery("DOCK1", "storage_config_get"))
    return row


def answer(sn="DOCK1", tid="t1"):
    return delivery(sn, "storage_config_get", {"result": 0, "token": "x"}, channel="requests_reply", tid=tid)


def test_answer_of_others_is_noted_without_its_secrets(left):
    journal.note_answers([answer("DOCK2"), answer(tid="t2"), Delivery(topic="nonsense", payload=b"{")])
    left.refresh_from_db()
    assert (left.reason, left.became) == ("left to others", "left")
    journal.note_answers([answer()])
    left.refresh_from_db()
    assert left.reply == '{"result":0,"token":"***"}'
    assert left.reason.startswith("left to others; answered after 0.")


def test_what_nobody_answers_is_marked_and_a_late_answer_still_noted(left):
    def mark(seconds, listening_since=left.received_at):
        return journal.mark_unanswered(
            listening_since=listening_since, now=left.received_at + timedelta(seconds=seconds)
        )

    assert mark(9) == 0
    assert mark(11, listening_since=left.received_at + timedelta(seconds=5)) == 0
    assert mark(11) == 1
    left.refresh_from_db()
    assert (left.reason, left.became) == ("left to others; nobody answered within 10 s", "unanswered")
    assert mark(20) == 0
    journal.note_answers([answer()])
    left.refresh_from_db()
    assert left.became == "left"


def test_what_was_answered_is_not_marked(left):
    journal.note_answers([answer()])
    assert journal.mark_unanswered(listening_since=left.received_at, now=left.received_at + timedelta(seconds=60)) == 0


@pytest.mark.django_db(transaction=True)  # as in the bridge, where the journal has no transaction of its own
def test_row_that_the_database_refuses_does_not_keep_the_others_out():
    refused, good = handle(delivery("DOCK1", "moon_get"), delivery("DOCK2", "moon_get"))
    journal.write([refused._replace(outcome="longer than the column allows"), good])
    assert [row.gateway_sn for row in Exchange.objects.all()] == ["DOCK2"]


@pytest.mark.django_db(transaction=True)
def test_row_of_an_organization_that_was_deleted_meanwhile_does_not_keep_the_others_out():
    refused, good = handle(delivery("DOCK1", "moon_get"), delivery("DOCK2", "moon_get"))
    journal.write([refused._replace(organization_id=1_000_000), good])
    journal.write([])
    assert [row.gateway_sn for row in Exchange.objects.all()] == ["DOCK2"]


def test_long_payloads_are_capped():
    [row] = written(delivery("DOCK1", "moon_get", {"text": "x" * 100_000}))
    assert len(row.payload) == journal.PAYLOAD_CAP


# --- how much is kept


@pytest.fixture
def small_allowance(settings, monkeypatch):
    """Room for three rows of `said` a day."""
    settings.JOURNAL_BYTES_PER_DAY = 3_000
    monkeypatch.setattr(journal, "_allowance", Allowance())


def said(sn, count=1):
    return written(*(delivery(sn, "config", {"padding": "x" * 1_000}) for _ in range(count)))


@pytest.mark.usefixtures("small_allowance")
def test_what_is_beyond_the_allowance_of_a_day_is_counted_in_one_row(dock):
    rows = said(dock.sn, 10) and said(dock.sn, 5)
    assert [row.reason for row in rows if row.method == ""] == [f"{Exchange.FULL}: 1 more are not kept"]
    assert len([row for row in rows if row.method]) == 3
    journal.note_skipped()
    notice = Exchange.objects.get(method="")
    assert (notice.reason, notice.became) == (f"{Exchange.FULL}: 12 more are not kept", "ignored")
    assert (notice.gateway_sn, notice.organization) == (dock.sn, dock.organization)


@pytest.mark.usefixtures("small_allowance")
def test_each_gateway_has_an_allowance_and_so_has_its_next_owner(dock, other_organization):
    said(dock.sn, 10)
    assert [row.method for row in said("OTHER") if row.gateway_sn == "OTHER"] == ["config"]
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert said(dock.sn)[-1].organization == other_organization


@pytest.mark.usefixtures("small_allowance")
def test_a_new_day_brings_a_new_allowance_and_the_last_count_of_the_old_one(dock, monkeypatch):
    said(dock.sn, 10)
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(journal.timezone, "now", lambda: tomorrow)
    assert said(dock.sn)[-1].method == "config"
    assert Exchange.objects.get(method="").reason == f"{Exchange.FULL}: 7 more are not kept"


@pytest.mark.usefixtures("small_allowance")
def test_a_full_journal_costs_no_query_for_each_message(dock):
    said(dock.sn, 10)
    handled = handle(*(delivery(dock.sn, "config") for _ in range(50)))
    with CaptureQueriesContext(connection) as captured:
        journal.write(handled)
    assert len(captured) == 1  # whose it is
    with CaptureQueriesContext(connection) as captured:
        journal.note_skipped()
        journal.note_skipped()
    assert len(captured) == 1


@pytest.mark.usefixtures("small_allowance")
def test_strangers_share_what_is_kept_of_them_whatever_organization_they_name(dock, monkeypatch):
    """Wrong codes under ever new serial numbers; each row is in the journal of the organization that they name."""
    monkeypatch.setattr(allowance, "STRANGERS", 2)  # 6,000 bytes
    guess = {"organization_id": dock.organization.organization_id, "device_binding_code": "WRONG", "x": "x" * 900}
    for number in range(30):
        written(delivery(f"NEW{number}", "airport_organization_get", guess))
        written(delivery(f"SAYS{number}", "hms", {"list": []}, channel="events"))
    named = Exchange.objects.filter(organization=dock.organization).count()
    assert 0 < named < 7
    assert 0 < PassingEvent.objects.count() < 7
    journal.note_skipped()
    notice = Exchange.objects.get(gateway_sn="", method="")
    assert notice.reason == f"{Exchange.FULL_OF_STRANGERS}: {30 - named} more are not kept"
    assert said(dock.sn)[-1].method == "config"  # who is known


def test_there_may_be_no_limit(settings):
    settings.JOURNAL_BYTES_PER_DAY = 0
    assert len(said("DOCK1", 10)) == 10


# --- what a disabled dock repeats --------------------------------------------------------------


@pytest.fixture
def asks_at(dock, monkeypatch, settings):
    """asks_at(minutes) hands in a dock's `config` of so many minutes after now; returns answers and journal reasons."""
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1", "the key", "the license"
    monkeypatch.setattr(journal, "_repeats", Repeats())
    start = timezone.now()

    def asks_at(*minutes):
        times = [start + timedelta(minutes=minute) for minute in minutes]
        handled = handle(*(replace(delivery(dock.sn, "config"), received_at=at) for at in times))
        journal.write(handled)
        return [item.reply_data.result for item in handled], [row.reason for row in Exchange.objects.order_by("pk")]

    return asks_at


def enable(dock, is_enabled):
    Device.objects.filter(pk=dock.pk).update(is_enabled=is_enabled)


def test_a_disabled_dock_has_a_row_an_hour_which_counts_the_others_and_each_time_its_answer(dock, asks_at):
    enable(dock, False)
    results, reasons = asks_at(0, 1, 2, 59)
    assert (len(results), len(set(results)), reasons) == (4, 1, ["device disabled"])
    _, reasons = asks_at(61, 62)
    assert reasons == ["device disabled", "device disabled; 3 more since the last entry"]


def test_the_first_refusal_after_a_served_message_is_news(dock, asks_at):
    enable(dock, False)
    asks_at(0, 1)
    enable(dock, True)
    asks_at(2, 3)
    enable(dock, False)
    _, reasons = asks_at(4, 5)
    assert reasons == ["device disabled", "", "", "device disabled"]


def test_a_disabled_dock_has_a_row_for_its_next_owner_and_one_through_enrolment(dock, asks_at, other_organization):
    enable(dock, False)
    asks_at(0)
    journal.write(handle(replace(delivery(dock.sn, "config"), by_enrolment=True)))
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    assert asks_at(1)[1] == ["device disabled"] * 3


def test_what_a_disabled_dock_repeats_costs_no_statement_beside_whose_it_is(dock, asks_at):
    enable(dock, False)
    asks_at(0)
    handled = handle(*(delivery(dock.sn, "config") for _ in range(50)))
    with CaptureQueriesContext(connection) as captured:
        journal.write(handled)
    assert len(captured) == 1


def test_a_clock_that_was_set_back_silences_nobody(dock, asks_at):
    enable(dock, False)
    assert asks_at(0, -120, -119)[1] == ["device disabled"] * 2
