"""Commands from the admin: the panel of a dock, the actions of the list, who may, what is never shown."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import got_request_exception
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.views.debug import (
    ExceptionReporter,
    SafeExceptionReporterFilter,
    get_default_exception_reporter_filter,
)

from devices.calls import asking
from devices.models import Device, DeviceAccount, DeviceState, ServiceCall, ServiceCallBatch, Site
from licenses import files
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
LIST = "/admin/devices/device/"
CANARY = "canary-Tr0ub4dor"
LOGIN = {"command": "login", "username": "pilot@example.org", "password": CANARY, "verification_code": "canary-314"}


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.fixture
def olga(organization):
    """An operator of Alice's organization."""
    return member("olga", organization, Role.OPERATOR)


def panel_of(device):
    return reverse("admin:devices_device_commands", args=[device.pk])


def page_of(device):
    return reverse("admin:devices_device_change", args=[device.pk])


def send(client, user, device, **data):
    client.force_login(user)
    return client.post(panel_of(device), data)


def lose(dock):
    DeviceState.objects.filter(device=dock).update(online=False)


# --- one dock: who may, what is sent ---------------------------------------------------------------

SERVICES = [
    ({"command": "read-aircraft"}, "unlock_license_list", {"device_model_domain": 0}),
    ({"command": "read-dock"}, "unlock_license_list", {"device_model_domain": 3}),
    ({"command": "update"}, "unlock_license_update", {}),
    (
        {"command": "switch", "license_id": "240330", "enable": "off", "sure": "on"},
        "unlock_license_switch",
        {"license_id": 240330, "enable": False},
    ),
    (LOGIN, "login_dji_account", {"username": "pilot@example.org", "password": "***", "verification_code": "***"}),
    ({"command": "logout"}, "logout_dji_account", {}),
]
each_service = pytest.mark.parametrize(
    ("form", "method", "data"), SERVICES, ids=[form["command"] for form, *_ in SERVICES]
)


@each_service
def test_every_service_can_be_sent(client, olga, dock, form, method, data):
    response = send(client, olga, dock, **form)
    assert response["Location"] == f"{page_of(dock)}#commands"
    [call] = ServiceCall.objects.all()
    assert (call.device, call.method, call.data, call.requested_by) == (dock, method, data, olga)


@pytest.mark.parametrize(
    ("who", "status"), [("staff", 302), ("alice", 302), ("olga", 302), ("bob", 403), ("charlie", 404), (None, 302)]
)
@each_service
def test_who_may_command(request, client, dock, who, status, form, method, data):
    if who:
        client.force_login(request.getfixturevalue(who))
    response = client.post(panel_of(dock), form)
    assert response.status_code == status
    assert ServiceCall.objects.exists() is (who in ("staff", "alice", "olga"))


@pytest.mark.parametrize(("who", "status"), [("staff", 200), ("alice", 200), ("bob", 200), ("charlie", 404)])
def test_who_may_look(request, client, dock, who, status):
    DeviceAccount.objects.create(device=dock, username="pilot@example.org")
    client.force_login(request.getfixturevalue(who))
    for url in (panel_of(dock), f"{panel_of(dock)}?fragment"):
        response = client.get(url)
        assert response.status_code == status
        assert (b"pilot@example.org" in response.content) is (status == 200)


def test_a_viewer_sees_everything_and_no_button(client, bob, olga, dock):
    send(client, olga, dock, command="read-dock")
    client.force_login(bob)
    text = client.get(page_of(dock)).content.decode()
    assert "Read licenses at the dock" in text
    assert "data-command" not in text
    assert 'name="password"' not in text


def test_an_operator_elsewhere_who_only_views_here_sends_nothing(client, bob, dock, other_organization):
    bob.memberships.create(organization=other_organization, role=Role.OPERATOR)
    assert send(client, bob, dock, command="read-dock").status_code == 403
    assert not ServiceCall.objects.exists()


