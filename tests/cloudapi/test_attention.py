"""The dashboard: what needs a person now, and nothing false."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from cloudapi.admin import start_page
from cloudapi.attention import Level
from cloudapi.diagnosis import checks
from devices.broker import accounts
from devices.models import Device, DeviceAccount, DeviceState, ServiceCall, Site
from devices.moving import transfer
from licenses.models import LicenseList, UnlockLicense
from mqtt_bridge.models import Exchange, Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode, BindingFailure, Membership, Organization
from tests.world import world  # noqa: F401


@pytest.fixture(autouse=True)
def _license(settings):
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1", "key", "license"
    settings.DOCK_MQTT_URL = "ssl://mqtt.example.org:8883"


@pytest.fixture
def bridge(db):
    now = timezone.now()
    return Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)


@pytest.fixture
def offline(organization):
    return add_dock(organization, "PIER", online=False, last_seen=timezone.now() - timedelta(days=2))


def add_dock(organization, sn, **state):
    device = Device.objects.create(sn=sn, model_key="3-2-0", organization=organization)
    if state:
        DeviceState.objects.create(device=device, **state)
    return device


def overview(user):
    return start_page.overview(user, bridge=start_page.bridge_status())


def texts(items):
    return [item.text for item in items]


def tiles(found):
    return {tile.text: tile.count for tile in found.tiles}


@pytest.mark.usefixtures("bridge", "aircraft")
def test_wrong_clocks_are_counted_and_listed(alice, charlie, client, dock):
    for skew, count in ((300_000, 0), (-400_000, 1)):
        DeviceState.objects.filter(device=dock).update(clock_skew_ms=skew)
        found = [item for item in overview(alice).problems if "clock" in item.text]
        assert [item.text for item in found] == ["1 device has a wrong clock"] * count
    assert not [item for item in overview(charlie).problems if "clock" in item.text]
    client.force_login(alice)
    listed = client.get(f"/admin/devices/device/?{found[0].query}").context["cl"].queryset
    assert list(listed) == [dock]


@pytest.mark.usefixtures("bridge")
def test_docks_that_still_enrol_or_soon_lose_their_secret_are_counted_and_listed(
    alice, charlie, client, organization, settings
):
    settings.MQTT_AUTH_SECRET = "s" * 50
    actor = Actor(AuditEvent.Through.COMMAND)
    now = timezone.now()
    Device.objects.create(sn="ENROLS", model_key="3-2-0", organization=organization, enrolled_at=now)
    ends = Device.objects.create(sn="ENDS", model_key="3-2-0", organization=organization, claim="code")
    old, _ = accounts.issue(device=ends, actor=actor)
    accounts.note_connections([("ENDS", now, "192.0.2.1")])
    accounts.rotate(old, actor=actor, valid_for=timedelta(days=1))
    found = {item.text: item for item in overview(alice).problems}
    for text, sn in {
        "1 dock still uses an enrolment account": "ENROLS",
        "1 dock uses a secret that ends within 3 days": "ENDS",
    }.items():
        client.force_login(alice)
        listed = client.get(f"{reverse(found[text].view)}?{found[text].query}").context["cl"].result_list
        assert [dock.sn for dock in listed] == [sn]
    assert not [item for item in overview(charlie).problems if "enrolment" in item.text]
    settings.MQTT_AUTH_SECRET = ""
    assert not [item for item in overview(alice).problems if "enrolment" in item.text or "secret" in item.text]


@pytest.mark.usefixtures("bridge", "dock", "offline")
def test_docks_are_counted_by_presence(alice, organization):
    add_dock(organization, "NEW")
    found = overview(alice)
    assert tiles(found) == {"docks offline": 1, "docks online": 1, "never connected": 1, "docks in all": 3}
    assert [device.sn for device in found.offline] == ["PIER"]


@pytest.mark.usefixtures("bridge", "offline")
def test_an_offline_dock_is_a_problem_and_says_since_when(alice):
    (problem,) = overview(alice).problems
    assert problem.text == "1 dock is offline"
    assert problem.detail == "the longest for 2\xa0days"
    assert "presence=offline" in problem.query


@pytest.mark.usefixtures("bridge", "aircraft")
def test_an_aircraft_in_its_dock_is_no_dock_offline(alice):
    assert tiles(overview(alice))["docks in all"] == 1


@pytest.mark.usefixtures("bridge", "offline")
def test_a_dock_switched_off_on_purpose_needs_nobody(alice):
    Device.objects.update(is_enabled=False)
    assert overview(alice).problems == []


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("silence", [None, timedelta(minutes=5)])
def test_nobody_is_declared_offline_while_the_bridge_is_stale(alice, silence):
    if silence:
        beat_at = timezone.now() - silence
        Heartbeat.objects.create(instance="bridge", started_at=beat_at, beat_at=beat_at, round_trip_ms=4)
    found = overview(alice)
    assert found.is_stale
    assert tiles(found) == {"docks, states unknown": 1}
    assert found.problems == []
    assert list(found.offline) == []


@pytest.mark.usefixtures("bridge", "offline")
def test_a_member_of_another_organization_sees_none_of_it(charlie, organization, code):
    Exchange.objects.create(
        organization=organization, gateway_sn="PIER", received_at=timezone.now(), outcome="quarantined"
    )
    BindingFailure.objects.create(gateway_sn="PIER", pair_digest="1", reason="wrong", last_at=timezone.now())
    Device.objects.create(sn="STRANGER", model_key="3-1-0")
    BindingCode.objects.update(expires_at=timezone.now() + timedelta(days=1))
    found = overview(charlie)
    assert tiles(found)["docks in all"] == 0
    assert (found.problems, found.notices, list(found.offline), list(found.organizations)) == ([], [], [], [])


@pytest.mark.usefixtures("bridge")
def test_a_gateway_locked_out_comes_first(staff, offline):
    for number in range(5):
        BindingFailure.objects.create(
            gateway_sn="GUESSER", pair_digest=str(number), reason="wrong", last_at=timezone.now()
        )
    assert texts(overview(staff).problems)[:2] == [
        "1 gateway is locked out after wrong codes",
        "1 dock is offline",
    ]


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(("wrong", "level"), [(20, Level.NOTICE), (21, Level.WARNING)])
def test_many_wrong_codes_over_all_gateways_raise_an_alert(staff, wrong, level):
    rows = [
        BindingFailure(gateway_sn=f"G{number}", pair_digest="1", reason="wrong", last_at=timezone.now())
        for number in range(wrong)
    ]
    BindingFailure.objects.bulk_create(rows)
    found = overview(staff)
    (item,) = [*found.problems, *found.notices]
    assert (item.text, item.level) == (f"{wrong} wrong codes in the last hour", level)


@pytest.mark.usefixtures("bridge")
def test_refused_binds_and_quarantined_messages_of_a_day_are_counted(alice, organization):
    now = timezone.now()
    common = {"organization": organization, "gateway_sn": "G", "channel": "requests"}
    bind = {**common, "method": "airport_organization_bind", "outcome": "answered"}
    Exchange.objects.create(**bind, reason="code expired", received_at=now)
    Exchange.objects.create(**bind, reason="", received_at=now)
    Exchange.objects.create(**bind, reason="code expired", received_at=now - timedelta(hours=25))
    Exchange.objects.create(**common, outcome="quarantined", received_at=now)
    assert texts(overview(alice).problems) == ["1 bind was refused", "1 message was not understood"]


@pytest.mark.usefixtures("bridge")
def test_the_link_to_refused_binds_lists_them_and_no_others(client, alice, organization):
    now = timezone.now()
    for method, outcome, reason in (
        ("airport_organization_bind", "answered", "code expired"),
        ("airport_organization_bind", "answered", ""),
        ("airport_organization_get", "answered", "code expired"),
        ("airport_organization_bind", "quarantined", "no list"),
    ):
        Exchange.objects.create(
            organization=organization, gateway_sn="G", method=method, outcome=outcome, reason=reason, received_at=now
        )
    [item] = [item for item in overview(alice).problems if item.text == "1 bind was refused"]
    client.force_login(alice)
    [row] = client.get(f"{reverse(item.view)}?{item.query}").context["cl"].result_list
    assert (row.method, row.outcome, row.reason) == ("airport_organization_bind", "answered", "code expired")


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(
    ("method", "reason", "success", "said"),
    [
        ("config", "no DJI license configured", "config", "1 gateway was refused the DJI license"),
        ("airport_organization_get", "code expired", "airport_organization_bind", "1 gateway had its code refused"),
    ],
)
def test_a_gateway_refused_before_it_could_bind_is_a_problem_until_it_succeeds(staff, method, reason, success, said):
    common = {"gateway_sn": "UNCLAIMED", "channel": "requests", "outcome": "answered"}
    for minutes in (5, 4):
        Exchange.objects.create(
            **common, method=method, reason=reason, received_at=timezone.now() - timedelta(minutes=minutes)
        )
    assert texts(overview(staff).problems) == [said]
    Exchange.objects.create(**common, method=success, received_at=timezone.now())
    assert overview(staff).problems == []


@pytest.mark.usefixtures("bridge")
def test_a_server_without_license_is_a_problem_before_there_is_any_organization(staff, settings):
    settings.DJI_APP_LICENSE = ""
    (problem,) = overview(staff).problems
    assert (problem.text, problem.level) == ("The server has no DJI license", Level.CRITICAL)


def make_call(dock, status, **fields):
    method = fields.pop("method", "unlock_license_update")
    return ServiceCall.objects.create(
        device=dock, organization=dock.organization, method=method, status=status, **fields
    )


@pytest.mark.usefixtures("bridge")
def test_commands_that_did_not_succeed_are_counted_until_somebody_tries_again(client, alice, charlie, dock):
    failed = make_call(dock, "failed")
    for status in ("timed_out", "expired", "succeeded", "canceled"):
        make_call(dock, status)
    make_call(dock, "rejected", created=timezone.now() - timedelta(hours=25))
    [item] = overview(alice).problems
    assert item.text == "3 commands did not succeed"
    client.force_login(alice)
    assert len(client.get(f"{reverse(item.view)}?{item.query}").context["cl"].result_list) == 3
    make_call(dock, "sent", retry_of=failed)
    assert texts(overview(alice).problems) == ["2 commands did not succeed"]
    assert overview(charlie).problems == []


@pytest.mark.usefixtures("bridge")
def test_a_dock_that_waits_for_a_code_is_a_problem(client, alice, charlie, dock):
    DeviceAccount.objects.create(device=dock, status="verification_required")
    [item] = overview(alice).problems
    assert item.text == "1 dock waits for a verification code"
    client.force_login(alice)
    assert list(client.get(f"{reverse(item.view)}?{item.query}").context["cl"].result_list) == [dock]
    assert overview(charlie).problems == []


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(
    ("age", "queue", "online", "waits"),
    [
        (30, False, True, True),
        (5, False, True, False),
        (30, True, True, True),
        (30, True, False, False),
    ],
)
def test_a_command_that_no_worker_takes_is_critical(client, staff, dock, age, queue, online, waits):
    now = timezone.now()
    DeviceState.objects.filter(device=dock).update(
        online=online, last_seen=now, connected_since=now - timedelta(hours=1)
    )
    make_call(dock, "queued", queue=queue, created=now - timedelta(seconds=age))
    found = [item for item in overview(staff).problems if item.text == "1 command waits to be sent"]
    assert bool(found) is waits
    for item in found:
        assert (item.level, item.detail) == (Level.CRITICAL, "Is a Celery worker running?")
        client.force_login(staff)
        assert client.get(f"{reverse(item.view)}?{item.query}").context["cl"].result_count == 1


@pytest.mark.usefixtures("bridge")
def test_codes_about_to_expire_or_used_up_are_good_to_know(alice, organization):
    now = timezone.now()
    for days, uses in ((1, 0), (2, 0), (6, 0), (6, 2), (-1, 2)):
        row, _ = BindingCode.objects.issue(organization=organization, max_uses=2, expires_at=now + timedelta(days=days))
        BindingCode.objects.filter(pk=row.pk).update(uses=uses)
    found = overview(alice)
    assert texts(found.notices) == ["2 binding codes expire within 3 days", "1 binding code is used up"]
    assert found.problems == []


@pytest.mark.usefixtures("bridge")
def test_an_organization_without_dji_license_is_a_problem(staff, alice, organization, other_organization, settings):
    settings.DJI_APP_LICENSE = ""
    organization.app_id, organization.app_key, organization.app_license = "1", "key", "license"
    organization.save()
    assert texts(overview(staff).problems) == ["1 organization has no DJI license"]
    assert overview(alice).problems == []


@pytest.mark.usefixtures("bridge")
def test_unclaimed_devices_are_for_platform_staff(staff, alice):
    Device.objects.create(sn="STRANGER", model_key="3-1-0")
    assert texts(overview(staff).notices) == ["1 device belongs to nobody"]
    assert overview(alice).notices == []


@pytest.mark.usefixtures("bridge")
def test_an_ignored_stranger_needs_nobody(staff):
    Device.objects.create(sn="STRANGER", model_key="3-1-0", ignored_at=timezone.now())
    assert overview(staff).notices == []


@pytest.mark.usefixtures("bridge")
def test_both_organizations_are_told_of_a_transfer_for_a_week(staff, alice, charlie, bob, dock, other_organization):
    transfer.move([dock], other_organization, actor=Actor(AuditEvent.Through.ADMIN, staff))
    for user in (alice, bob, charlie):
        assert "1 device was moved to or from your organization" in texts(overview(user).notices)
    assert not any("moved" in text for text in texts(overview(staff).notices))
    AuditEvent.objects.update(at=timezone.now() - timedelta(days=8))
    assert not any("moved" in text for text in texts(overview(alice).notices))


@pytest.mark.usefixtures("bridge", "dock")
def test_the_page_says_that_nothing_needs_her(client, alice):
    client.force_login(alice)
    assert "Nothing needs you now." in client.get("/admin/").content.decode()


@pytest.mark.usefixtures("offline")
def test_every_page_says_that_the_bridge_is_gone(client, alice):
    client.force_login(alice)
    for page in ("/admin/", "/admin/organizations/bindingcode/"):
        text = client.get(page).content.decode()
        assert "No connection to the docks." in text
        assert "Nothing needs you now." not in text


@pytest.mark.usefixtures("bridge")
def test_no_banner_while_the_bridge_lives(client, alice):
    client.force_login(alice)
    assert "No connection to the docks." not in client.get("/admin/").content.decode()


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("visitor", ["staff", "alice", "bob"])
def test_every_link_of_the_dashboard_opens(client, request, visitor, settings, monkeypatch):
    monkeypatch.setattr(checks, "run", lambda: iter([]))  # the page "System" takes seconds without a worker
    settings.DJI_APP_LICENSE = ""
    for number in range(5):
        BindingFailure.objects.create(gateway_sn="G", pair_digest=str(number), reason="wrong", last_at=timezone.now())
    BindingCode.objects.update(expires_at=timezone.now() + timedelta(days=1))
    client.force_login(request.getfixturevalue(visitor))
    text = client.get("/admin/").content.decode()
    links = {unescape(link) for link in re.findall(r'href="(/admin/[^"]+)"', text)} - {"/admin/logout/"}
    assert any("?" in link for link in links)
    for link in links:
        assert client.get(link).status_code == 200, link  # a filter that a list does not know redirects to ?e=1


@pytest.mark.usefixtures("bridge", "dock", "offline")
@pytest.mark.parametrize("visitor", ["staff", "alice"])
def test_the_dashboard_asks_a_constant_number_of_queries(client, request, visitor, organization):
    client.force_login(request.getfixturevalue(visitor))
    client.get("/admin/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/admin/")
    for number in range(15):
        other = Organization.objects.create(name=f"Customer {number}")
        for sn in ("A", "B"):
            add_dock(other, f"{sn}{number}", online=False, last_seen=timezone.now())
        add_dock(organization, f"C{number}", online=False, last_seen=timezone.now())
        BindingCode.objects.issue(organization=organization, expires_at=timezone.now() + timedelta(days=1))
    with CaptureQueriesContext(connection) as many:
        client.get("/admin/")
    assert len(many) == len(few) <= 29


# --- unlock licenses -----------------------------------------------------------------------------


def add_license(dock, key, days, domain=0, *, enabled=True):
    end = timezone.now() + timedelta(days=days)
    fields = {"device": dock, "license_id": key, "end_time": end, "enabled": enabled}
    twins = UnlockLicense.objects.filter(device=dock, license_id=key)
    fields["in_other_inventory"] = twins.update(in_other_inventory=True)
    UnlockLicense.objects.create(device_model_domain=domain, **fields)


def add_list(dock, domain, **fields):
    LicenseList.objects.create(
        device=dock, device_model_domain=domain, complete=True, fetched_at=timezone.now(), **fields
    )


def test_the_ends_of_licenses_are_counted_as_their_lists_count_them(client, alice, dock):
    for key, days in ((1, -1), (2, 3), (3, 20), (4, 200)):
        add_license(dock, key, days)
        add_license(dock, key, days, 3)
    add_license(dock, 5, -1, enabled=False)
    client.force_login(alice)
    overview = client.get("/admin/").context["attention"]
    items = {item.query: item.text for item in (*overview.problems, *overview.notices) if "state=exp" in item.query}
    assert items == {
        "state=expired-enabled": "1 unlock license has expired but is still on",
        "state=expiring-7": "1 unlock license ends within 7 days",
        "state=expiring-30": "2 unlock licenses end within 30 days",
    }
    for query, text in items.items():
        assert client.get(f"/admin/licenses/unlocklicense/?{query}").context["cl"].result_count == int(text.split()[0])


def test_docks_never_read_and_inconsistent_ones_are_counted(client, alice, dock, organization):
    other = Device.objects.create(sn="OTHER", model_key="3-2-0", organization=organization)
    for domain in (0, 3):
        add_list(other, domain, consistence=False)
    client.force_login(alice)
    overview = client.get("/admin/").context["attention"]
    items = {item.query.split("&")[-1]: item for item in (*overview.problems, *overview.notices)}
    for name, found in (("never", dock), ("inconsistent", other)):
        item = items[f"licenses={name}"]
        assert item.text.startswith("1 dock ")
        assert list(client.get(f"/admin/devices/device/?{item.query}").context["cl"].result_list) == [found]


def test_nobody_is_told_of_the_licenses_of_others(client, charlie, dock):
    add_license(dock, 1, -1)
    client.force_login(charlie)
    assert b"unlock license" not in client.get("/admin/").content.split(b"content-related")[0]


@pytest.mark.parametrize(
    ("count", "words"), [(8, None), (9, "Little room for more unknown"), (10, "No room for more unknown")]
)
def test_platform_staff_learn_that_there_is_no_room_for_strangers(staff, settings, count, words):
    settings.UNCLAIMED_DEVICE_CAP = 10
    for number in range(count):
        Device.objects.create(sn=f"STRANGER{number}")
    problems = start_page.overview(staff, bridge=start_page.bridge_status()).problems
    told = [item for item in problems if "unknown devices" in item.text]
    assert [item.text.startswith(words) for item in told] == ([True] if words else [])


def test_the_start_page_looks_once_which_models_its_user_may_open(client, staff, monkeypatch):
    looks, build = [], AdminSite._build_app_dict
    monkeypatch.setattr(AdminSite, "_build_app_dict", lambda *given: looks.append(1) or build(*given))
    client.force_login(staff)
    assert "Unlock licenses" in client.get("/admin/").content.decode()
    assert len(looks) == 1


# --- alarms that are none ------------------------------------------------------------------------


@pytest.mark.usefixtures("bridge")
def test_a_used_up_code_for_one_dock_is_no_news(alice, organization):
    for uses in (1, 2):
        row, _ = BindingCode.objects.issue(organization=organization, max_uses=uses)
        BindingCode.objects.filter(pk=row.pk).update(uses=uses)
    assert texts(overview(alice).notices) == ["1 binding code is used up"]


@pytest.mark.usefixtures("bridge")
def test_what_happens_to_a_device_disabled_on_purpose_is_no_news(alice, organization, dock):
    Device.objects.update(is_enabled=False)
    DeviceAccount.objects.create(device=dock, status="verification_required")
    common = {"organization": organization, "gateway_sn": dock.sn, "channel": "requests", "method": "config"}
    Exchange.objects.create(**common, outcome="answered", reason="device disabled", received_at=timezone.now())
    found = overview(alice)
    assert (found.problems, found.notices) == ([], [])


@pytest.mark.usefixtures("bridge")
def test_a_scheduled_read_that_fails_is_a_notice_until_one_succeeds(client, alice, dock):
    common = {"method": "unlock_license_list", "subject": "unlock_license_list:3"}
    for minutes in (20, 10):
        at = timezone.now() - timedelta(minutes=minutes)
        make_call(dock, "timed_out", **common, by_schedule=True, created=at)
    found = overview(alice)
    [item] = [item for item in found.notices if item.kind == "schedule_fails"]
    assert (found.problems, item.text) == ([], "1 scheduled read of licenses fails")
    client.force_login(alice)
    assert client.get(f"{reverse(item.view)}?{item.query}").context["cl"].result_count == 1
    make_call(dock, "succeeded", **common)
    assert not [item for item in overview(alice).notices if item.kind == "schedule_fails"]


@pytest.mark.usefixtures("bridge")
def test_docks_are_counted_by_site_with_those_offline_first_and_lead_to_its_docks(
    client, alice, charlie, organization, offline
):
    now = timezone.now()
    north, south = (Site.objects.create(organization=organization, name=name) for name in ("North", "South"))
    Device.objects.filter(pk=offline.pk).update(site=south)
    for number in range(2):
        dock = add_dock(organization, f"D{number}", online=True, last_seen=now)
        Device.objects.filter(pk=dock.pk).update(site=north)
    client.force_login(alice)
    page = client.get("/admin/")
    found = [(row.name, row.docks, row.offline) for row in page.context["attention"].sites]
    assert found == [("South", 1, 1), ("North", 2, 0)]
    [link] = re.findall(r'href="([^"]*site=[^"]*presence=offline[^"]*)"', page.content.decode())
    assert list(client.get(unescape(link)).context["cl"].queryset) == [offline]
    assert overview(charlie).sites == []


@pytest.mark.usefixtures("bridge")
def test_an_organization_with_several_docks_offline_leads_to_these_docks(client, staff, organization):
    gone = timezone.now() - timedelta(minutes=5)
    docks = [add_dock(organization, sn, online=False, last_seen=gone) for sn in ("QUAY", "PIER")]
    add_dock(organization, "ONLINE", online=True, last_seen=timezone.now())
    add_dock(Organization.objects.create(name="Another"), "ELSEWHERE", online=False, last_seen=gone)
    client.force_login(staff)
    page = client.get("/admin/").content.decode()
    [link] = re.findall(rf'href="([^"]+)">{organization.name}<', page)
    assert set(client.get(unescape(link)).context["cl"].result_list) == set(docks)


# --- the page itself -----------------------------------------------------------------------------


@pytest.mark.usefixtures("bridge")
def test_the_page_says_as_of_when_it_is(client, alice):
    client.force_login(alice)
    before = timezone.now()
    said = re.search(r"As of (\d\d:\d\d:\d\d) UTC", client.get("/admin/").content.decode())
    assert f"{before:%H:%M:%S}" <= said[1] <= f"{timezone.now():%H:%M:%S}"


@pytest.mark.parametrize(
    ("visitor", "first_step"),
    [
        ("staff", "/admin/organizations/organization/add/"),
        ("alice", "/admin/organizations/bindingcode/add/"),
        ("bob", "Ask a manager"),
    ],
)
@pytest.mark.usefixtures("bridge")
def test_who_has_no_docks_yet_reads_what_to_do(client, request, visitor, first_step, organization):
    client.force_login(request.getfixturevalue(visitor))
    page = client.get("/admin/").content.decode().split("content-related")[0]
    assert first_step in page
    assert "Nothing needs you now." not in page
    add_dock(organization, "FIRST", online=True, last_seen=timezone.now())
    assert "No docks yet" not in client.get("/admin/").content.decode()


@pytest.mark.usefixtures("offline")
def test_the_banner_alone_is_there_for_open_pages(client, alice):
    assert client.get("/admin/bridge/").status_code == 302
    client.force_login(alice)
    assert b"No connection to the docks." in client.get("/admin/bridge/").content
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=4)
    assert client.get("/admin/bridge/").content.strip() == b""


def test_the_header_names_organization_and_role(rf, alice, other_organization, staff):
    def header(user):
        request = rf.get("/admin/")
        request.user = User.objects.get(pk=user.pk)  # each request loads its own
        context = admin.site.each_context(request) | {"user": request.user}
        return " ".join(render_to_string("admin/header_membership.html", context).split())

    assert "Harbour Survey (manager)" in header(alice)
    assert "/api/docs/" in header(alice)
    assert "Platform staff" in header(staff)
    Membership.objects.create(user=alice, organization=other_organization, role="viewer")
    assert 'title="Harbour Survey, Northern Grid">2 organizations<' in header(alice)
