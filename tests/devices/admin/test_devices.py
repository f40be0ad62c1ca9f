"""The list of devices and a device's page: what is shown, to whom, with how many queries."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.broker import accounts
from devices.models import BrokerAccount, Device, DeviceState
from mqtt_bridge.models import Exchange, Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent, Organization, Role
from tests.cast import member

pytestmark = pytest.mark.django_db
LIST = "/admin/devices/device/"
ADD = f"{LIST}add/"


def page(device):
    return reverse("admin:devices_device_change", args=[device.pk])


@pytest.fixture
def bridge():
    now = timezone.now()
    return Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


@pytest.fixture
def olga(organization):
    """An operator of Alice's organization."""
    return member("olga", organization, Role.OPERATOR)


@pytest.fixture
def foreign(other_organization):
    device = Device.objects.create(
        sn="FOREIGN1", model_key="3-1-0", organization=other_organization, callsign="Substation"
    )
    DeviceState.objects.create(device=device, firmware_version="99.9", last_seen=timezone.now())
    return device


@pytest.fixture
def see(client):
    """Open a page as somebody and return its text."""

    def see(user, url, data=None):
        client.force_login(user)
        response = client.get(url, data or {})
        assert response.status_code == 200, (url, data, response)
        return response.content.decode()

    return see


def listed(see, user, **query):
    """The serial numbers that the list shows."""
    keys = re.findall(r'<th [^>]*class="field-device"><a href="/admin/devices/device/(\d+)/', see(user, LIST, query))
    return set(Device.objects.filter(pk__in=keys).values_list("sn", flat=True))


# --- the list ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "title"),
    [
        (LIST, "Devices"),
        ("/admin/devices/servicecall/", "Commands"),
        ("/admin/devices/servicecallbatch/", "Batches of commands"),
        ("/admin/mqtt_bridge/exchange/", "Journal"),
    ],
)
def test_a_list_has_the_title_of_its_rows(see, staff, url, title):
    assert f"<h1>{title}</h1>" in see(staff, url)


@pytest.mark.usefixtures("aircraft", "bridge")
def test_the_list_shows_what_an_operator_asks(see, alice, dock):
    DeviceState.objects.filter(device=dock).update(firmware_version="10.01.16.04", clock_skew_ms=-420_000)
    text = see(alice, LIST)
    for shown in ("online", "Pier 7", dock.sn, "DJI Dock 2", "Harbour Survey", "Gull", "10.01.16.04", "7 min behind"):
        assert shown in text, shown
    assert '<time datetime="' in text
    assert "in <a" in text


def test_while_the_bridge_is_stale_the_list_says_unknown(see, alice, dock, bridge):
    assert "presence-online" in see(alice, LIST)
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(minutes=1))
    text = see(alice, LIST)
    assert "presence-unknown" in text
    assert "presence-online" not in text
    assert "presence-offline" not in text


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(("presence", "sn"), [("online", "DOCK0001"), ("offline", "GONE"), ("never", "NEVER")])
def test_the_list_can_be_narrowed_by_presence(see, staff, dock, presence, sn):
    DeviceState.objects.create(device=Device.objects.create(sn="GONE"), last_seen=timezone.now())
    Device.objects.create(sn="NEVER")
    assert listed(see, staff, presence=presence) == {sn}


def test_unknown_presence_finds_everyone_seen_while_the_bridge_is_stale(see, staff, dock):
    Device.objects.create(sn="NEVER")
    assert listed(see, staff, presence="unknown") == {dock.sn}
    assert listed(see, staff, presence="offline") == set()


@pytest.mark.parametrize(
    ("kind", "sns"),
    [("dock", {"DOCK0001"}), ("aircraft", {"DRONE0001"}), ("remote-controller", {"RC1"}), ("unknown", {"ODD1"})],
)
def test_the_list_can_be_narrowed_by_kind(see, staff, aircraft, kind, sns):
    Device.objects.create(sn="RC1", model_key="2-174-0")
    Device.objects.create(sn="ODD1", model_key="9-1-0")
    assert listed(see, staff, kind=kind) == sns


