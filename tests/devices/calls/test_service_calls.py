"""Service calls from the request to the end, without broker and worker."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cloudapi import mqtt_routes
from devices.binding import release
from devices.calls import asking, batches, ending, hearing, sending, states, wording
from devices.calls.hearing import Report
from devices.calls.refusal import Refused
from devices.calls.states import Source
from devices.diagnosis.needs import unsent
from devices.models import Device, DeviceState, ServiceCall, ServiceCallEvent, ServiceCallSecret
from mqtt_bridge import dispatch
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.line.publisher import Receipt
from mqtt_bridge.models import Heartbeat
from mqtt_bridge.protocol.errors import LocalProtocolError
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.ages import age, moved

pytestmark = pytest.mark.django_db

LIST, SWITCH, LOGIN = "unlock_license_list", "unlock_license_switch", "login_dji_account"
UPDATE = "unlock_license_update"
SWITCHING = {"license_id": 240330, "enable": True}
CREDENTIALS = {"username": "pilot@example.org", "password": "hunter2", "verification_code": ""}


@pytest.fixture(autouse=True)
def _bridge(db):
    """A bridge that listens, so that "offline" means something."""
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, alice)


def issue(device, method=SWITCH, data=SWITCHING, **options):
    options.setdefault("actor", Actor(AuditEvent.Through.COMMAND))
    return asking.issue(device=device, method=method, data=data, **options)


def sent(device, method=SWITCH, data=SWITCHING, **options):
    call = issue(device, method, data, **options)
    assert claim(call)
    call.refresh_from_db()
    return call


def claim(call, now=None):
    return next(iter(sending.claim_many([call.pk], now=now or timezone.now())), None)


def hear(call, data, *, channel="services_reply", sn=None, **fields):
    """What the dock says, through the bridge's dispatch; returns what the journal learns."""
    message = {"tid": call.tid, "bid": call.bid, "method": call.method, "timestamp": 0, "data": data, **fields}
    topic = f"thing/product/{sn or call.device.sn}/{channel}"
    [wave] = dispatch.handle([Delivery(topic=topic, payload=json.dumps(message).encode(), mid=1)])
    call.refresh_from_db()
    return wave.results[0]


def hear_all(answers):
    """Replies that reach the bridge together."""
    reports = [Report(call.device.sn, Source.REPLY, call.tid, call.bid, data) for call, data in answers]
    with transaction.atomic():
        assert set(hearing.hear_docks(reports, now=timezone.now())) == {""}


def event(call, status, percent=None, **fields):
    output = {"status": status} | ({} if percent is None else {"progress": {"percent": percent}})
    return hear(call, {"result": 0, "output": output | fields.pop("output", {})}, channel="events", **fields)


def refusal(device, *arguments, **options):
    with pytest.raises(Refused) as refused, transaction.atomic():
        issue(device, *arguments, **options)
    assert not ServiceCall.objects.filter(device=device).exists()
    return refused.value.kind.value


def history(call):
    rows = ServiceCallEvent.objects.filter(call=call).order_by("version")
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    return [row.status for row in rows]


# --- issue -------------------------------------------------------------------------------------------


