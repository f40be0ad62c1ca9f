"""The lists and pages of service calls and of batches: what they show, to whom, and what their buttons do."""

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from devices.calls import asking, batches, sending
from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
CALLS = "/admin/devices/servicecall/"
BATCHES = "/admin/devices/servicecallbatch/"
LIST = "unlock_license_list"
DOCK_LIST = {"device_model_domain": 3}


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.fixture
def olga(organization):
    """An operator of Alice's organization."""
    return member("olga", organization, Role.OPERATOR)


@pytest.fixture
def actor(alice):
    return Actor(AuditEvent.Through.ADMIN, user=alice)


@pytest.fixture
def call(dock, actor):
    """A call that waits to be sent."""
    return asking.issue(device=dock, method=LIST, data=DOCK_LIST, actor=actor, note="spring check")


def page(row, name="change"):
    return reverse(f"admin:devices_{type(row)._meta.model_name}_{name}", args=[row.pk])


def see(client, user, url, data=None):
    client.force_login(user)
    response = client.get(url, data or {})
    assert response.status_code == 200
    return response.content.decode()


def listed(client, user, **query):
    """The keys of the calls that the list shows."""
    return set(
        re.findall(
            r'class="field-what"><a href="/admin/devices/servicecall/([0-9a-f-]{36})', see(client, user, CALLS, query)
        )
    )


def ended(device, status, **fields):
    """A call that came to its end; one that succeeded read two licenses."""
    if status == "succeeded":
        fields.setdefault("output", {"licenses": 2})
    return ServiceCall.objects.create(
        device=device,
        organization=device.organization,
        method=fields.pop("method", LIST),
        status=status,
        closed=timezone.now(),
        **fields,
    )


# --- the list --------------------------------------------------------------------------------------


def test_the_list_tells_what_became_of_each_call(client, bob, dock, alice):
    ended(dock, "failed", result_code=325012, data=DOCK_LIST, requested_by=alice)
    text = see(client, bob, CALLS)
    for shown in (
        "call-bad",
        "failed",
        "Pier 7",
        "Read licenses at the dock",
        "the aircraft is not connected",
        "alice",
    ):
        assert shown in text, shown


def test_progress_is_shown_while_the_dock_works(client, bob, dock):
    ServiceCall.objects.create(
        device=dock, organization=dock.organization, method=LIST, status="in_progress", percent=40
    )
    assert '<progress max="100" value="40"' in see(client, bob, CALLS)


def test_the_list_can_be_narrowed(client, staff, dock, alice, other_organization):
    foreign = Device.objects.create(sn="FOREIGN1", model_key="3-1-0", organization=other_organization, callsign="Sub")
    batch = ServiceCallBatch.objects.create(method=LIST, organization=dock.organization)
    failed = ended(dock, "failed", requested_by=alice, batch=batch)
    old = ended(dock, "timed_out", created=timezone.now() - timedelta(days=2))
    done = ended(foreign, "succeeded", method="unlock_license_update")
    tried = ended(dock, "rejected")
    empty = ended(dock, "succeeded", output={"complete": False})
    ended(dock, "succeeded", retry_of=tried)
    waiting = ServiceCall.objects.create(
        device=dock, organization=dock.organization, method=LIST, created=timezone.now() - timedelta(seconds=30)
    )
    for query, expected in (
        ({"state": "open"}, {waiting}),
        ({"state": "trouble"}, {failed}),
        ({"state": "unsent"}, {waiting}),
        ({"state": "timed_out"}, {old}),
        ({"state": "no_list"}, {empty}),
        ({"service": "unlock_license_update"}, {done}),
        ({"organization__id__exact": str(other_organization.pk)}, {done}),
        ({"by": str(alice.pk)}, {failed}),
        ({"batch": str(batch.pk)}, {failed}),
        ({"batch": "nonsense"}, set()),
        ({"q": "foreign"}, {done}),
        ({"q": "sub"}, {done}),
        ({"q": failed.tid}, {failed}),
        ({"q": str(failed.pk)}, {failed}),
    ):
        assert listed(client, staff, **query) == {str(found.pk) for found in expected}, query