@pytest.mark.usefixtures("dock")
@pytest.mark.parametrize(("claimed", "sns"), [("yes", {"DOCK0001"}), ("no", {"NOBODYS"})])
def test_platform_staff_can_ask_who_is_claimed(see, staff, claimed, sns):
    Device.objects.create(sn="NOBODYS")
    assert listed(see, staff, claimed=claimed) == sns


def test_members_are_not_asked_about_claims(see, alice, dock):
    assert "By claimed" not in see(alice, LIST)
    assert listed(see, alice, claimed="no") == {dock.sn}


def test_the_list_can_be_narrowed_by_organization_firmware_and_attention(see, staff, dock, foreign):
    assert listed(see, staff, organization__id__exact=foreign.organization_id) == {foreign.sn}
    assert listed(see, staff, firmware="99.9") == {foreign.sn}
    DeviceState.objects.filter(device=dock).update(clock_skew_ms=-7_200_000)
    Device.objects.filter(pk=foreign.pk).update(is_enabled=False)  # on purpose: it needs nobody
    assert listed(see, staff, attention="yes") == {dock.sn}
    assert '<span class="needs quiet" title="it gets no DJI license and cannot be bound">disabled</span>' in see(
        staff, LIST
    )


@pytest.mark.usefixtures("dock", "foreign", "bridge")
def test_filters_can_be_counted(see, staff):
    assert "By presence" in see(staff, LIST, {"_facets": "True"})


@pytest.mark.parametrize("term", ["dock0001", "pier", "HARBOUR", "12345678"])
def test_the_list_can_be_searched(see, staff, dock, foreign, term):
    assert listed(see, staff, q=term) == {dock.sn}


def test_unclaimed_devices_come_last_and_docks_first(see, staff, aircraft):
    Device.objects.create(sn="AAAA", model_key="3-1-0")
    text = see(staff, LIST).split('id="result_list"')[1]
    assert text.index("Pier 7") < text.index("Gull</span>") < text.index("AAAA")


def test_devices_never_seen_come_last_when_the_newest_are_first(see, staff, dock):
    Device.objects.create(sn="NEVER")
    text = see(staff, LIST, {"o": "-1"}).split('id="result_list"')[1]
    assert text.index(dock.sn) < text.index("NEVER")


def fill(organization, count):
    now = timezone.now()
    for number in range(count):
        dock = Device.objects.create(sn=f"D{number:03}", model_key="3-2-0", organization=organization)
        DeviceState.objects.create(device=dock, last_seen=now)
        Device.objects.create(sn=f"A{number:03}", model_key="0-91-0", organization=organization, gateway=dock)
        Exchange.objects.create(
            gateway_sn=dock.sn,
            organization=organization,
            channel="requests",
            method="airport_organization_bind",
            received_at=now,
            outcome="answered",
            reason="code expired",
        )


@pytest.mark.parametrize("who", ["alice", "staff"])
@pytest.mark.parametrize("query", [{}, {"attention": "yes", "presence": "unknown"}])
def test_a_long_list_takes_as_many_queries_as_a_short_one(
    request, client, who, query, organization, django_assert_num_queries, django_assert_max_num_queries
):
    client.force_login(request.getfixturevalue(who))
    fill(organization, 1)
    client.get(LIST, query)
    with django_assert_max_num_queries(20) as short:
        client.get(LIST, query)
    Device.objects.all().delete()
    fill(organization, 50)
    with django_assert_num_queries(len(short)):
        text = client.get(LIST, {**query, "all": ""}).content.decode()
    assert text.count("binding refused") == 50


# --- the page --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aircraft", "bridge")
def test_the_page_shows_the_state_in_words(see, bob, dock):
    DeviceState.objects.filter(device=dock).update(
        mode_code=4, clock_skew_ms=1_500, properties={"cover_state": 1}, connected_since=timezone.now()
    )
    text = see(bob, page(dock))
    for shown in ("online", "working", "53.500000, 9.900000", "1.5 s ahead", "Gull", "cover_state", "Bound to Harbour"):
        assert shown in text, shown


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("witness", ["config", "account"])
def test_a_dock_that_restarted_before_its_silence_was_noticed_is_connected_since_then(client, bob, dock, witness):
    now = timezone.now()
    DeviceState.objects.filter(device=dock).update(connected_since=now - timedelta(minutes=52))
    again = now - timedelta(minutes=2)
    if witness == "config":
        Exchange.objects.create(
            gateway_sn=dock.sn,
            organization=dock.organization,
            channel="requests",
            method="config",
            received_at=again,
            outcome="answered",
        )
    else:
        account, _ = accounts.issue(device=dock, actor=Actor(AuditEvent.Through.COMMAND))
        BrokerAccount.objects.filter(pk=account.pk).update(last_connected_at=again)
    client.force_login(bob)
    assert client.get(page(dock)).context["connected_since"] == again