def test_a_command_without_csrf_token_is_refused(olga, dock):
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    assert client.post(panel_of(dock), {"command": "read-dock"}).status_code == 403
    assert not ServiceCall.objects.exists()


def test_looking_sends_nothing(client, olga, dock):
    client.force_login(olga)
    client.get(panel_of(dock), {"command": "read-dock"})
    assert not ServiceCall.objects.exists()


def test_an_unknown_command_is_a_bad_request(client, olga, dock):
    assert send(client, olga, dock, command="reboot").status_code == 400


def test_an_aircraft_has_no_panel_but_names_its_dock(client, olga, aircraft, dock):
    assert send(client, olga, aircraft, command="read-dock").status_code == 404
    text = client.get(page_of(aircraft)).content.decode()
    assert "data-command" not in text
    assert "Commands go to its dock" in text
    assert page_of(dock) in text


# --- forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"license_id": "", "enable": "on"},
        {"license_id": "1.5", "enable": "on"},
        {"license_id": "9" * 20, "enable": "on"},
        {"license_id": "1", "enable": ""},
        {"license_id": "1", "enable": "maybe"},
    ],
)
def test_a_wrong_switch_comes_back_with_an_error_and_what_was_typed(client, olga, dock, data):
    text = send(client, olga, dock, command="switch", **data).content.decode()
    assert 'class="command-error"' in text
    assert f'value="{data["license_id"]}"' in text or not data["license_id"]
    assert re.search(r'<details class="command-details" id="details-switch" open', text)
    assert not ServiceCall.objects.exists()


def test_off_is_asked_about_in_the_form_too_until_the_person_says_not_to_ask(client, olga, dock):
    off = {"command": "switch", "license_id": "7", "enable": "off"}
    question = send(client, olga, dock, **off).content.decode()
    assert "only this license allows it" in question
    assert re.search(r'<input type="checkbox" name="sure"', question)
    assert not ServiceCall.objects.exists()
    send(client, olga, dock, **off, unasked="on")  # without the box that says so
    assert not ServiceCall.objects.exists()
    send(client, olga, dock, **off, sure="on", unasked="on")
    assert ServiceCall.objects.get().data == {"license_id": 7, "enable": False}
    send(client, olga, dock, **off | {"license_id": "8"})
    assert ServiceCall.objects.count() == 2


@pytest.mark.parametrize("missing", ["username", "password"])
def test_a_login_needs_name_and_password(client, olga, dock, missing):
    text = send(client, olga, dock, **LOGIN | {missing: ""}).content.decode()
    assert "This field is required" in text
    assert not ServiceCall.objects.exists()


def test_a_refusal_is_told_in_the_form(client, olga, dock):
    send(client, olga, dock, command="read-dock")
    text = send(client, olga, dock, command="read-dock").content.decode()
    assert "busy" in text
    assert ServiceCall.objects.count() == 1


def test_the_fragment_is_the_panel_alone_and_says_what_was_sent(client, olga, dock):
    client.force_login(olga)
    text = client.post(f"{panel_of(dock)}?fragment", {"command": "read-dock"}).content.decode()
    assert "<html" not in text
    assert "Read licenses at the dock: Waiting to be sent." in text


def upload(organization, user):
    file = SimpleUploadedFile("areas.kmz", organization.name.encode())
    return files.store(organization=organization, upload=file, actor=Actor(AuditEvent.Through.ADMIN, user=user))


def test_an_update_from_a_file_of_the_organization(client, olga, dock, organization, other_organization):
    ours, theirs = upload(organization, olga), upload(other_organization, olga)
    text = send(client, olga, dock, command="update-file", license_file=theirs.pk).content.decode()
    assert "Choose a file of the organization of these docks." in text
    assert f'<option value="{ours.pk}"' in text
    assert f'<option value="{theirs.pk}"' not in text
    assert not ServiceCall.objects.exists()
    send(client, olga, dock, command="update-file", license_file=ours.pk)
    assert ServiceCall.objects.get().data == {"license_file": ours.pk}