def test_commands_of_the_schedule_do_not_bury_those_of_people(client, staff, dock):
    scheduled, of_person = ended(dock, "expired", by_schedule=True), ended(dock, "failed", requested_by=staff)
    ended(dock, "expired", by_schedule=True, created=timezone.now() - timedelta(days=2))
    both, hint = {str(scheduled.pk), str(of_person.pk)}, "1 command of the schedule in the last 24 hours is not in"
    assert listed(client, staff) == listed(client, staff, by="people", state="") == {str(of_person.pk)}
    text = see(client, staff, CALLS, {"service": LIST})
    assert hint in text
    assert f"?service={LIST}&amp;by=all" in text
    for query in ({"by": "all"}, {"q": dock.sn}, {"state": "schedule"}):
        assert str(scheduled.pk) in listed(client, staff, **query), query
        assert hint not in see(client, staff, CALLS, query)
    assert both <= listed(client, staff, by="all")
    assert str(of_person.pk) not in listed(client, staff, by="schedule")
    assert "<small>the schedule</small>" in see(client, staff, CALLS, {"by": "schedule"})
    assert hint not in see(client, staff, CALLS, {"state": "succeeded"})
    ServiceCall.objects.filter(by_schedule=False).delete()
    text = see(client, staff, CALLS)
    assert "2 commands of the schedule" not in text
    assert hint in text
    assert "No commands of people or programs yet." in text


def test_a_call_that_may_wait_for_its_dock_is_not_unsent(client, staff, dock):
    DeviceState.objects.filter(device=dock).update(online=False)
    ServiceCall.objects.create(
        device=dock,
        organization=dock.organization,
        method=LIST,
        queue=True,
        created=timezone.now() - timedelta(minutes=1),
    )
    assert listed(client, staff, state="unsent") == set()


def test_charlie_sees_no_call_of_alices(client, charlie, call):
    for query in ({}, {"q": "DOCK"}, {"state": "open"}, {"organization__id__exact": str(call.organization_id)}):
        assert listed(client, charlie, **query) == set()


def test_people_and_batches_of_others_are_no_choices(client, charlie, call, actor, dock):
    batches.start(devices=[dock], method="unlock_license_update", actor=actor, note="secret plan")
    text = see(client, charlie, CALLS)
    assert "alice" not in text
    assert "Update licenses (newest), 20" not in text


@pytest.mark.parametrize("who", ["alice", "staff"])
def test_a_hundred_calls_take_as_many_queries_as_one(
    request, client, who, dock, organization, django_assert_num_queries, django_assert_max_num_queries
):
    user = request.getfixturevalue(who)
    ended(dock, "failed", requested_by=user, result_code=325012)
    see(client, user, CALLS)
    with django_assert_max_num_queries(20) as few:
        see(client, user, CALLS)
    for number in range(99):
        other = Device.objects.create(sn=f"D{number}", model_key="3-2-0", organization=organization)
        ended(other, "failed", requested_by=user, result_code=325012)
    with django_assert_num_queries(len(few)):
        text = see(client, user, CALLS)
    assert text.count("call-bad") == 100


# --- one call --------------------------------------------------------------------------------------


def test_the_page_of_a_call_tells_everything(client, bob, call, dock):
    [claim] = sending.claim_many([call.pk], now=timezone.now())
    text = see(client, bob, page(call))
    for shown in (
        "Read licenses at the dock",
        "Sent; the dock has not answered yet.",
        "spring check",
        "alice",
        "asked for",
        "this server",
        "&quot;device_model_domain&quot;: 3",
        claim.call.tid,
        f"exchange/?q={dock.sn}",
        f"exchange/?q={call.tid}",
    ):
        assert shown in text, shown
    assert text.count('<td class="number">+') == 2