def test_an_unknown_mode_is_shown_as_its_number(see, bob, dock):
    DeviceState.objects.filter(device=dock).update(mode_code=77)
    assert "mode 77" in see(bob, page(dock))


def test_the_page_of_an_aircraft_points_to_its_dock(see, bob, aircraft, dock):
    text = see(bob, page(aircraft))
    assert page(dock) in text
    assert "A dock binds its aircraft" in text


def test_the_page_opens_for_a_device_that_never_spoke(see, staff):
    assert "never seen" in see(staff, page(Device.objects.create(sn="NEVER")))


def test_the_page_shows_the_last_messages_and_who_did_what(see, alice, dock):
    Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        channel="requests",
        method="airport_organization_get",
        received_at=timezone.now(),
        outcome="answered",
        reason="code used up",
        reply='{"result": 210230}',
    )
    AuditEvent.objects.create(
        through="bridge",
        organization=dock.organization,
        action="bind",
        object_type="devices.Device",
        object_id=str(dock.pk),
        after={"code": "harbour …ABCD"},
    )
    text = see(alice, page(dock))
    assert "code used up" in text
    assert "Issue a new code" in text
    assert "harbour …ABCD" in text
    assert "harbour …ABCD" in see(alice, reverse("admin:devices_device_history", args=[dock.pk]))


@pytest.mark.parametrize(("who", "reads"), [("staff", True), ("alice", True), ("olga", False), ("bob", False)])
def test_who_did_what_is_for_managers_and_platform_staff(request, client, see, who, reads, dock):
    user = request.getfixturevalue(who)
    AuditEvent.objects.create(
        through="admin",
        organization=dock.organization,
        action="rename",
        object_type="devices.Device",
        object_id=str(dock.pk),
    )
    history = reverse("admin:devices_device_history", args=[dock.pk])
    text = see(user, page(dock))
    assert ("rename" in text, "Who did what" in text, history in text) == (reads, reads, reads)
    assert client.get(history).status_code == (200 if reads else 403)


def test_a_manager_does_not_read_what_was_done_where_she_only_views(see, alice, dock, other_organization):
    alice.memberships.create(organization=other_organization, role=Role.VIEWER)
    AuditEvent.objects.create(
        through="admin",
        organization=other_organization,
        action="release",
        object_type="devices.Device",
        object_id=str(dock.pk),
        object_name=dock.sn,
        after={"reason": "sold"},
    )
    assert "sold" not in see(alice, page(dock))
    assert "sold" not in see(alice, reverse("admin:devices_device_history", args=[dock.pk]))


def test_hostile_text_of_a_device_is_escaped(see, alice, dock, bridge):
    evil = "<script>alert(1)</script>"
    Device.objects.filter(pk=dock.pk).update(callsign=evil)
    DeviceState.objects.filter(device=dock).update(firmware_version=evil, properties={evil: evil})
    Exchange.objects.create(
        gateway_sn=dock.sn,
        organization=dock.organization,
        channel="requests",
        method="airport_organization_bind",
        received_at=timezone.now(),
        outcome="answered",
        reason=evil,
        payload=f'{{"x": "{evil}"}}',
        reply=evil,
    )
    release = reverse("admin:devices_device_release") + f"?devices={dock.pk}"
    exchange = reverse("admin:mqtt_bridge_exchange_change", args=[Exchange.objects.get().pk])
    for url in (LIST, page(dock), release, exchange, "/admin/mqtt_bridge/exchange/"):
        text = see(alice, url)
        assert evil not in text, url
        assert "&lt;script&gt;" in text, url


