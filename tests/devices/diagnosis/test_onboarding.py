"""How far a gateway came: each step, and where it stopped and why."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from devices.diagnosis.onboarding import Status, onboarding
from devices.models import Device, DeviceState
from mqtt_bridge.models import Exchange
from organizations.credentials import LOCKED_OUT, WRONG

pytestmark = pytest.mark.django_db
NOW = timezone.now()
SN = "NEWDOCK"


@pytest.fixture
def stranger():
    device = Device.objects.create(sn=SN, model_key="3-2-0")
    DeviceState.objects.create(device=device, online=True, last_seen=NOW)
    return device


def exchange(method, reply, *, reason="", seconds=120, outcome="answered", sn=SN):
    return Exchange.objects.create(
        gateway_sn=sn,
        channel="status" if method == "update_topo" else "requests",
        method=method,
        received_at=NOW - timedelta(seconds=seconds),
        reply=json.dumps(reply),
        outcome=outcome,
        reason=reason,
    )


def read(device):
    return onboarding(device.sn, device=device, visible=Exchange.objects.all(), now=NOW)


def step(device, method):
    return next(step for step in read(device).steps if step.method == method)


def test_the_steps_are_those_of_djis_page_in_its_order(stranger):
    assert [step.method for step in read(stranger).steps] == [
        "",
        "config",
        "airport_bind_status",
        "airport_organization_get",
        "airport_organization_bind",
        "update_topo",
    ]


def test_a_gateway_nobody_heard_of_should_check_address_and_password():
    found = read(Device.objects.create(sn="UNHEARD"))
    assert found.status == "waiting"
    assert "user name and password" in found.words
    assert found.steps[0].status == Status.MISSING


def test_a_step_that_did_not_happen_is_not_called_hidden(stranger):
    assert step(stranger, "config").words == "Not yet."
    stranger.created = NOW - timedelta(days=31)
    assert step(stranger, "config").words == "Not in the last 30 days."


def test_a_step_of_a_former_owner_is_called_hidden_and_stays_hidden(dock, other_organization):
    exchange("config", {"result": 0}, sn=dock.sn)
    Exchange.objects.update(organization=other_organization)
    visible = Exchange.objects.filter(organization=dock.organization)
    found = onboarding(dock.sn, device=dock, visible=visible, now=NOW).steps[1]
    assert (found.words, found.at, found.exchange) == ("Before it was yours; not shown.", None, None)


def test_a_gateway_of_somebody_else_shows_nothing_else(stranger):
    exchange("config", {"result": 0})
    found = onboarding(stranger.sn, device=None, visible=Exchange.objects.none(), now=NOW)
    assert {step.words for step in found.steps[1:]} == {"Not shown: the gateway is not yours."}


def test_a_gateway_that_never_asked_for_the_license_is_named(stranger):
    exchange("update_topo", {"result": 0})
    assert "never asked for the DJI license" in read(stranger).words


@pytest.mark.parametrize(
    ("reason", "words"),
    [("device disabled", "Enable it"), ("no DJI license configured", "app ID, key and license"), ("new", "new")],
)
def test_a_refused_license_says_why(stranger, reason, words):
    exchange("config", {"result": 200001, "output": {}}, reason=reason)
    found = read(stranger)
    assert found.status == "failed"
    assert "DJI license" in found.words
    assert words in found.words


def test_a_dock_that_left_after_the_license_may_not_have_accepted_it(stranger):
    row = exchange("config", {"result": 0, "app_id": "1"}, seconds=5)
    assert "is checking" in read(stranger).words
    Exchange.objects.filter(pk=row.pk).update(received_at=NOW - timedelta(minutes=5))
    assert "did not accept" in read(stranger).words


def test_an_unbound_dock_waits_for_the_technician(stranger):
    exchange("config", {"result": 0}, seconds=30)
    exchange("airport_bind_status", {"result": 0, "output": {"bind_status": [{"is_device_bind_organization": False}]}})
    Exchange.objects.filter(method="airport_bind_status").update(received_at=NOW)
    assert "Waiting for organization ID and binding code" in read(stranger).words


def test_a_wrong_code_is_explained_with_the_code_the_dock_got(stranger):
    exchange("airport_bind_status", {"result": 0, "output": {"bind_status": []}}, seconds=60)
    exchange("airport_organization_get", {"result": 210230, "output": {}}, reason=WRONG, seconds=30)
    found = read(stranger)
    assert found.status == "failed"
    assert "Stopped at step “Organization and code”" in found.words
    assert WRONG in found.words
    assert "letter by letter" in found.words
    assert "210230, the organization could not be found" in found.words


def test_a_half_refused_binding_names_the_device_the_code_and_what_was_bound(stranger):
    infos = [{"sn": SN, "err_code": 0}, {"sn": "DRONE", "err_code": 210232}]
    reason = "DRONE: bound to another organization"
    exchange("airport_organization_bind", {"result": 0, "output": {"err_infos": infos}}, reason=reason)
    found = step(stranger, "airport_organization_bind")
    assert found.status == Status.FAILED
    assert "DRONE 210232, the device belongs to another organization" in found.words
    assert "Its owner has to release it first." in found.words
    assert f"Bound: {SN}." in found.words


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"organization_name": "Harbour Survey"}, "Pilot 2 shows “Harbour Survey” for confirmation."),
        ({"organization_name": ""}, "Pilot 2 asks for confirmation."),
        ({}, "Pilot 2 asks for confirmation."),
    ],
)
def test_the_name_that_pilot_2_shows_is_quoted_only_if_the_answer_has_one(stranger, output, words):
    exchange("airport_organization_get", {"result": 0, "output": output})
    assert step(stranger, "airport_organization_get").words == f"ID and code are right; {words}"
    exchange("airport_organization_bind", {"result": 0, "output": output})
    assert step(stranger, "airport_organization_bind").words == "Bound."


def test_a_message_that_could_not_be_read_is_a_failed_step(stranger):
    exchange("airport_organization_bind", {}, outcome="quarantined", reason="data_invalid: bind_devices")
    assert "could not read" in read(stranger).words


def test_a_newer_success_outweighs_an_older_failure(stranger):
    exchange("airport_organization_get", {"result": 210230}, reason=WRONG, seconds=90)
    Exchange.objects.all().update(received_at=NOW - timedelta(hours=1))
    exchange("airport_bind_status", {"result": 0, "output": {"bind_status": []}}, seconds=5)
    assert read(stranger).status == "waiting"


def test_a_bound_dock_is_done_and_needs_no_code(dock):
    exchange("airport_bind_status", {"output": {"bind_status": [{"is_device_bind_organization": True}]}}, sn=dock.sn)
    found = read(dock)
    assert (found.status, found.words) == ("ok", "Bound to Harbour Survey.")
    assert step(dock, "airport_organization_get").status == Status.SKIPPED
    assert "all bound" in step(dock, "airport_bind_status").words


def test_a_bound_dock_whose_binding_was_refused_since_is_no_success(dock):
    Device.objects.filter(pk=dock.pk).update(bound_at=NOW - timedelta(days=1))
    dock.refresh_from_db()
    exchange("airport_organization_bind", {"result": 210231}, reason="code expired", sn=dock.sn)
    assert read(dock).status == "failed"


def try_foreign_code(dock):
    Device.objects.filter(pk=dock.pk).update(bound_at=NOW - timedelta(days=1))
    dock.refresh_from_db()
    infos = [{"sn": sn, "err_code": 210232} for sn in (dock.sn, "DRONE0001")]
    reason = "; ".join(f"{info['sn']}: bound to another organization" for info in infos)
    exchange("airport_organization_bind", {"result": 0, "output": {"err_infos": infos}}, reason=reason, sn=dock.sn)


def test_another_organizations_code_at_a_bound_dock_is_a_notice(dock):
    try_foreign_code(dock)
    found = read(dock)
    assert found.status == "notice"
    assert found.words.startswith("Bound to Harbour Survey. Another organization's code was tried here and refused;")
    assert step(dock, "airport_organization_bind").status == Status.REFUSED


def test_an_aircraft_of_another_organization_in_a_bound_dock_is_a_failure(dock):
    try_foreign_code(dock)
    Exchange.objects.update(reason="DRONE0001: bound to another organization")
    found = read(dock)
    assert found.status == "failed"
    assert "Its owner has to release it first." in found.words


def test_a_topology_with_a_remark_shows_it(dock):
    exchange("update_topo", {"result": 0}, reason="DRONE: belongs to another organization", sn=dock.sn)
    assert "DRONE: belongs to another organization" in step(dock, "update_topo").words


@pytest.mark.parametrize("reply", ["", "[1, 2", "null", '{"result": "x", "output": 7}', '{"output": {"err_infos": 1}}'])
@pytest.mark.parametrize(
    "method", ["config", "airport_bind_status", "airport_organization_get", "airport_organization_bind"]
)
def test_an_odd_reply_breaks_no_page(stranger, method, reply):
    row = exchange(method, {})
    Exchange.objects.filter(pk=row.pk).update(reply=reply)
    assert read(stranger).words


def test_reading_takes_seven_queries(stranger, django_assert_num_queries):
    for method in ("config", "airport_bind_status", "update_topo") * 5:
        exchange(method, {"result": 0})
    device = Device.objects.select_related("state").get(pk=stranger.pk)
    with django_assert_num_queries(7):
        read(device)


@pytest.mark.parametrize(("visitor", "linked"), [("staff", True), ("alice", False)])
def test_platform_staff_are_led_from_a_lockout_to_where_they_lift_it(client, request, dock, visitor, linked):
    row = exchange("airport_organization_get", {"result": 210230}, reason=LOCKED_OUT, sn=dock.sn)
    Exchange.objects.filter(pk=row.pk).update(organization=dock.organization)
    client.force_login(request.getfixturevalue(visitor))
    text = client.get(f"/admin/devices/device/{dock.pk}/change/").content.decode()
    assert "Wait 10 minutes" in text
    assert ("bindingfailure/?locked=yes" in text) is linked