@pytest.mark.parametrize("name", ["change", "history", "delete"])
def test_charlie_opens_no_call_and_no_batch_of_alices(client, charlie, call, actor, dock, name):
    batch = batches.start(devices=[dock], method="unlock_license_update", actor=actor)
    client.force_login(charlie)
    for row in (call, batch):
        response = client.get(page(row, name), follow=True)
        assert dock.callsign not in response.content.decode()
        assert "alice" not in response.content.decode()


def test_a_dock_that_moved_is_not_named_to_its_former_owner(client, alice, call, dock, other_organization):
    Device.objects.filter(pk=dock.pk).update(organization=other_organization, callsign="New name")
    for text in (see(client, alice, page(call)), see(client, alice, CALLS)):
        assert "New name" not in text
        assert dock.sn in text
        assert f"/admin/devices/device/{dock.pk}/" not in text
    assert listed(client, alice, q="New name") == set()
    assert client.post(page(call, "cancel")).status_code == 403


# --- cancel, retry ---------------------------------------------------------------------------------

ROLES = [("staff", 302), ("alice", 302), ("olga", 302), ("bob", 403), ("charlie", 404)]


@pytest.mark.parametrize(("who", "status"), ROLES)
def test_who_may_cancel(request, client, call, who, status):
    client.force_login(request.getfixturevalue(who))
    assert client.post(page(call, "cancel")).status_code == status
    call.refresh_from_db()
    assert (call.status == "canceled") is (status == 302)


@pytest.mark.parametrize(("who", "status"), ROLES)
def test_who_may_retry(request, client, dock, who, status):
    first = ended(dock, "timed_out", data=DOCK_LIST)
    client.force_login(request.getfixturevalue(who))
    assert client.post(page(first, "retry")).status_code == status
    assert first.retries.count() == (status == 302)


@pytest.mark.parametrize(("who", "status"), ROLES)
def test_who_may_stop_a_batch(request, client, dock, actor, who, status):
    batch = batches.start(devices=[dock], method=LIST, data=DOCK_LIST, actor=actor)
    client.force_login(request.getfixturevalue(who))
    assert client.post(page(batch, "stop")).status_code == status
    assert (batch.calls.get().status == "canceled") is (status == 302)