def test_call_is_queued_for_the_dock_and_its_owner_and_audited(dock, actor, alice):
    call = issue(dock, actor=actor, note="before the flight")
    assert (call.status, call.device, call.organization) == ("queued", dock, dock.organization)
    assert (call.requested_by, call.note, call.version) == (alice, "before the flight", 1)
    assert call.tid != call.bid
    assert history(call) == ["queued"]
    event = AuditEvent.objects.get(action="command")
    assert (event.object_name, event.after["data"]) == (str(dock), SWITCHING)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("reboot", {}),
        ("x" * 1000, {}),
        (LIST, {}),
        (LIST, {"device_model_domain": 1}),
        (LIST, {"device_model_domain": 0, "more": 1}),
        (SWITCH, {"license_id": "240330", "enable": True}),
        (SWITCH, {"license_id": 2**63, "enable": True}),
        (SWITCH, {"license_id": 5}),
        ("unlock_license_update", {"file": {"url": "https://evil.example/x", "fingerprint": "0"}}),
        (LOGIN, {"username": "", "password": "x"}),
        (LOGIN, {"username": "a\0b", "password": "x"}),
        (LOGIN, {"username": "a", "password": "\ud800"}),
        (LOGIN, {"username": "a", "password": "x" * 257}),
        (LOGIN, ["username"]),
        ("logout_dji_account", {"username": "a"}),
        ("logout_dji_account", []),
        ("logout_dji_account", ""),
        ("logout_dji_account", 0),
        ("logout_dji_account", {1: 2}),
        ("logout_dji_account", {("a",): 2}),
        ("logout_dji_account", {"a\0": 2}),
        ("logout_dji_account", {"\ud800": 2}),
        (SWITCH, SWITCHING | {None: 1}),
        (SWITCH, {"license_id": -(2**63) - 1, "enable": True}),
        (SWITCH, {"license_id": 1, "enable": 2**64}),
        (LIST, {"device_model_domain": 10**5000}),
        (UPDATE, {"license_file": 2**63}),
        (None, {}),
        (["unlock_license_list"], {}),
        ({"method": LIST}, {}),
        (b"unlock_license_list", {"device_model_domain": 0}),
        pytest.param(10**5000, {}, id="number"),
        ("\0\ud800", {}),
    ],
)
def test_data_that_no_dock_could_be_given_is_refused(dock, method, data):
    assert refusal(dock, method, data) == "invalid"


@pytest.mark.parametrize(
    "data",
    [
        {"username": "a", "password": "hunter2\0"},
        {"username": "a", "password": "hunter2\ud800"},
        {"username": "a", "password": ["hunter2"]},
        {"username": "a", "password": "hunter2" * 100},
        {"username": "a", "hunter2": "password"},
        "hunter2",
    ],
)
def test_refusal_of_bad_data_can_be_sent_and_names_no_value(dock, data):
    with pytest.raises(Refused) as refused:
        issue(dock, LOGIN, data)
    assert b"hunter2" not in str(refused.value).encode()


@pytest.mark.parametrize("note", ["a\0b", "a\ud800", "x" * 2001, None, 7])
def test_note_that_cannot_be_stored_or_is_too_long_is_refused(dock, note):
    assert refusal(dock, note=note) == "invalid"


@pytest.mark.parametrize("key", ["a\0b", "a\ud800", "x" * 256, None, ["x"]])
def test_idempotency_key_that_cannot_be_stored_or_is_too_long_is_refused(dock, key):
    assert refusal(dock, idempotency_key=key) == "invalid"


def test_longest_idempotency_key_is_kept(dock):
    assert ServiceCall.objects.get(pk=issue(dock, idempotency_key="ü" * 255).pk).idempotency_key == "ü" * 255


def test_without_a_worker_nothing_is_issued(dock, settings):
    settings.COMMANDS_AVAILABLE = False
    assert refusal(dock) == "unavailable"


def test_unclaimed_disabled_and_flying_devices_take_no_commands(dock, aircraft):
    stranger = Device.objects.create(sn="STRANGER", model_key="3-1-0")
    assert refusal(stranger) == "unclaimed"
    assert refusal(aircraft) == "invalid"
    Device.objects.filter(pk=dock.pk).update(is_enabled=False)
    assert refusal(dock) == "disabled"


def test_offline_dock_is_refused_unless_the_call_may_wait(dock):
    DeviceState.objects.update(online=False)
    assert refusal(dock) == "offline"
    assert issue(dock, queue=True).status == "queued"


def test_while_the_bridge_is_silent_nobody_is_known_to_be_offline(dock):
    DeviceState.objects.update(online=False)
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(hours=1))
    assert issue(dock).status == "queued"