def test_many_docks_are_updated_from_a_file_of_their_one_organization(
    client, staff, dock, organization, other_organization
):
    [foreign] = add_docks(other_organization, 1)
    file = upload(organization, staff)
    start(client, staff, "update-file", [dock, foreign], license_file=file.pk)
    assert not ServiceCallBatch.objects.exists()
    start(client, staff, "update-file", [dock], license_file=file.pk)
    assert ServiceCall.objects.get().data == {"license_file": file.pk}


# --- what is never shown -----------------------------------------------------------------------------


def every_row():
    """All the database holds, as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            yield str(cursor.fetchall())


@pytest.mark.parametrize("fault", ["none", "invalid", "offline", "busy", "NUL"])
def test_password_and_code_are_in_no_page_and_no_row(client, staff, dock, fault):
    data = dict(LOGIN)
    if fault == "invalid":
        data["username"] = "x" * 200
    if fault == "NUL":
        data["password"] += "\0"
    if fault == "offline":
        lose(dock)
    if fault == "busy":
        send(client, staff, dock, **LOGIN)
    pages = [send(client, staff, dock, **data).content.decode()]
    pages += [
        client.get(url).content.decode() for url in (page_of(dock), panel_of(dock), "/admin/devices/servicecall/")
    ]
    for call in ServiceCall.objects.all():
        pages.append(client.get(reverse("admin:devices_servicecall_change", args=[call.pk])).content.decode())
    assert ServiceCall.objects.exists() is (fault in ("none", "busy"))
    for text in (*pages, *every_row()):
        assert "canary" not in text


@pytest.mark.parametrize("way", ["one", "many", "again"])
def test_an_error_report_does_not_show_the_password(client, olga, dock, monkeypatch, way):
    """What Django would mail to the admins, with the variables of every function; also if its own filter is used."""
    reports = []
    default_filter, stock_filter = get_default_exception_reporter_filter(), SafeExceptionReporterFilter()

    def report(request, **_kwargs):
        for filter_ in (default_filter, stock_filter):
            request.exception_reporter_filter = filter_
            reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_html())

    batch = ServiceCallBatch.objects.create(
        organization=dock.organization,
        method="login_dji_account",
        data={"username": "pilot", "password": "***", "verification_code": ""},
    )
    ServiceCall.objects.create(
        device=dock, organization=dock.organization, method=batch.method, batch=batch, status="failed"
    )
    address = {
        "one": panel_of(dock),
        "many": f"{LIST}commands/login/",
        "again": reverse("admin:devices_servicecallbatch_retry", args=[batch.pk]),
    }[way]
    client.force_login(olga)
    monkeypatch.setattr(asking, "_insert", lambda *_, **__: 1 / 0)
    got_request_exception.connect(report)
    try:
        with pytest.raises(ZeroDivisionError):
            client.post(address, LOGIN | {"devices": str(dock.pk)})
    finally:
        got_request_exception.disconnect(report)
    assert len(reports) == 2
    for text in reports:
        assert "_insert" in text
        assert "canary" not in text


# --- what the panel says -----------------------------------------------------------------------------


def buttons(text):
    """Of every command: whether its button works, and whether it may wait for the dock."""
    forms = re.findall(r'id="command-([\w-]+)".*?</form>', text, re.DOTALL)
    bodies = re.findall(r'<form method="post"[^>]*id="command-.*?</form>', text, re.DOTALL)
    return {name: ("disabled" not in body, 'name="queue"' in body) for name, body in zip(forms, bodies, strict=True)}


def test_buttons_of_an_online_dock_work(client, olga, dock):
    client.force_login(olga)
    found = buttons(client.get(panel_of(dock)).content.decode())
    assert len(found) == 7
    assert set(found.values()) == {(True, False)}


def test_buttons_of_an_offline_dock_are_disabled_and_offer_to_wait(client, olga, dock):
    lose(dock)
    client.force_login(olga)
    text = client.get(panel_of(dock)).content.decode()
    found = buttons(text)
    assert found.pop("login") == (False, False)
    assert set(found.values()) == {(False, True)}
    assert text.count("This dock is offline.") == 1
    assert "A password is sent only to a dock that is online." in text


def test_what_is_asked_of_an_offline_dock_may_wait(client, olga, dock):
    lose(dock)
    send(client, olga, dock, command="read-dock")
    assert not ServiceCall.objects.exists()
    send(client, olga, dock, command="read-dock", queue="1")
    assert ServiceCall.objects.get().queue


@pytest.mark.parametrize(("wait", "hours"), [({}, 24), ({"wait": "3600"}, 1), ({"wait": "604800"}, 7 * 24)])
def test_a_command_waits_for_its_dock_as_long_as_was_chosen_and_says_until_when(client, olga, dock, wait, hours):
    lose(dock)
    send(client, olga, dock, command="read-dock", queue="1", **wait)
    call = ServiceCall.objects.get()
    assert call.expires - call.created == timedelta(hours=hours)
    until = f"Waiting for the dock to come online, until {call.expires:%Y-%m-%d %H:%M} UTC."
    assert until in client.get(panel_of(dock)).content.decode()


def test_a_wrong_verification_code_does_not_read_like_a_missing_one(client, olga, dock):
    DeviceAccount.objects.create(device=dock, username="pilot@example.org", status="verification_required")
    login = ServiceCall.objects.create(
        device=dock,
        organization=dock.organization,
        method="login_dji_account",
        status="failed",
        data={"username": "pilot@example.org", "verification_code": ""},
        output={"verification_code_url": "https://account.dji.com/verify"},
    )
    client.force_login(olga)
    text = client.get(panel_of(dock)).content.decode()
    assert "DJI wants a verification code" in text
    assert "not accept" not in text
    login.data["verification_code"] = "***"
    login.save()
    text = client.get(panel_of(dock)).content.decode()
    assert "DJI did not accept the verification code." in text
    assert "DJI wants a verification code" not in text


@pytest.mark.parametrize("wait", ["0", "-1", "60", "x", "9" * 40])
def test_no_other_wait_is_taken(client, olga, dock, wait):
    lose(dock)
    assert send(client, olga, dock, command="read-dock", queue="1", wait=wait).status_code == 400
    assert not ServiceCall.objects.exists()


def test_the_button_of_an_open_call_is_disabled(client, olga, dock):
    send(client, olga, dock, command="read-dock")
    found = buttons(client.get(panel_of(dock)).content.decode())
    assert found.pop("read-dock") == (False, False)
    assert set(found.values()) == {(True, False)}


def test_without_a_worker_nothing_can_be_sent(client, olga, dock, settings):
    settings.COMMANDS_AVAILABLE = False
    client.force_login(olga)
    text = client.get(panel_of(dock)).content.decode()
    assert not any(works for works, _ in buttons(text).values())
    assert "No worker sends commands here: REDIS_URL is not set." in text


def test_a_dock_that_wants_a_code_shows_the_link_and_the_form(client, olga, dock):
    url = "https://account.dji.com/verify?token=1&x=2"
    DeviceAccount.objects.create(
        device=dock, username="pilot@example.org", status="verification_required", verification_code_url=url
    )
    client.force_login(olga)
    text = client.get(page_of(dock)).content.decode()
    link = re.search(r'<a href="https://account[^>]*>', text)[0]
    assert 'target="_blank"' in link
    assert 'rel="noopener noreferrer"' in link
    assert re.search(r'id="details-login" open', text)
    assert 'value="pilot@example.org"' in text


@pytest.mark.parametrize("url", ["http://evil.example.org/", "javascript:alert(1)", "data:text/html,x"])
def test_no_other_link_than_https_is_shown(client, olga, dock, url):
    DeviceAccount.objects.create(device=dock, status="verification_required", verification_code_url=url)
    client.force_login(olga)
    assert url not in client.get(page_of(dock)).content.decode()


@pytest.mark.parametrize(
    "host", ["dji.com.evil.example", "evil-dji.com", "dji.com:pw@evil.example", "evil.example?.dji.com"]
)
def test_a_link_to_another_host_than_djis_is_text_with_a_warning(client, olga, dock, host):
    url = f"https://{host}/"
    DeviceAccount.objects.create(device=dock, status="verification_required", verification_code_url=url)
    client.force_login(olga)
    text = client.get(page_of(dock)).content.decode()
    assert f'href="{url}' not in text
    assert ("Enter no password there" in text) is ("@" not in host)


def test_the_panel_shows_the_open_calls_and_the_latest_ten(client, olga, dock):
    now = timezone.now()
    for _ in range(15):
        ServiceCall.objects.create(
            device=dock, organization=dock.organization, method="unlock_license_update", status="succeeded", closed=now
        )
    first = ServiceCall.objects.order_by("created").first()
    ServiceCall.objects.filter(pk=first.pk).update(status="in_progress", closed=None, percent=40)
    client.force_login(olga)
    text = client.get(panel_of(dock)).content.decode()
    assert text.count('<li class="call"') == 11
    assert str(first.pk) in text
    assert 'value="40"' in text
    assert "The dock works on it: 40 %." in text
    assert ", the schedule</small>" not in text
    ServiceCall.objects.filter(pk=first.pk).update(by_schedule=True)
    assert client.get(panel_of(dock)).content.decode().count(", the schedule</small>") == 1


def test_a_call_that_ends_while_the_panel_is_read_is_in_it_once(client, olga, dock):
    made = ServiceCall.objects.create(
        device=dock, organization=dock.organization, method="unlock_license_update", status="sent"
    )

    def end_it(execute, sql, params, many, context):
        rows = execute(sql, params, many, context)
        is_read = sql.startswith("SELECT") and '"devices_servicecall"."status" IN' in sql
        if is_read and ServiceCall.objects.filter(pk=made.pk, closed=None).update(closed=timezone.now()):
            ServiceCall.objects.filter(pk=made.pk).update(status="succeeded")
        return rows

    client.force_login(olga)
    with connection.execute_wrapper(end_it):
        text = client.get(panel_of(dock)).content.decode()
    assert text.count('<li class="call"') == 1
    assert "data-state>succeeded<" in text


def test_calls_of_a_former_owner_are_not_shown(client, charlie, olga, dock, other_organization):
    send(client, olga, dock, command="read-dock")
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    client.force_login(charlie)
    text = client.get(page_of(dock)).content.decode()
    assert str(ServiceCall.objects.get().pk) not in text
    assert "olga" not in text


def test_hostile_text_of_a_dock_is_escaped(client, olga, dock):
    evil = "<script>alert(1)</script>"
    DeviceAccount.objects.create(device=dock, username=evil, status="logged_in")
    ServiceCall.objects.create(
        device=dock, organization=dock.organization, method=evil, status="failed", result_text=evil, note=evil
    )
    client.force_login(olga)
    call = reverse("admin:devices_servicecall_change", args=[ServiceCall.objects.get().pk])
    for url in (page_of(dock), panel_of(dock), call, "/admin/devices/servicecall/"):
        text = client.get(url).content.decode()
        assert evil not in text, url
        assert "&lt;script&gt;" in text, url
        assert " style=" not in text, url
        assert "<script>" not in text, url


def test_a_long_history_costs_the_panel_no_query(
    client, olga, dock, django_assert_num_queries, django_assert_max_num_queries
):
    def add(count):
        for _ in range(count):
            ServiceCall.objects.create(
                device=dock, organization=dock.organization, method="x", status="failed", requested_by=olga
            )

    client.force_login(olga)
    add(1)
    client.get(panel_of(dock))
    with django_assert_max_num_queries(15) as few:
        client.get(panel_of(dock))
    add(99)
    with django_assert_num_queries(len(few)):
        client.get(panel_of(dock))


# --- many docks --------------------------------------------------------------------------------------


def add_docks(organization, count, prefix="D", *, online=True):
    docks = []
    for number in range(count):
        docks.append(
            Device.objects.create(sn=f"{prefix}{number:03}", model_key="3-2-0", organization=organization, callsign="x")
        )
        DeviceState.objects.create(device=docks[-1], online=online, last_seen=timezone.now())
    return docks


def choose(client, user, action, devices):
    client.force_login(user)
    return client.post(LIST, {"action": action, "_selected_action": [device.pk for device in devices]}, follow=True)


def start(client, user, command, devices, **data):
    client.force_login(user)
    keys = ",".join(str(device.pk) for device in devices)
    return client.post(f"{LIST}commands/{command}/", {"devices": keys, **data}, follow=True)


ACTIONS = [
    "read_aircraft_selected", "read_dock_selected", "update_selected", "update_file_selected", "login_selected",
]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_asks_first(client, olga, dock, action):
    text = choose(client, olga, action, [dock]).content.decode()
    assert "<strong>1</strong> dock will get it" in text
    assert not ServiceCall.objects.exists()


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_whoever_commands_nothing_here_gets_nothing(request, client, who, dock):
    user = request.getfixturevalue(who)
    for response in (choose(client, user, ACTIONS[0], [dock]), start(client, user, "read-dock", [dock])):
        assert dock.callsign not in response.content.decode() or who == "bob"
    assert not ServiceCall.objects.exists()
    assert not ServiceCallBatch.objects.exists()


def test_a_viewer_is_offered_no_action(client, bob, dock):
    client.force_login(bob)
    text = client.get(LIST).content.decode()
    assert "read_dock_selected" not in text
    assert client.post(f"{LIST}commands/read-dock/", {"devices": str(dock.pk)}).status_code == 403


def test_the_question_tells_who_gets_it_who_waits_and_who_is_skipped(client, staff, dock, aircraft, organization):
    [away] = add_docks(organization, 1, "AWAY", online=False)
    text = choose(client, staff, "read_dock_selected", [dock, aircraft, away]).content.decode()
    assert "<strong>1</strong> dock will get it" in text
    assert "<strong>1</strong> is offline" in text
    assert "<strong>1</strong> is skipped" in text
    assert "An aircraft takes no commands itself" in text
    assert str(aircraft) in text
    send(client, staff, away, command="read-dock", queue="1")
    text = choose(client, staff, "read_dock_selected", [away]).content.decode()
    assert "1: This dock is busy: a command of this kind is open." in text  # which is why it may not wait again


@pytest.mark.parametrize(("queue", "asked"), [({}, {"DOCK0001"}), ({"wait": "3600"}, {"DOCK0001", "AWAY000"})])
def test_starting_leads_to_the_batch(client, olga, dock, aircraft, organization, queue, asked):
    [away] = add_docks(organization, 1, "AWAY", online=False)
    response = start(client, olga, "read-dock", [dock, aircraft, away], note="spring", **queue)
    batch = ServiceCallBatch.objects.get()
    assert response.redirect_chain[-1][0] == reverse("admin:devices_servicecallbatch_change", args=[batch.pk])
    assert set(batch.calls.values_list("device__sn", flat=True)) == asked
    assert {"DOCK0001", "AWAY000", aircraft.sn} - asked == {left["sn"] for left in batch.skipped}
    assert (batch.organization, batch.note, batch.requested_by) == (organization, "spring", olga)


def test_a_switch_of_many_asks_again_for_what_is_missing(client, olga, dock):
    text = start(client, olga, "switch", [dock], license_id="", enable="on").content.decode()
    assert "This field is required" in text
    assert not ServiceCallBatch.objects.exists()
    start(client, olga, "switch", [dock], license_id="7", enable="on")
    assert ServiceCall.objects.get().data == {"license_id": 7, "enable": True}


def test_members_are_told_to_choose_docks_of_one_organization(client, olga, dock, other_organization):
    olga.memberships.create(organization=other_organization, role=Role.OPERATOR)
    [other] = add_docks(other_organization, 1)
    for response in (
        choose(client, olga, "read_dock_selected", [dock, other]),
        start(client, olga, "read-dock", [dock, other]),
    ):
        assert "Choose docks of one organization" in response.content.decode()
    assert not ServiceCallBatch.objects.exists()


def test_platform_staff_may_mix_organizations(client, staff, alice, dock, other_organization):
    [other] = add_docks(other_organization, 1)
    start(client, staff, "read-dock", [dock, other])
    batch = ServiceCallBatch.objects.get()
    assert batch.organization is None
    assert batch.calls.count() == 2
    page = reverse("admin:devices_servicecallbatch_change", args=[batch.pk])
    assert client.get(page).status_code == 200
    client.force_login(alice)
    assert client.get(page, follow=True).redirect_chain


def test_docks_of_others_are_not_commanded_by_their_key(client, olga, dock, other_organization):
    [other] = add_docks(other_organization, 1)
    start(client, olga, "read-dock", [dock, other])
    assert [call.device for call in ServiceCall.objects.all()] == [dock]
    assert ServiceCallBatch.objects.get().skipped == []


def test_the_question_names_the_organizations_with_their_docks(client, staff, dock, other_organization):
    add_docks(other_organization, 2)
    text = choose(client, staff, "read_dock_selected", Device.objects.all()).content.decode()
    assert "<li>Harbour Survey: 1</li><li>Northern Grid: 2</li>" in text
    assert "Northern Grid" not in choose(client, staff, "read_dock_selected", [dock]).content.decode()


def test_many_docks_log_in_with_one_account_and_no_row_or_page_has_the_password(client, staff, organization, dock):
    docks = [dock, *add_docks(organization, 2), *add_docks(organization, 1, "AWAY", online=False)]
    form = {name: value for name, value in LOGIN.items() if name != "command"}
    text = start(client, staff, "login", docks, **form).content.decode()
    calls = ServiceCall.objects.all()
    assert {call.device.sn for call in calls} == {"DOCK0001", "D000", "D001"}  # a password does not wait
    assert {json.loads(call.secret.sealed)["password"] for call in calls} == {CANARY}
    assert "canary" not in text + json.dumps(every_row(), default=str)
    assert ServiceCallBatch.objects.get().data["username"] == "pilot@example.org"
    refused = start(client, staff, "login", docks, wait="3600", **form).content.decode()
    assert "a password is sent only to a dock that is online" in refused
    assert "canary" not in refused


def test_a_batch_is_planned_for_a_moment_in_a_zone(client, olga, dock, organization):
    add_docks(organization, 1, "AWAY", online=False)
    day = (timezone.now() + timedelta(days=2)).date()
    later = {"later": "1", "day": str(day), "time": "02:00", "zone": "Asia/Shanghai", "wait": "3600"}
    text = start(client, olga, "read-dock", Device.objects.all(), note="night", **later).content.decode()
    batch = ServiceCallBatch.objects.get()
    assert batch.due_at == datetime(day.year, day.month, day.day, 2, tzinfo=UTC) - timedelta(hours=8)
    assert (batch.queue_seconds, batch.note, batch.started_at) == (3600, "night", None)
    assert f"Will start at {batch.due_at:%Y-%m-%d %H:%M} UTC: 2 docks" in text
    assert "Cancel this batch" in text
    assert "Pier 7" in text
    assert not ServiceCall.objects.exists()


def test_a_batch_is_planned_for_two_oclock_where_each_dock_is(client, olga, dock, organization):
    [far] = add_docks(organization, 1, "FAR")
    zones = {dock: "Asia/Shanghai", far: "America/New_York"}
    for device, zone in zones.items():
        site = Site.objects.create(organization=organization, name=zone, time_zone=zone)
        Device.objects.filter(pk=device.pk).update(site=site)
    question = choose(client, olga, "read_dock_selected", [dock, far]).content.decode()
    assert re.search(r'<input type="checkbox" name="own_zone"[^>]* checked', question)
    day = (timezone.now() + timedelta(days=2)).date()
    later = {"later": "1", "day": str(day), "time": "02:00", "own_zone": "on", "zone": ""}
    text = start(client, olga, "read-dock", [dock, far], **later).content.decode()
    planned = {batch.planned[0]["device"]: batch.due_at for batch in ServiceCallBatch.objects.all()}
    assert planned == {
        device.pk: datetime(day.year, day.month, day.day, 2, tzinfo=ZoneInfo(zone)) for device, zone in zones.items()
    }
    assert "2 batches are planned, one for each time zone." in text
    assert len(re.findall(r"02:00 UTC-[45] \(", text)) == text.count("02:00 UTC+8 (") == 1
    late = start(client, olga, "read-dock", [dock, far], **later | {"day": "2020-01-01"}).content.decode()
    assert "America/New_York: Choose a moment within the next 31 days." in late
    assert ServiceCallBatch.objects.count() == 2
    assert "own_zone" not in choose(client, olga, "read_dock_selected", [far]).content.decode()
    Device.objects.update(site=None)  # for docks that name no zone it is night where the reader is
    client.cookies["zone"] = "Asia/Shanghai"
    question = choose(client, olga, "read_dock_selected", [far]).content.decode()
    assert re.search(r'name="zone" value="Asia/Shanghai"', question)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"day": "2020-01-01"}, "within the next 31 days"),
        ({"day": "2090-01-01"}, "within the next 31 days"),
        ({"day": "tomorrow"}, "Enter a valid date"),
        ({"zone": "Mars/Base"}, "no time zone of this name"),
        ({"zone": ""}, "This field is required"),
        ({"day": "2027-03-28", "time": "02:30", "zone": "Europe/Berlin"}, "no such time on that day"),
    ],
)
def test_a_moment_that_cannot_be_is_refused_and_the_form_comes_back(client, olga, dock, wrong, error):
    tomorrow = str((timezone.now() + timedelta(days=1)).date())
    later = {"later": "1", "day": tomorrow, "time": "02:00", "zone": "UTC"} | wrong
    assert error in start(client, olga, "read-dock", [dock], **later).content.decode()
    assert not ServiceCallBatch.objects.exists()


@pytest.mark.parametrize("command", ["logout", "reboot"])
def test_not_every_command_is_for_many(client, olga, dock, command):
    assert start(client, olga, command, [dock]).status_code == 404


@pytest.mark.parametrize("keys", ["", "x", "1,2,", "9" * 30])
def test_a_malformed_choice_leads_back_to_the_list(client, olga, keys):
    client.force_login(olga)
    response = client.post(f"{LIST}commands/read-dock/", {"devices": keys}, follow=True)
    assert "Choose the docks" in response.content.decode()


def test_two_hundred_docks_are_asked_about_with_as_many_queries_as_one(
    client, staff, organization, django_assert_num_queries, django_assert_max_num_queries
):
    docks = add_docks(organization, 200)
    choose(client, staff, "read_dock_selected", docks[:1])
    with django_assert_max_num_queries(30) as few:  # of the list of devices, too, with its filters
        choose(client, staff, "read_dock_selected", docks[:1])
    with django_assert_num_queries(len(few)):
        text = choose(client, staff, "read_dock_selected", docks).content.decode()
    assert "<strong>200</strong> docks will get it" in text


def test_what_is_asked_is_audited(client, olga, dock):
    send(client, olga, dock, **LOGIN)
    [event] = AuditEvent.objects.filter(action="command")
    assert (event.user, event.object_id) == (olga, str(dock.pk))
    assert "canary" not in json.dumps(event.after)


def test_a_second_attempt_is_linked_to_the_first(client, olga, dock):
    first = asking.issue(
        device=dock,
        method="login_dji_account",
        data={"username": "pilot@example.org", "password": "x"},
        actor=Actor(AuditEvent.Through.ADMIN, user=olga),
    )
    ServiceCall.objects.filter(pk=first.pk).update(status="failed", closed=timezone.now())
    DeviceAccount.objects.update(status="verification_required")
    send(client, olga, dock, **LOGIN)
    assert ServiceCall.objects.exclude(pk=first.pk).get().retry_of == first