@pytest.mark.parametrize("name", ["cancel", "retry"])
def test_buttons_need_a_post_and_a_token(olga, call, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    assert client.get(page(call, name)).status_code == 405
    assert client.post(page(call, name)).status_code == 403
    call.refresh_from_db()
    assert call.status == "queued"


def test_stopping_needs_a_post_and_a_token(olga, dock, actor):
    batch = batches.start(devices=[dock], method=LIST, data=DOCK_LIST, actor=actor)
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    assert client.get(page(batch, "stop")).status_code == 405
    assert client.post(page(batch, "stop")).status_code == 403
    assert batch.calls.get().status == "queued"


def test_cancel_is_offered_while_it_waits_and_retry_when_it_ended(client, olga, bob, call):
    def offered(user):
        text = see(client, user, page(call))
        return page(call, "cancel") in text, page(call, "retry") in text

    assert (offered(olga), offered(bob)) == ((True, False), (False, False))
    sending.claim_many([call.pk], now=timezone.now())
    assert offered(olga) == (False, False)
    ServiceCall.objects.update(status="timed_out", closed=timezone.now())
    assert (offered(olga), offered(bob)) == ((False, True), (False, False))


def test_what_was_sent_cannot_be_canceled(client, olga, call):
    sending.claim_many([call.pk], now=timezone.now())
    client.force_login(olga)
    text = client.post(page(call, "cancel"), follow=True).content.decode()
    assert "Not canceled: It has been sent already" in text


def test_a_retry_is_a_new_call_linked_to_the_first(client, olga, dock):
    first = ended(dock, "failed", data=DOCK_LIST, method=LIST)
    client.force_login(olga)
    response = client.post(page(first, "retry"))
    again = first.retries.get()
    assert response["Location"] == page(again)
    assert (again.status, again.data, again.requested_by) == ("queued", DOCK_LIST, olga)
    assert page(again) in see(client, olga, page(first))
    assert page(first) in see(client, olga, page(again))


def test_a_retry_waits_for_its_dock_as_long_as_the_first_did(client, olga, dock):
    now = timezone.now()
    first = ended(dock, "expired", data=DOCK_LIST, queue=True, created=now, expires=now + timedelta(days=7))
    client.force_login(olga)
    client.post(page(first, "retry"))
    again = ServiceCall.objects.get(retry_of=first)
    assert (again.queue, again.expires - again.created) == (True, timedelta(days=7))


def test_a_retry_that_is_refused_says_why(client, olga, dock):
    first = ended(dock, "failed", data=DOCK_LIST)
    DeviceState.objects.filter(device=dock).update(online=False)
    client.force_login(olga)
    text = client.post(page(first, "retry"), follow=True).content.decode()
    assert "Not tried again: This dock is offline." in text
    assert not first.retries.exists()


def test_a_login_is_tried_again_in_its_form(client, olga, dock):
    first = ended(dock, "failed", method="login_dji_account", data={"username": "pilot@example.org", "password": "***"})
    form = reverse("admin:devices_device_change", args=[dock.pk]) + "#command-login"
    text = see(client, olga, page(first))
    assert form in text
    assert page(first, "retry") not in text
    assert client.post(page(first, "retry"))["Location"] == form
    assert ServiceCall.objects.count() == 1


# --- batches ---------------------------------------------------------------------------------------


def fleet(organization, statuses):
    batch = ServiceCallBatch.objects.create(
        method=LIST,
        data=DOCK_LIST,
        organization=organization,
        note="spring check",
        skipped=[{"sn": "AWAY", "callsign": "Far", "reason": "This dock is offline."}],
    )
    for number, status in enumerate(statuses):
        device = Device.objects.create(sn=f"D{number:03}", model_key="3-2-0", organization=organization)
        ended(device, status, batch=batch)
    ServiceCall.objects.filter(status__in=["queued", "sent"]).update(closed=None)
    return batch


def test_the_page_of_a_batch_counts_names_and_explains(client, bob, organization):
    batch = fleet(organization, ["succeeded", "succeeded", "failed", "queued"])
    text = see(client, bob, page(batch))
    for shown in (
        "2 of 4 done, 1 open, 1 did not succeed; 1 skipped",
        "spring check",
        "Far (AWAY)",
        "This dock is offline.",
    ):
        assert shown in text, shown
    assert re.findall(r'<rect x="(\d)" y="0" width="(\d)"', text) == [("0", "1"), ("1", "2"), ("3", "1")]
    assert 'viewBox="0 0 4 1"' in text
    assert text.index(">D002<") < text.index(">D003<") < text.index(">D000<")


def test_docks_that_answered_without_a_list_are_counted_apart_and_can_be_asked_again(client, olga, organization):
    batch = fleet(organization, ["succeeded", "succeeded", "failed"])
    ServiceCall.objects.filter(device__sn="D001").update(output={"complete": False}, data=DOCK_LIST)
    online(batch)
    said = "1 of 3 done, 1 answered without a list, 1 did not succeed; 1 skipped"
    assert said in see(client, olga, BATCHES)
    text = see(client, olga, page(batch))
    assert said in text
    assert re.findall(r'class="bar-(\w+)"', text) == ["good", "unsure", "bad"]
    assert 'aria-label="1 succeeded, 1 answered without a list, 1 failed"' in text
    row = '<span class="call-state call-unsure" data-state>answered without a list</span>'
    assert text.count(row) == 1
    assert "Retry the 2 that failed or sent no list" in text
    for state, shown in (("no_list", {"D001"}), ("succeeded", {"D000"})):
        assert set(re.findall(r">(D00\d)<", see(client, olga, page(batch), {"state": state}))) == shown
    ServiceCall.objects.filter(device__sn="D002").update(status="succeeded", output={"licenses": 0})
    client.post(page(batch, "retry"), {"wait": ""})
    assert [call.device.sn for call in ServiceCall.objects.exclude(retry_of=None)] == ["D001"]
    assert "1 tried again already" not in see(client, olga, page(batch))  # nothing is left to be retried


def test_the_docks_of_a_batch_can_be_narrowed_to_a_state(client, bob, organization):
    batch = fleet(organization, ["succeeded", "failed"])
    text = see(client, bob, page(batch), {"state": "failed"})
    assert ">D001<" in text
    assert ">D000<" not in text
    assert "2 docks" in text or "show all 2" in text
    assert ">D000<" in see(client, bob, page(batch), {"state": "nonsense"})


def test_the_list_of_batches_tells_how_each_goes(client, bob, organization):
    fleet(organization, ["succeeded", "failed", "sent"])
    assert "1 of 3 done, 1 open, 1 did not succeed; 1 skipped" in see(client, bob, BATCHES)


def test_a_list_of_many_batches_takes_as_many_queries_as_of_one(
    client, alice, organization, dock, django_assert_num_queries, django_assert_max_num_queries
):
    def add(count):
        for _ in range(count):
            batch = ServiceCallBatch.objects.create(method=LIST, organization=organization, requested_by=alice)
            ended(dock, "failed", batch=batch)

    add(1)
    see(client, alice, BATCHES)
    with django_assert_max_num_queries(20) as few:
        see(client, alice, BATCHES)
    add(40)
    with django_assert_num_queries(len(few)):
        text = see(client, alice, BATCHES)
    assert text.count("0 of 1 done, 1 did not succeed") == 41


def test_stop_is_offered_to_operators_while_something_waits(client, olga, bob, organization):
    batch = fleet(organization, ["queued", "succeeded"])
    stop = page(batch, "stop")
    assert stop in see(client, olga, page(batch))
    assert "cancel the 1 not sent yet" in see(client, olga, page(batch))
    assert stop not in see(client, bob, page(batch))
    ServiceCall.objects.update(status="sent")
    assert stop not in see(client, olga, page(batch))


def test_stopping_says_how_many_were_canceled(client, olga, organization):
    batch = fleet(organization, ["queued", "queued", "sent"])
    client.force_login(olga)
    text = client.post(page(batch, "stop"), follow=True).content.decode()
    assert "2 commands are canceled; what was sent already runs on." in text
    assert "Stopped" in text


def test_a_batch_over_organizations_is_not_for_their_members(client, alice, charlie, staff, organization):
    batch = fleet(organization, ["failed"])
    ServiceCallBatch.objects.update(organization=None)
    call = batch.calls.get()
    for user in (alice, charlie):
        client.force_login(user)
        assert "spring check" not in client.get(page(batch), follow=True).content.decode()
        assert "spring check" not in see(client, user, BATCHES)
    assert page(batch) not in see(client, alice, page(call))
    assert page(batch) in see(client, staff, page(call))


def test_two_hundred_docks_in_a_batch_take_as_many_queries_as_one(
    client, alice, organization, django_assert_num_queries, django_assert_max_num_queries
):
    batch = fleet(organization, ["failed"])
    see(client, alice, page(batch))
    with django_assert_max_num_queries(20) as few:
        see(client, alice, page(batch))
    for number in range(199):
        device = Device.objects.create(sn=f"E{number:03}", model_key="3-2-0", organization=organization)
        ended(device, "failed", batch=batch)
    with django_assert_num_queries(len(few)):
        text = see(client, alice, page(batch))
    assert text.count('<li class="call"') == 200


# --- retry and cancel --------------------------------------------------------------------------------


def act(client, user, action, rows, **data):
    client.force_login(user)
    form = {"action": action, "_selected_action": [row.pk for row in rows], **data}
    return client.post(CALLS, form, follow=True).content.decode()


def test_the_list_says_what_waits_for_its_dock_and_until_when(client, olga, dock, call):
    waits = ended(dock, "queued", queue=True, expires=timezone.now() + timedelta(hours=24))
    assert listed(client, olga, state="waiting") == {str(waits.pk)}
    text = see(client, olga, CALLS, {"state": "waiting"})
    assert re.search(
        rf'<td [^>]*class="field-until"><time [^>]*title="{waits.expires:%Y-%m-%d %H:%M:%S} UTC">in 23 h<', text
    )


def test_what_is_not_sent_is_canceled_from_the_list(client, olga, dock, call, other_organization):
    other = Device.objects.create(sn="OTHER", model_key="3-2-0", organization=other_organization)
    olga.memberships.create(organization=other_organization, role=Role.VIEWER)
    foreign, sent = ended(other, "queued"), ended(dock, "sent")
    text = act(client, olga, "cancel_selected", [call, foreign, sent])
    assert "1 command is canceled." in text
    states = {row.pk: row.status for row in ServiceCall.objects.all()}
    assert states == {call.pk: "canceled", foreign.pk: "queued", sent.pk: "sent"}
    assert AuditEvent.objects.filter(action="cancel command").count() == 1
    assert "None of them was still to be sent." in act(client, olga, "cancel_selected", [sent])


def test_what_failed_is_retried_from_the_list_after_a_question(client, olga, dock, organization, other_organization):
    other = Device.objects.create(sn="OTHER", model_key="3-2-0", organization=other_organization)
    olga.memberships.create(organization=other_organization, role=Role.VIEWER)
    failed, foreign = ended(dock, "failed", data=DOCK_LIST), ended(other, "failed", data=DOCK_LIST)
    switch = ended(dock, "expired", method="unlock_license_switch", data={"license_id": 7, "enable": True})
    done = ended(dock, "succeeded", data=DOCK_LIST)
    chosen = [failed, foreign, switch, done]
    text = act(client, olga, "retry_selected", chosen)
    assert "Retry 2 commands" in text
    assert "OTHER" not in text
    assert not ServiceCall.objects.exclude(retry_of=None).exists()
    act(client, olga, "retry_selected", chosen, retry="1", wait="604800", note="again")
    again = ServiceCall.objects.exclude(retry_of=None)
    assert {(row.retry_of_id, row.method) for row in again} == {(failed.pk, LIST), (switch.pk, switch.method)}
    assert {row.expires - row.created for row in again} == {timedelta(days=7)}
    batches_of = ServiceCallBatch.objects.all()
    assert {(batch.method, batch.organization, batch.note) for batch in batches_of} == {
        (LIST, organization, "again"),
        (switch.method, organization, "again"),
    }
    assert AuditEvent.objects.filter(action="start batch").values("request_id").distinct().count() == 1
    assert "None of them can be retried here: it has not failed or was" in act(client, olga, "retry_selected", chosen)
    login = ended(dock, "failed", method="login_dji_account")
    assert "a login is retried on the page of its batch" in act(client, olga, "retry_selected", [login])


@pytest.mark.parametrize("action", ["cancel_selected", "retry_selected"])
def test_a_viewer_acts_on_no_call(client, bob, call, action):
    act(client, bob, action, [call], retry="1")
    assert [row.status for row in ServiceCall.objects.all()] == ["queued"]
    assert action not in see(client, bob, CALLS)


def online(batch):
    for device in Device.objects.filter(service_calls__batch=batch):
        DeviceState.objects.create(device=device, online=True, last_seen=timezone.now())


def test_what_failed_of_a_batch_is_retried_and_nothing_else(client, olga, organization):
    statuses = ["succeeded", "failed", "rejected", "expired", "timed_out", "canceled", "queued"]
    batch = fleet(organization, statuses)
    ServiceCall.objects.update(data=DOCK_LIST, subject="old")
    online(batch)
    text = see(client, olga, page(batch))
    assert "Retry the 4 that failed" in text
    assert "Did not succeed, but are not retried: 1 canceled." in text
    assert "Retry 4 commands" in see(client, olga, page(batch, "retry"))
    client.post(page(batch, "retry"), {"wait": "", "note": "second try"})
    again = ServiceCallBatch.objects.exclude(pk=batch.pk).get()
    assert {call.retry_of.status for call in again.calls.all()} == {"failed", "rejected", "expired", "timed_out"}
    assert {(call.data["device_model_domain"], call.queue) for call in again.calls.all()} == {(3, False)}
    assert (again.note, again.organization, again.requested_by) == ("second try", organization, olga)
    text = see(client, olga, page(batch))
    assert "that failed" not in text
    assert page(again) in text
    assert page(batch) in see(client, olga, page(again))
    client.post(page(batch, "retry"), {})
    assert ServiceCallBatch.objects.count() == 2


def test_a_batch_is_retried_with_other_data(client, olga, organization):
    batch = fleet(organization, ["failed"])
    data = {"license_id": 7, "enable": True}
    for rows in (ServiceCall.objects, ServiceCallBatch.objects):
        rows.update(method="unlock_license_switch", data=data)
    online(batch)
    text = see(client, olga, page(batch, "retry"))
    assert re.search(r'name="license_id" value="7"', text)
    assert '<option value="on" selected>' in text
    client.post(page(batch, "retry"), {"license_id": "8", "enable": "off"})
    assert ServiceCall.objects.exclude(retry_of=None).get().data == {"license_id": 8, "enable": False}


def test_a_batch_of_logins_asks_for_the_password_again(client, olga, organization):
    batch = fleet(organization, ["failed"])
    data = {"username": "pilot", "password": "***", "verification_code": ""}
    for rows in (ServiceCall.objects, ServiceCallBatch.objects):
        rows.update(method="login_dji_account", data=data)
    online(batch)
    text = see(client, olga, page(batch, "retry"))
    assert 'value="pilot"' in text
    assert "***" not in text
    assert "This field is required" in client.post(page(batch, "retry"), {"username": "pilot"}).content.decode()
    client.post(page(batch, "retry"), {"username": "pilot", "password": "canary"})
    again = ServiceCall.objects.exclude(retry_of=None).get()
    assert (again.data["password"], json.loads(again.secret.sealed)["password"]) == ("***", "canary")


def test_a_dock_that_moved_is_not_retried_for_its_former_owner(client, olga, organization, other_organization):
    batch = fleet(organization, ["failed", "failed"])
    ServiceCall.objects.update(data=DOCK_LIST)
    online(batch)
    Device.objects.filter(sn="D000").update(organization=other_organization)
    client.force_login(olga)
    client.post(page(batch, "retry"), {})
    assert [call.device.sn for call in ServiceCall.objects.exclude(retry_of=None)] == ["D001"]


def test_a_batch_over_organizations_is_live_and_names_them(client, staff, organization, other_organization):
    batch = fleet(organization, ["succeeded", "failed"])
    ServiceCallBatch.objects.update(organization=None)
    ended(Device.objects.create(sn="N1", model_key="3-2-0", organization=other_organization), "queued", batch=batch)
    ServiceCall.objects.filter(device__sn="N1").update(organization=other_organization)
    text = see(client, staff, page(batch))
    [paths] = re.findall(r'data-live="([^"]*)"', text)
    assert set(paths.split()) == {"/ws/organizations/12345678/", "/ws/organizations/87654321/"}
    assert "Harbour Survey: 2, Northern Grid: 1" in text


def test_a_failure_with_the_code_of_success_does_not_read_like_a_success(client, olga, dock):
    text = see(client, olga, page(ended(dock, "failed", result_code=0)))
    assert "0: the dock reports a failure without a reason" in text
    assert "0: success" in see(client, olga, page(ended(dock, "succeeded", result_code=0)))