def test_password_goes_only_to_a_dock_that_is_online_and_never_waits(dock):
    assert refusal(dock, LOGIN, CREDENTIALS, queue=True) == "invalid"
    DeviceState.objects.update(online=False)
    assert refusal(dock, LOGIN, CREDENTIALS) == "offline"
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(hours=1))
    assert refusal(dock, LOGIN, CREDENTIALS) == "offline"


def test_one_open_call_per_dock_and_subject(dock):
    issue(dock)
    with pytest.raises(Refused) as refused:
        issue(dock)
    assert refused.value.kind is Refused.Kind.BUSY
    issue(dock, data={"license_id": 1, "enable": True})
    issue(dock, LIST, {"device_model_domain": 0})
    issue(dock, LIST, {"device_model_domain": 3})
    issue(dock, LOGIN, CREDENTIALS)
    with pytest.raises(Refused):
        issue(dock, LOGIN, CREDENTIALS)
    issue(dock, "logout_dji_account", {})  # which ends the login
    with pytest.raises(Refused):
        issue(dock, LOGIN, CREDENTIALS)


def test_database_itself_lets_no_second_open_call_in(dock):
    call = issue(dock)
    with pytest.raises(IntegrityError), transaction.atomic():
        ServiceCall.objects.create(
            device=dock, organization=dock.organization, method=SWITCH, subject=call.subject, expires=call.expires
        )


def fleet(organization, count, prefix="FLEET"):
    now = timezone.now()
    docks = Device.objects.bulk_create(
        Device(sn=f"{prefix}{number}", model_key="3-2-0", organization=organization) for number in range(count)
    )
    DeviceState.objects.bulk_create(DeviceState(device=dock, online=True, last_seen=now) for dock in docks)
    return docks


def test_hundred_calls_cost_as_many_queries_as_one(organization, actor):
    counts = []
    for size in (1, 100):
        docks = fleet(organization, size, prefix=f"OF{size}N")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            issued = asking.issue_many(devices=docks, method=SWITCH, data=SWITCHING, actor=actor)
        assert (len(issued.calls), issued.refused) == (size, [])
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_among_many_those_that_cannot_are_named_with_the_reason(dock, aircraft, organization, actor):
    busy, *others = fleet(organization, 3)
    issue(busy)
    issued = asking.issue_many(devices=[dock, aircraft, busy, *others], method=SWITCH, data=SWITCHING, actor=actor)
    assert len(issued.calls) == 3
    assert {device.sn: reason.kind.value for device, reason in issued.refused} == {
        aircraft.sn: "invalid",
        busy.sn: "busy",
    }


def test_device_that_changed_hands_since_whoever_asks_looked_at_it_is_refused(dock, other_organization, actor):
    Device.objects.update(organization=other_organization, callsign="Theirs")
    assert refusal(dock) == "unclaimed"
    [(named, _)] = asking.issue_many(devices=[dock], method=SWITCH, data=SWITCHING, actor=actor).refused
    assert named.callsign == "Pier 7"


# --- send --------------------------------------------------------------------------------------------