def test_the_pages_carry_no_inline_script_or_style(see, alice, dock):
    for url in (LIST, page(dock), reverse("admin:devices_device_release") + f"?devices={dock.pk}"):
        text = see(alice, url)
        assert " style=" not in text, url
        assert "<style" not in text, url
        assert "<script>" not in text, url


# --- other organizations -----------------------------------------------------------------------------


def test_charlie_sees_only_his_own_in_list_search_filter_and_autocomplete(see, charlie, dock, foreign):
    for query in ({}, {"q": "DOCK"}, {"firmware": ""}, {"organization__id__exact": str(dock.organization_id)}):
        assert dock.sn not in see(charlie, LIST, query)
    assert "Harbour" not in see(charlie, LIST)
    query = {"app_label": "devices", "model_name": "device", "field_name": "gateway", "term": "D"}
    assert dock.sn not in see(charlie, reverse("admin:autocomplete"), query)


def test_firmware_of_others_is_no_choice(see, alice, dock, foreign):
    assert "99.9" not in see(alice, LIST)


@pytest.mark.parametrize("name", ["change", "history", "delete"])
def test_charlie_cannot_open_the_device_by_its_id(client, charlie, dock, name):
    client.force_login(charlie)
    response = client.get(reverse(f"admin:devices_device_{name}", args=[dock.pk]), follow=True)
    assert dock.sn not in response.content.decode()
    assert dock.callsign not in response.content.decode()


def test_another_organizations_dock_and_aircraft_are_not_named(see, charlie, alice, dock, foreign):
    """An aircraft whose dock was released and bound elsewhere meanwhile."""
    aircraft = Device.objects.create(
        sn="DRONE7", model_key="0-91-0", organization=dock.organization, callsign="Tern", gateway=foreign
    )
    for text in (see(alice, LIST), see(alice, page(aircraft))):
        assert foreign.callsign not in text
        assert foreign.sn not in text
    for text in (see(charlie, LIST), see(charlie, page(foreign))):
        assert "Tern" not in text
        assert "DRONE7" not in text


# --- adding, changing, deleting ----------------------------------------------------------------------


def add(client, user, **data):
    client.force_login(user)
    return client.post(ADD, {"sn": "NEW1", "model_key": "3-2-0", "organization": "", "callsign": "Roof", **data})


def test_platform_staff_add_a_device_to_an_organization(client, staff, organization):
    add(client, staff, organization=organization.pk)
    device = Device.objects.get(sn="NEW1")
    assert (device.organization, device.model_key, device.callsign) == (organization, "3-2-0", "Roof")
    assert device.bound_at is not None
    assert AuditEvent.objects.get(action="add").user == staff


@pytest.mark.parametrize("who", ["alice", "bob", "olga"])
def test_members_add_nothing_and_learn_no_serial_number(request, client, see, who, organization, foreign):
    user = request.getfixturevalue(who)
    for sn in (foreign.sn, "NEW1"):
        assert add(client, user, sn=sn, organization=organization.pk).status_code == 403
    assert list(Device.objects.all()) == [foreign]
    assert ADD not in see(user, LIST)


def test_platform_staff_may_add_an_unclaimed_device(client, staff):
    add(client, staff)
    assert Device.objects.get(sn="NEW1").bound_at is None


@pytest.mark.parametrize("sn", ["-x", "a b", "x/y", "x" * 65, ""])
def test_a_malformed_serial_number_is_refused(client, staff, sn):
    assert add(client, staff, sn=sn).status_code == 200
    assert not Device.objects.exists()


def test_the_device_limit_holds_when_adding_by_hand(client, staff, organization, dock):
    Organization.objects.update(device_limit=1)
    assert "reached its limit of devices" in add(client, staff, organization=organization.pk).content.decode()
    Organization.objects.update(device_limit=2)
    assert add(client, staff, organization=organization.pk).status_code == 302


def change(client, user, device, **data):
    client.force_login(user)
    return client.post(page(device), {"callsign": device.callsign, "is_enabled": "on", **data})