def test_claim_gives_the_message_once(dock):
    call = issue(dock)
    taken = claim(call)
    message = json.loads(taken.payload)
    assert (taken.topic, taken.qos, taken.expiry) == ("thing/product/DOCK0001/services", 1, 15)
    assert (message["tid"], message["bid"], message["method"]) == (call.tid, call.bid, SWITCH)
    assert message["data"] == SWITCHING
    assert claim(call) is None
    assert history(call) == ["queued", "sent"]


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_claim_the_same_calls_share_them(dock):
    calls = [issue(dock, data={"license_id": number, "enable": True}) for number in range(40)]
    barrier = threading.Barrier(4)

    def claim_all(_worker):
        barrier.wait()
        try:
            return sending.claim_many([call.pk for call in calls], now=timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        taken = [claim.call.pk for claims in pool.map(claim_all, range(4)) for claim in claims]
    assert sorted(taken) == sorted(call.pk for call in calls)
    assert all(history(call) == ["queued", "sent"] for call in calls)


def test_claimed_together_costs_no_more_statements(dock, django_assert_num_queries):
    calls = [issue(dock, data={"license_id": number, "enable": True}) for number in range(20)]
    with CaptureQueriesContext(connection) as one:
        claim(calls[0])
    with django_assert_num_queries(len(one)):
        assert len(sending.claim_many([call.pk for call in calls], now=timezone.now())) == 19


def test_claims_come_in_the_order_in_which_they_were_asked_for(dock):
    calls = [issue(dock, data={"license_id": number, "enable": True}) for number in range(20)]
    taken = sending.claim_many([call.pk for call in reversed(calls)], now=timezone.now())
    assert [claim.call for claim in taken] == calls


def test_call_that_cannot_be_sent_expires_and_the_others_go(dock, monkeypatch):
    good, bad = (issue(dock, data={"license_id": number, "enable": True}) for number in (1, 2))
    honest = sending.envelope.encode

    def fail_for_one(*, tid, **message):
        if tid == str(bad.tid):
            raise LocalProtocolError("too long")
        return honest(tid=tid, **message)

    monkeypatch.setattr(sending.envelope, "encode", fail_for_one)
    assert [claim.call for claim in sending.claim_many([good.pk, bad.pk], now=timezone.now())] == [good]
    assert (history(good), history(bad)) == (["queued", "sent"], ["queued", "expired"])


def test_call_whose_time_has_passed_is_not_sent(dock):
    call = issue(dock)
    assert claim(call, timezone.now() + timedelta(seconds=61)) is None


@pytest.mark.parametrize("change", ["disabled", "moved"])
def test_dock_that_is_disabled_or_moved_after_the_asking_is_sent_nothing(dock, other_organization, change):
    call = issue(dock)
    Device.objects.update(**{"disabled": {"is_enabled": False}, "moved": {"organization": other_organization}}[change])
    assert claim(call) is None
    assert history(call) == ["queued", "expired"]


def test_call_that_waits_for_its_dock_is_sent_when_it_is_back(dock):
    DeviceState.objects.update(online=False)
    call = issue(dock, queue=True)
    later = timezone.now() + timedelta(seconds=3)
    assert (claim(call), sending.waiting(later)) == (None, [])
    DeviceState.objects.update(online=True)
    assert sending.waiting(later) == [call.pk]
    assert claim(call)


def test_call_that_reached_no_dock_is_tried_again_when_that_may_help(dock):
    call, now = issue(dock, queue=True), timezone.now() + timedelta(seconds=30)

    def is_tried(*, ago, pause, spoke=60, connected=3600):
        tried = now - timedelta(seconds=ago)
        ServiceCall.objects.update(tried_at=tried, retry_at=tried + timedelta(seconds=pause))
        spoke, connected = (now - timedelta(seconds=seconds) for seconds in (spoke, connected))
        DeviceState.objects.update(last_seen=spoke, connected_since=connected)
        return sending.waiting(now) == [call.pk]

    assert [is_tried(ago=ago, pause=5) for ago in (4, 6)] == [False, True]
    assert not unsent(ServiceCall.objects.all(), now)  # it is no worker that it waits for
    assert is_tried(ago=60, pause=5)
    assert unsent(ServiceCall.objects.all(), now)
    assert is_tried(ago=4, pause=5, spoke=3)
    assert is_tried(ago=4, pause=60, connected=3)
    assert is_tried(ago=-9, pause=60)  # our clock was set back
    assert not is_tried(ago=4, pause=60, spoke=3)  # it speaks, but has not listened for a while


def test_claim_of_a_call_that_waits_for_its_dock_is_final_though_nobody_hears_of_it(dock, actor):
    call = issue(dock, queue=True)
    assert (bool(claim(call)), claim(call), history(call)) == (True, None, ["queued"])
    with pytest.raises(Refused, match="It has been sent already"):
        ending.cancel(call, actor=actor)
    ending.close_overdue(now=timezone.now() + timedelta(hours=1))  # its worker was killed
    assert history(call) == ["queued", "sent", "timed_out"]


def test_sending_is_in_the_history_of_a_call_that_was_answered_before_the_receipt(dock):
    taken = claim(issue(dock, queue=True))
    call = ServiceCall.objects.get()
    hear(call, {"result": 0})
    sending.record_receipts([(taken.call, Receipt.DELIVERED)])
    events = list(call.events.order_by("version").values_list("version", "status", "at"))
    assert [event[:2] for event in events] == [(1, "queued"), (2, "sent"), (3, "succeeded")]
    assert events[1][2] == call.sent


def test_sweep_leaves_new_calls_to_their_own_task(dock):
    call = issue(dock)
    assert sending.waiting(timezone.now()) == []
    assert sending.waiting(timezone.now() + timedelta(seconds=3)) == [call.pk]


def test_many_calls_go_to_workers_by_as_many_as_one_claims(
    organization, actor, monkeypatch, django_capture_on_commit_callbacks
):
    tasks = []
    monkeypatch.setattr(asking.current_app, "send_task", lambda name, arguments: tasks.append((name, arguments)))
    with django_capture_on_commit_callbacks(execute=True):
        batch = batches.start(devices=fleet(organization, 101), method=UPDATE, actor=actor)
    assert [(name, len(arguments[0])) for name, arguments in tasks] == [
        ("devices.tasks.publish_service_calls", size) for size in (100, 1)
    ]
    named = {key for _, [keys] in tasks for key in keys}
    assert named == {str(call.pk) for call in batch.calls.all()}


@pytest.mark.parametrize(
    ("receipt", "queue", "status"),
    [
        (Receipt.DELIVERED, False, "sent"),
        (Receipt.UNCONFIRMED, False, "sent"),
        (Receipt.NO_SUBSCRIBER, False, "expired"),
        (Receipt.NO_SUBSCRIBER, True, "queued"),
        (Receipt.DELIVERED, True, "sent"),
        (Receipt.UNCONFIRMED, True, "sent"),
        (Receipt.NOT_SENT, True, "queued"),
        (Receipt.NOT_SENT, False, "queued"),
        (Receipt.REFUSED, True, "expired"),
    ],
)
def test_receipt_of_the_broker_decides(dock, receipt, queue, status):
    taken = claim(issue(dock, queue=queue))
    sending.record_receipts([(taken.call, receipt)])
    assert ServiceCall.objects.get().status == status


def test_dock_that_answers_before_the_receipt_is_believed(dock):
    taken = claim(issue(dock))
    call = ServiceCall.objects.get()
    hear(call, {"result": 0})
    sending.record_receipts([(taken.call, Receipt.NO_SUBSCRIBER)])
    call.refresh_from_db()
    assert call.status == "succeeded"


# --- secrets -----------------------------------------------------------------------------------------


def test_password_is_encrypted_goes_out_once_and_is_forgotten(dock):
    call = issue(dock, LOGIN, CREDENTIALS)
    assert call.data == {"username": "pilot@example.org", "password": "***", "verification_code": ""}
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed FROM devices_servicecallsecret")
        assert "hunter2" not in cursor.fetchone()[0]
    taken = claim(call)
    assert json.loads(taken.payload)["data"] == CREDENTIALS
    assert (taken.qos, taken.expiry) == (0, 15)
    assert "hunter2" not in repr(taken)
    assert not ServiceCallSecret.objects.exists()


def test_password_of_a_call_that_ends_unsent_is_forgotten(dock, actor):
    ending.cancel(issue(dock, LOGIN, CREDENTIALS), actor=actor)
    assert not ServiceCallSecret.objects.exists()


def test_password_older_than_two_minutes_is_not_sent(dock):
    call = issue(dock, LOGIN, CREDENTIALS, expires_in=timedelta(hours=1))
    assert claim(call, timezone.now() + timedelta(seconds=121)) is None
    call.refresh_from_db()
    assert (call.status, ServiceCallSecret.objects.count()) == ("expired", 0)


def test_login_that_the_broker_did_not_take_is_over(dock):
    taken = claim(issue(dock, LOGIN, CREDENTIALS))
    sending.record_receipts([(taken.call, Receipt.NOT_SENT)])
    assert ServiceCall.objects.get().status == "expired"


# --- hear --------------------------------------------------------------------------------------------


def test_reply_ends_the_call(dock):
    call = sent(dock)
    item = hear(call, {"result": 0, "license_id": 240330})
    assert (call.status, call.result_code, call.output) == ("succeeded", 0, {"license_id": 240330})
    assert call.replied
    assert call.closed
    assert item.reason == ""
    assert history(call) == ["queued", "sent", "succeeded"]


def test_reply_without_a_method_is_understood_by_its_tid(dock):
    call = sent(dock, LIST, {"device_model_domain": 3})
    hear(call, {"result": 0, "licenses": []}, method="")
    assert (call.status, call.output["licenses"]) == ("succeeded", 0)


@pytest.mark.parametrize("fields", [{"sn": "DOCK0002"}, {"tid": "another"}, {"tid": "another", "bid": "another"}])
@pytest.mark.parametrize("channel", ["services_reply", "events"])
def test_foreign_topic_or_tid_changes_nothing(dock, fields, channel):
    call = sent(dock, LOGIN, CREDENTIALS)
    if channel == "events" and "sn" not in fields:
        fields = {"tid": "another", "bid": "another"}
    item = hear(call, {"result": 0, "output": {"status": "ok"}}, channel=channel, **fields)
    assert (call.status, call.version, call.deadline) == ("sent", 2, call.deadline)
    assert item.reason == "not a command of this server"


def test_reply_is_not_found_by_its_bid(dock):
    call = sent(dock)
    hear(call, {"result": 0}, tid="another")
    assert call.status == "sent"


def test_login_from_reply_to_ok(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    hear(call, {"result": 0, "output": {"status": "in_progress"}})
    for percent in (10, 50, 90):
        event(call, "in_progress", percent, tid=f"new-{percent}")
    event(call, "ok", tid="last")
    assert (call.status, call.percent) == ("succeeded", 90)
    assert history(call) == ["queued", "sent", *["in_progress"] * 4, "succeeded"]


def test_event_is_found_by_its_tid_if_its_bid_is_strange(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    event(call, "in_progress", 10, bid="strange")
    assert call.percent == 10


def test_event_that_wants_a_reply_gets_one_in_any_case(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    assert b'"result":0' in event(call, "ok", need_reply=1).reply
    assert b'"result":0' in event(call, "ok", need_reply=1, tid="x", bid="x").reply


def test_flood_of_news_about_one_call_makes_a_bounded_history(dock, monkeypatch):
    monkeypatch.setattr(states, "MOST_VERSIONS", 20)
    call = sent(dock, LOGIN, CREDENTIALS)
    reasons = [event(call, "in_progress", output={"verification_code_url": f"https://x/{n}"}).reason for n in range(30)]
    assert reasons == [""] * 18 + ["too many reports of this command"] * 12
    assert len(history(call)) == 20


def test_duplicate_reply_is_no_news(dock):
    call = sent(dock)
    hear(call, {"result": 0})
    assert hear(call, {"result": 0}).reason == "the command had ended: succeeded"
    assert (call.version, len(history(call))) == (3, 3)


def test_answer_that_nobody_can_read_ends_the_call_with_the_reason(dock):
    call = sent(dock)
    hear(call, {"license_id": 5})
    assert (call.status, "result is missing" in call.result_text) == ("failed", True)


@pytest.mark.parametrize("data", [{}, [], {"result": 2**63}, {"result": 0, "output": "ok"}])
def test_event_that_nobody_can_read_ends_nothing(dock, data):
    call = sent(dock, LOGIN, CREDENTIALS)
    hear(call, data, channel="events")
    event(call, "ok")
    assert call.status == "succeeded"


def test_event_about_a_service_without_events_ends_nothing(dock):
    call = sent(dock)
    assert hear(call, {"result": 1}, channel="events", method=LOGIN).reason
    assert call.status == "sent"


def test_many_replies_cost_as_many_queries_as_one_with_the_lists_that_follow(
    organization, actor, django_capture_on_commit_callbacks
):
    counts = []
    for docks in (fleet(organization, 1), fleet(organization, 60, prefix="OTHER")):
        asking.issue_many(devices=docks, method=UPDATE, data={}, actor=actor)
        calls = list(ServiceCall.objects.open().filter(method=UPDATE).select_related("device"))
        for call in calls:
            claim(call)
        deliveries = [
            Delivery(
                topic=f"thing/product/{call.device.sn}/services_reply",
                payload=json.dumps({"tid": call.tid, "bid": call.bid, "data": {"result": 0}}).encode(),
                mid=number + 1,
            )
            for number, call in enumerate(calls)
        ]
        with CaptureQueriesContext(connection) as queries, django_capture_on_commit_callbacks(execute=True):
            list(dispatch.handle(deliveries))
        counts.append(len(queries))
    assert not ServiceCall.objects.open().filter(method=UPDATE).exists()
    assert ServiceCall.objects.open().filter(method=LIST, note=f"after {UPDATE}").count() == 2 * 61
    assert counts[0] == counts[1]


# --- end ---------------------------------------------------------------------------------------------


def close_overdue(**later):
    return ending.close_overdue(now=timezone.now() + timedelta(**later))


@pytest.mark.parametrize("is_sent", [True, False])
def test_after_our_clock_was_set_back_no_call_stays_open_for_longer_than_it_may(dock, is_sent):
    call = (sent if is_sent else issue)(dock)
    assert close_overdue(seconds=-30) == 0  # the clocks of two hosts may differ by that much
    assert close_overdue(hours=-1) == 1
    call.refresh_from_db()
    assert call.status == ("timed_out" if is_sent else "expired")


def test_after_our_clock_was_set_back_no_password_is_kept_for_longer_than_it_may(dock):
    issue(dock, LOGIN, CREDENTIALS)
    ServiceCallSecret.objects.update(expires=timezone.now() + timedelta(hours=1))
    close_overdue(seconds=0)
    assert not ServiceCallSecret.objects.exists()


def test_call_that_nobody_answers_times_out_and_the_next_one_works(dock):
    call = sent(dock)
    assert close_overdue(seconds=14) == 0
    assert close_overdue(seconds=16) == 1
    call.refresh_from_db()
    assert call.status == "timed_out"
    assert sent(dock).status == "sent"


def test_one_call_whose_end_fails_keeps_no_other_open(dock, organization, monkeypatch):
    def broken(_ends):
        raise KeyError("username")

    [other] = fleet(organization, 1)
    calls = [sent(dock, LOGIN, CREDENTIALS), sent(other)]
    monkeypatch.setitem(mqtt_routes.OUTCOMES, LOGIN, broken)
    assert close_overdue(seconds=181) == 2
    assert {ServiceCall.objects.get(pk=call.pk).status for call in calls} == {"timed_out"}


def test_late_reply_corrects_a_time_out(dock):
    call = sent(dock)
    close_overdue(seconds=16)
    hear(call, {"result": 0})
    assert (call.status, call.late) == ("succeeded", True)


def test_late_reply_corrects_even_while_the_next_call_is_open(dock):
    call = sent(dock)
    close_overdue(seconds=16)
    following = sent(dock)
    hear(call, {"result": 325012})
    following.refresh_from_db()
    assert (call.status, following.status) == ("failed", "sent")


def test_call_that_nobody_sent_expires(dock):
    call = issue(dock)
    close_overdue(seconds=61)
    call.refresh_from_db()
    assert (call.status, wording.describe(call)) == ("expired", "Not sent: no worker sent it in time.")


def test_bridge_that_has_just_come_back_waits_for_what_was_kept_for_it(dock):
    sent(dock)
    now = timezone.now() + timedelta(seconds=30)
    assert ending.close_overdue(now=now, listening_since=now - timedelta(seconds=1)) == 0
    assert ending.close_overdue(now=now, listening_since=now - timedelta(seconds=6)) == 1


def test_cancel_works_until_it_is_sent(dock, actor):
    call = issue(dock)
    ending.cancel(call, actor=actor)
    assert history(call) == ["queued", "canceled"]
    assert AuditEvent.objects.filter(action="cancel command").count() == 1
    with pytest.raises(Refused):
        ending.cancel(sent(dock), actor=actor)


def test_retry_is_a_new_call_linked_to_the_old(dock, actor):
    call = sent(dock)
    with pytest.raises(Refused):
        asking.retry(call, actor=actor)
    hear(call, {"result": 325012})
    again = asking.retry(call, actor=actor)
    assert (again.retry_of, again.data, again.status) == (call, call.data, "queued")
    assert again.tid != call.tid
    assert again.bid != call.bid


def test_call_of_a_former_owner_is_not_tried_again(dock, actor, other_organization):
    call = sent(dock, note="for our eyes")
    hear(call, {"result": 325012})
    Device.objects.update(organization=other_organization)
    with pytest.raises(Refused):
        asking.retry(ServiceCall.objects.get(), actor=actor)
    assert ServiceCall.objects.count() == 1


def test_call_of_a_service_that_is_no_more_is_not_tried_again(dock, actor):
    call = sent(dock)
    hear(call, {"result": 325012})
    call.method = "fly_to_the_moon"
    with pytest.raises(Refused):
        asking.retry(call, actor=actor)


def test_retry_of_a_login_needs_the_password_again(dock, actor):
    call = sent(dock, LOGIN, CREDENTIALS)
    hear(call, {"result": 325012})
    with pytest.raises(Refused):
        asking.retry(call, actor=actor)
    assert asking.retry(call, actor=actor, data=CREDENTIALS).retry_of == call


def test_release_closes_what_is_open_and_the_dock_is_free(dock, actor, other_organization):
    call = sent(dock)
    release([dock], actor=actor)
    call.refresh_from_db()
    assert (call.status, call.organization) == ("canceled", dock.organization)
    hear(call, {"result": 0})
    assert call.status == "canceled"
    Device.objects.update(organization=other_organization)
    assert issue(Device.objects.get()).organization == other_organization


# --- the moment of the last change -------------------------------------------------------------------


def test_call_was_last_changed_when_its_last_version_was_made(dock):
    call = issue(dock, LOGIN, CREDENTIALS)
    moments = [call.updated]
    for step in (claim, lambda call: event(call, "in_progress", 10), lambda call: event(call, "ok")):
        step(call)
        call.refresh_from_db()
        moments.append(call.updated)
    assert moments == list(ServiceCallEvent.objects.filter(call=call).order_by("version").values_list("at", flat=True))
    assert moments == sorted(set(moments))


def test_word_that_only_prolongs_the_waiting_is_no_change(dock):
    call = sent(dock, LOGIN, CREDENTIALS)
    event(call, "in_progress", 10)
    age(call)
    deadline, version = call.deadline, call.version
    event(call, "in_progress", 10)
    assert call.deadline > deadline
    assert (call.version, moved(call)) == (version, False)


def test_step_that_waited_for_another_does_not_set_the_moment_back(dock):
    call = sent(dock)
    report = hearing.Report(dock.sn, ServiceCallEvent.Source.REPLY, call.tid, call.bid, {"result": 0})
    with transaction.atomic():
        hearing.hear_docks([report], now=call.updated - timedelta(seconds=1))
    before = call.updated
    call.refresh_from_db()
    assert (call.status, call.updated) == ("succeeded", before)