def test_an_operator_renames_but_neither_moves_nor_disables(client, olga, dock, other_organization):
    response = change(
        client, olga, dock, callsign="North", is_enabled="", sn="OTHER", organization=other_organization.pk
    )
    assert response.status_code == 302
    changed = Device.objects.get(pk=dock.pk)
    assert (changed.callsign, changed.is_enabled) == ("North", True)
    assert (changed.sn, changed.organization, changed.model_key) == (dock.sn, dock.organization, dock.model_key)
    assert AuditEvent.objects.get(action="change").after == {"callsign": "North"}


def test_a_manager_disables_on_the_page(client, alice, dock):
    change(client, alice, dock, is_enabled="")
    assert not Device.objects.get(pk=dock.pk).is_enabled


def test_a_viewer_changes_nothing(client, bob, dock):
    assert change(client, bob, dock, callsign="Bob's").status_code == 403
    assert Device.objects.get(pk=dock.pk).callsign == "Pier 7"


def test_only_platform_staff_delete_and_only_what_nobody_owns(client, alice, staff, dock):
    nobodys = Device.objects.create(sn="NOBODYS")
    for user, device in ((alice, dock), (staff, dock), (staff, nobodys)):
        client.force_login(user)
        client.post(reverse("admin:devices_device_delete", args=[device.pk]), {"post": "yes"})
    assert list(Device.objects.all()) == [dock]


def test_the_delete_action_spares_bound_devices(client, staff, dock):
    nobodys = Device.objects.create(sn="NOBODYS")
    client.force_login(staff)
    data = {"action": "delete_selected", "_selected_action": [dock.pk, nobodys.pk]}
    assert "release it first" in client.post(LIST, data).content.decode()
    client.post(LIST, {**data, "post": "yes"})
    assert Device.objects.filter(pk=dock.pk).exists()
    Device.objects.bulk_create(Device(sn=f"BOUND{n}", organization=dock.organization) for n in range(20))
    text = client.post(
        LIST, {**data, "_selected_action": [*Device.objects.values_list("pk", flat=True)]}
    ).content.decode()
    assert (text.count("release it first"), "for 21 reasons" in text) == (20, True)
    actions = client.get(LIST).context["action_form"].fields["action"].choices
    assert actions[-1][0] == "delete_selected"


# --- enable, disable, clear out ------------------------------------------------------------------------


def act(client, user, action, *devices):
    client.force_login(user)
    data = {"action": action, "_selected_action": [device.pk for device in devices]}
    return client.post(LIST, data, follow=True).content.decode()


def test_a_manager_disables_and_enables_from_the_list(client, alice, dock):
    assert "Disabled: Pier 7" in act(client, alice, "disable_selected", dock)
    assert "disabled already" in act(client, alice, "disable_selected", dock)
    assert "Enabled: Pier 7" in act(client, alice, "enable_selected", dock)
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["disable", "enable"]


@pytest.mark.parametrize("who", ["bob", "olga"])
def test_who_manages_nothing_disables_nothing(request, client, who, dock):
    act(client, request.getfixturevalue(who), "disable_selected", dock)
    assert Device.objects.get(pk=dock.pk).is_enabled


def test_a_manager_elsewhere_who_only_views_here_disables_nothing_here(client, bob, dock, other_organization):
    bob.memberships.create(organization=other_organization, role=Role.MANAGER)
    assert "only a manager of its organization" in act(client, bob, "disable_selected", dock)
    assert Device.objects.get(pk=dock.pk).is_enabled


def test_platform_staff_clear_out_old_unclaimed_devices(client, staff, dock):
    old = Device.objects.create(sn="OLD")
    Device.objects.filter(pk=old.pk).update(created=timezone.now() - timedelta(days=9))
    url = reverse("admin:devices_device_clear_out")
    client.force_login(staff)
    assert "OLD" in client.get(url).content.decode()
    assert "No such devices" in client.get(url, {"days": 10}).content.decode()
    assert client.get(url, {"days": "x"}).status_code == 200
    assert Device.objects.filter(sn="OLD").exists()
    client.post(url, {"days": 7})
    assert list(Device.objects.all()) == [dock]


def test_nobody_else_clears_out(client, alice):
    client.force_login(alice)
    assert client.post(reverse("admin:devices_device_clear_out"), {"days": 1}).status_code == 403
