"""The admin of unlock licenses: what the list and the pages say, who may switch, what strangers see."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.calls import methods
from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch, Site
from licenses import validity
from licenses.models import Inventory, LicenseEvent, LicenseList, UnlockLicense
from mqtt_bridge.models import Heartbeat
from organizations.models import AuditEvent, Membership, Preference, Role
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
LIST = "/admin/licenses/unlocklicense/"
AIRCRAFT, DOCK = Inventory.AIRCRAFT, Inventory.DOCK
DAY = timedelta(days=1)
OFF = {"enable": "off", "sure": "1"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _bridge(db):
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


def license_(dock, key=1, domain=AIRCRAFT, *, begin=-10, end=100, enabled=True, **fields):
    """A license whose window is told in days from now."""
    now = timezone.now()
    window = {"begin_time": now + begin * DAY, "end_time": None if end is None else now + end * DAY}
    fields = {"name": f"license {key}", "type": 1, "seen_at": now, **window, **fields}
    twins = UnlockLicense.objects.filter(device=dock, license_id=key).exclude(device_model_domain=domain)
    return UnlockLicense.objects.create(
        device=dock,
        device_model_domain=domain,
        license_id=key,
        in_other_inventory=twins.update(in_other_inventory=True),
        enabled=enabled,
        **fields,
    )


def read(dock, domain=AIRCRAFT, *, hours=0, **fields):
    """A list that was read so many hours ago."""
    moment = timezone.now() - timedelta(hours=hours)
    fields = {"complete": True, "count": 1, "asked_at": moment, "fetched_at": moment, **fields}
    return LicenseList.objects.create(device=dock, device_model_domain=domain, **fields)


def page_of(row):
    return reverse("admin:licenses_unlocklicense_change", args=[row.pk])


def switch_of(row):
    return reverse("admin:licenses_unlocklicense_switch", args=[row.pk])


def comparison_of(dock):
    return reverse("admin:licenses_unlocklicense_dock", args=[dock.pk])


@pytest.fixture
def see(client, request):
    """What a user reads at an address."""

    def see(user, path, **query):
        client.force_login(request.getfixturevalue(user) if isinstance(user, str) else user)
        response = client.get(path, query)
        assert response.status_code == 200
        return response

    return see


def rows(response):
    return list(response.context["cl"].result_list)


def names(response):
    return {row.name for row in rows(response)}


# --- the list: what it says --------------------------------------------------------------------------


def test_a_license_in_both_inventories_is_one_row(see, dock):
    license_(dock, 1, AIRCRAFT)
    license_(dock, 1, DOCK)
    license_(dock, 2, DOCK)
    license_(dock, 3, AIRCRAFT)
    shown = {row.license_id: row.shown.found_in for row in rows(see("bob", LIST))}
    assert shown == {1: "both", 2: "dock only", 3: "aircraft only"}


def test_only_a_list_that_was_read_can_lack_a_license(see, dock):
    license_(dock, 1, AIRCRAFT)
    read(dock, AIRCRAFT)
    assert rows(see("bob", LIST))[0].shown.differences == ()
    read(dock, DOCK)
    assert rows(see("bob", LIST))[0].shown.differences == ("not approved for the dock",)


STANDINGS = [
    ({}, "in force", "good"),
    ({"end": 3}, "in force", "soon"),
    ({"end": -1}, "expired, still on", "bad"),
    ({"end": -1, "enabled": False}, "expired", "quiet"),
    ({"begin": 5}, "not yet begun", "quiet"),
    ({"enabled": False}, "off", "quiet"),
    ({"enabled": None}, "on/off not reported", "unsure"),
    ({"domain": DOCK}, "not imported", "quiet"),
    ({"end": None}, "in force", "good"),
]


@pytest.mark.parametrize(("fields", "words", "kind"), STANDINGS)
def test_the_list_tells_how_a_license_stands(see, dock, fields, words, kind):
    row = license_(dock, **fields)
    read(dock, row.device_model_domain)
    response = see("bob", LIST)
    assert f'<span class="standing standing-{kind}">{words}</span>' in response.content.decode()


def test_an_old_list_is_not_shown_as_current(see, dock):
    license_(dock, seen_at=timezone.now() - 30 * DAY)
    read(dock, hours=30)
    text = see("bob", LIST).content.decode()
    assert "was in force" in text
    assert "was on" in text
    assert "old list" in text
    assert "standing-good" not in text


def test_an_incomplete_list_makes_nothing_current(see, dock):
    license_(dock, seen_at=timezone.now() - 30 * DAY)
    read(dock, hours=30)
    read(dock, hours=1, complete=False)
    assert "old list" in see("bob", LIST).content.decode()


FILTERS = [
    ("state=expired-enabled", {"over"}),
    ("state=expiring-7", {"soon"}),
    ("state=expiring-30", {"soon", "month"}),
    ("state=in-force", {"soon", "month", "long"}),
    ("state=disabled", {"off"}),
    ("state=not-begun", {"later"}),
    ("state=expired", {"over", "gone"}),
    ("state=not-imported", {"approved"}),
    ("state=not-told", {"untold"}),
    ("type=6", {"gone"}),
    ("type=other", {"later"}),
    ("inventory=dock", {"approved"}),
    ("inventory=both", {"long"}),
    ("inventory=aircraft", {"over", "soon", "month", "off", "later", "gone", "untold"}),
    ("user_only=yes", {"off"}),
    ("q=Pier", {"over", "soon", "month", "long", "off", "later", "gone", "approved", "untold"}),
    ("q=Quay", set()),
    ("q=700", {"approved"}),
    ("q=DRONE0009", {"gone"}),
]


@pytest.mark.parametrize(("query", "found"), FILTERS, ids=[query for query, _ in FILTERS])
def test_the_list_can_be_narrowed(see, dock, query, found):
    license_(dock, 1, name="over", end=-1)
    license_(dock, 2, name="soon", end=5)
    license_(dock, 3, name="month", end=20)
    license_(dock, 4, name="long")
    license_(dock, 4, DOCK, name="long")
    license_(dock, 5, name="off", enabled=False, user_only=True)
    license_(dock, 6, name="later", begin=3, type=77)
    license_(dock, 700, DOCK, name="approved")
    license_(dock, 8, name="gone", end=-9, enabled=False, type=6, device_sn="DRONE0009")
    license_(dock, 9, name="untold", enabled=None)
    assert names(see("bob", f"{LIST}?{query}")) == found


def test_one_dock_is_a_filter_and_a_strange_one_shows_nothing(see, dock, other_organization):
    foreign = Device.objects.create(sn="DOCK0009", model_key="3-2-0", organization=other_organization, callsign="Far")
    license_(dock, 1)
    license_(foreign, 2)
    assert names(see("bob", LIST, device=dock.pk)) == {"license 1"}
    response = see("bob", LIST, device=foreign.pk)
    assert names(response) == set()
    assert "Far" not in response.content.decode()


def test_what_is_over_and_on_comes_first_and_what_is_over_and_off_last(see, dock):
    license_(dock, 1, end=50)
    license_(dock, 2, end=-5, enabled=False)
    license_(dock, 3, end=-5)
    license_(dock, 4, end=None)
    license_(dock, 5, end=5)
    assert [row.license_id for row in rows(see("bob", LIST))] == [3, 5, 1, 4, 2]


def test_pages_go_on_through_all_degrees_of_urgency(see, dock):
    keys = [license_(dock, key, end=key - 60 or None, enabled=key % 2 == 0).license_id for key in range(1, 120)]
    found = [row.license_id for page in (1, 2, 3) for row in rows(see("bob", LIST, p=page))]
    assert sorted(found) == keys
    expected = sorted(keys, key=lambda key: (2 if key < 60 and key % 2 else key >= 60, key == 60, key))
    assert found == expected


def test_hostile_names_are_escaped(see, dock):
    row = license_(
        dock, name=HOSTILE, device_sn=HOSTILE, user_id=HOSTILE, details={HOSTILE: HOSTILE}, raw={"a": HOSTILE}
    )
    license_(dock, 1, DOCK, name=HOSTILE, begin=-3)
    read(dock), read(dock, DOCK)
    pages = (LIST, page_of(row), comparison_of(dock), f"{LIST}timeline/", f"{LIST}?q={HOSTILE}")
    for path in pages:
        text = see("bob", path).content.decode()
        assert HOSTILE not in text
        assert " style=" not in text.split("<body")[1]


@pytest.mark.parametrize("who", ["staff", "alice"])
def test_the_list_costs_as_many_queries_for_many_as_for_few(
    request, client, who, dock, organization, django_assert_num_queries, django_assert_max_num_queries
):
    client.force_login(request.getfixturevalue(who))
    license_(dock, 1), license_(dock, 1, DOCK), read(dock), read(dock, DOCK)
    client.get(LIST)
    with django_assert_max_num_queries(20) as few:
        client.get(LIST)
    count = len(few)
    for number in range(40):
        site = Site.objects.create(organization=organization, name=f"Pier {number}", time_zone="Asia/Shanghai")
        other = Device.objects.create(sn=f"N{number}", model_key="3-2-0", organization=organization, site=site)
        DeviceState.objects.create(device=other, online=True, last_seen=timezone.now())
        license_(other, number), license_(other, number, DOCK), read(other)
    for path, expected in ((LIST, count), (f"{LIST}timeline/", count - 2)):  # no switches, no saved filters
        client.get(path)
        with django_assert_num_queries(expected):
            assert len(rows(client.get(path))) == 41


# --- switching one -----------------------------------------------------------------------------------


ROLES = [("staff", 302), ("alice", 302), ("olga", 302), ("bob", 403), ("charlie", 404)]


@pytest.mark.parametrize(("who", "status"), ROLES)
def test_who_may_switch(request, client, dock, who, status):
    row = license_(dock, 240330)
    client.force_login(request.getfixturevalue(who))
    assert client.post(switch_of(row), OFF).status_code == status
    call = ServiceCall.objects.first()
    assert (call is not None) == (status == 302)
    if call is not None:
        assert (call.device, call.method, call.data) == (dock, methods.SWITCH, {"license_id": 240330, "enable": False})


@pytest.mark.parametrize("who", ["staff", "olga"])
def test_asking_for_a_switch_changes_nothing_yet_and_shows_what_is_under_way(request, client, see, dock, who):
    row = license_(dock)
    read(dock)
    client.force_login(request.getfixturevalue(who))
    response = client.post(f"{switch_of(row)}?_changelist_filters=state%3Din-force", OFF)
    assert response["Location"] == f"{LIST}?state=in-force"
    row.refresh_from_db()
    assert row.enabled is True
    for path in (response["Location"], page_of(row), comparison_of(dock)):
        text = see(who, path).content.decode()
        assert "switching off…" in text
        assert 'value="off"' not in text  # no second button


@pytest.mark.parametrize("query", ["", "?state=in-force&q=Pier"])
def test_the_button_of_a_row_leads_back_to_the_list_as_it_was(client, see, olga, dock, query):
    row = license_(dock)
    button = re.search(r'formaction="([^"]+)"', see(olga, LIST + query).content.decode())
    response = client.post(unescape(button[1]), OFF)
    assert response["Location"] == LIST + query
    assert ServiceCall.objects.get().data["license_id"] == row.license_id


def test_each_button_has_a_name_of_its_own(see, olga, dock):
    for key in (1, 2):
        license_(dock, key=key, name="Harbour")
    names = re.findall(r'class="switch"[^>]*aria-label="([^"]+)"', see(olga, LIST).content.decode())
    assert sorted(names) == [f"Switch off Harbour ({key}) of {dock}" for key in (1, 2)]


def test_a_refusal_of_the_dock_shows_its_reason(see, dock):
    row = license_(dock)
    fields = {"method": methods.SWITCH, "subject": "unlock_license_switch:1", "status": "failed", "result_code": 325012}
    make_call(dock, data={"license_id": 1, "enable": False}, closed=timezone.now(), **fields)
    for path in (LIST, page_of(row), comparison_of(dock)):
        text = see("bob", path).content.decode()
        assert "not switched off: failed: the aircraft is not connected" in text
    row.refresh_from_db()
    assert row.enabled is True


def test_an_attempt_that_the_list_has_proved_is_no_news(see, dock):
    license_(dock, enabled=False)
    fields = {"method": methods.SWITCH, "subject": "unlock_license_switch:1", "status": "timed_out"}
    make_call(dock, data={"license_id": 1, "enable": False}, closed=timezone.now(), **fields)
    assert "no answer" not in see("bob", LIST).content.decode().lower()


def test_the_attempts_of_a_former_owner_are_not_shown(see, dock, other_organization):
    license_(dock)
    fields = {"method": methods.SWITCH, "subject": "unlock_license_switch:1", "status": "failed"}
    make_call(dock, data={"license_id": 1, "enable": False}, organization=other_organization, **fields)
    assert "not switched" not in see("bob", LIST).content.decode()


@pytest.mark.parametrize("query", ["", "?dock", "?_changelist_filters=q%3DPier"])
def test_off_is_asked_about_once_and_then_told_how_to_undo(client, olga, dock, query):
    row = license_(dock)
    client.force_login(olga)
    question = client.post(switch_of(row) + query, {"enable": "off", "queue": "1"})
    assert not ServiceCall.objects.exists()
    text = question.content.decode()
    assert "switch it on again" in text
    sent = dict(re.findall(r'type="hidden" name="(enable|sure|queue)" value="(\w+)"', text))
    answer = client.post(switch_of(row) + query, sent)
    assert answer["Location"] == unescape(re.search(r'class="closelink" href="([^"]+)"', text)[1])
    assert ServiceCall.objects.get().queue
    after = client.get(LIST).content.decode()
    assert f'<a href="{page_of(row)}">To undo it, switch it on again on its page.</a>' in after


def test_who_does_not_want_to_be_asked_is_not_until_the_preferences_say_so_again(client, olga, bob, dock):
    first, second, third = (license_(dock, number) for number in (1, 2, 3))
    client.force_login(olga)
    client.post("/language/", {"language": "en"})
    assert 'name="unasked"' in client.post(switch_of(first), {"enable": "off"}).content.decode()
    client.post(switch_of(first), OFF | {"unasked": "1"})
    client.post(switch_of(second), {"enable": "off"})
    assert ServiceCall.objects.count() == 2
    assert Preference.asks_before_switch_off(bob.pk)
    assert Preference.objects.get(user=olga).language == "en"
    assert 'name="ask_before_switch_off" ' in client.get("/preferences/").content.decode()
    client.post("/preferences/", {"language": "en", "ask_before_switch_off": "on"})
    assert client.post(switch_of(third), {"enable": "off"}).status_code == 200
    assert ServiceCall.objects.count() == 2


def test_on_is_not_asked_about(client, olga, dock):
    client.force_login(olga)
    client.post(switch_of(license_(dock, enabled=False)), {"enable": "on"})
    assert ServiceCall.objects.get().data["enable"] is True


def test_what_is_not_imported_cannot_be_switched(client, see, olga, dock):
    row = license_(dock, domain=DOCK)
    assert "formaction" not in see(olga, LIST).content.decode()
    client.post(switch_of(row), OFF)
    assert not ServiceCall.objects.exists()
    assert "not imported in the aircraft" in see(olga, page_of(row)).content.decode()


def test_an_offline_dock_is_asked_when_it_comes_online(client, see, olga, dock):
    row = license_(dock)
    DeviceState.objects.filter(device=dock).update(online=False)
    text = see(olga, page_of(row)).content.decode()
    assert "This dock is offline." in text
    assert "when the dock comes online" in text
    client.post(switch_of(row), OFF | {"queue": "1"})
    call = ServiceCall.objects.get()
    assert (call.queue, call.expires - call.created) == (True, timedelta(hours=24))


@pytest.mark.parametrize("enable", ["", "maybe", "true"])
def test_a_switch_goes_on_or_off(client, olga, dock, enable):
    client.force_login(olga)
    assert client.post(switch_of(license_(dock)), {"enable": enable}).status_code == 400


def test_a_switch_is_posted(client, olga, dock):
    client.force_login(olga)
    assert client.get(switch_of(license_(dock))).status_code == 405


def test_viewers_see_no_button(see, dock):
    row = license_(dock)
    for path in (LIST, page_of(row), comparison_of(dock)):
        assert "/switch/" not in see("bob", path).content.decode()


# --- switching many ----------------------------------------------------------------------------------


def act(client, user, action, *chosen):
    client.force_login(user)
    return client.post(LIST, {"action": action, "_selected_action": [row.pk for row in chosen]})


def confirm(client, side, *chosen, **fields):
    keys = ",".join(str(row.pk) for row in chosen)
    return client.post(f"{LIST}switch/{side}/", {"licenses": keys, "note": "", **fields})


def test_many_are_asked_about_first_with_those_left_out_and_why(client, olga, dock):
    now, done, approved = license_(dock, 1), license_(dock, 2, enabled=False), license_(dock, 3, DOCK)
    response = act(client, olga, "switch_off_selected", now, done, approved)
    text = response.content.decode()
    assert [row.pk for row in response.context["now"]] == [now.pk]
    assert "<strong>1</strong> will be switched off" in text
    assert "It is off already." in text
    assert "not imported in the aircraft" in text
    assert not ServiceCall.objects.exists()


def test_many_become_one_batch_with_a_call_for_each(client, olga, dock):
    chosen = [license_(dock, 1), license_(dock, 2), license_(dock, 3, enabled=False)]
    client.force_login(olga)
    response = confirm(client, "off", *chosen, note="season is over")
    batch = ServiceCallBatch.objects.get()
    assert response["Location"] == reverse("admin:devices_servicecallbatch_change", args=[batch.pk])
    assert {call.data["license_id"] for call in batch.calls.all()} == {1, 2}
    assert (batch.data, batch.note) == ({"enable": False}, "season is over")
    text = client.get(response["Location"]).content.decode()
    assert "Switch licenses off" in text
    assert "Switch license 2 off" in text
    assert "It is off already." in text


def test_offline_docks_wait_only_if_chosen(client, olga, dock):
    row = license_(dock)
    DeviceState.objects.filter(device=dock).update(online=False)
    client.force_login(olga)
    confirm(client, "off", row)
    assert not ServiceCall.objects.exists()
    confirm(client, "off", row, wait="604800")
    call = ServiceCall.objects.get()
    assert (call.queue, call.expires - call.created) == (True, timedelta(days=7))


def test_a_batch_cannot_hold_licenses_of_others(client, olga, dock, other_organization):
    foreign = Device.objects.create(sn="DOCK0009", model_key="3-2-0", organization=other_organization)
    client.force_login(olga)
    confirm(client, "off", license_(dock, 1), license_(foreign, 2))
    assert {call.device for call in ServiceCall.objects.all()} == {dock}


def test_an_operator_of_one_organization_switches_nothing_where_she_only_views(client, olga, other_organization):
    Membership.objects.create(user=olga, organization=other_organization, role=Role.VIEWER)
    foreign = Device.objects.create(sn="DOCK0009", model_key="3-2-0", organization=other_organization)
    DeviceState.objects.create(device=foreign, online=True, last_seen=timezone.now())
    client.force_login(olga)
    response = confirm(client, "off", license_(foreign))
    assert "Only an operator of its organization may command it." in response.content.decode()
    assert not ServiceCall.objects.exists()


def test_viewers_switch_none(client, bob, dock):
    row = license_(dock)
    act(client, bob, "switch_off_selected", row)
    assert confirm(client, "off", row).status_code == 403
    assert not ServiceCall.objects.exists()


def test_many_cost_as_many_queries_as_one(client, olga, dock, django_assert_num_queries):
    client.force_login(olga)
    confirm(client, "off", license_(dock, 1))
    row = license_(dock, 2)
    with CaptureQueriesContext(connection) as few:
        confirm(client, "off", row)
    inserts = 20
    chosen = [license_(dock, key) for key in range(3, 3 + inserts)]
    with django_assert_num_queries(len(few)):
        confirm(client, "off", *chosen)
    assert ServiceCall.objects.count() == 2 + inserts


@pytest.mark.parametrize("keys", ["", "x", "1,x"])
def test_a_batch_of_nonsense_leads_back_to_the_list(client, olga, keys):
    client.force_login(olga)
    assert client.post(f"{LIST}switch/on/", {"licenses": keys})["Location"] == LIST


# --- one license -------------------------------------------------------------------------------------


def test_the_page_tells_everything_of_both_inventories(see, dock):
    row = license_(dock, 240330, type=2, details={"country_number": 156, "height": 500}, raw={"odd": "kept"})
    license_(dock, 240330, DOCK, type=2, end=9)
    text = see("bob", page_of(row)).content.decode()
    for words in ("Country: China, up to 500 m", "240330", "another window", "kept", "Approved for the dock"):
        assert words in text


def test_the_history_is_told_to_those_whose_it_is(see, dock, organization, other_organization):
    row = license_(dock)
    common = {"device": dock, "device_model_domain": 0, "license_id": 1, "at": timezone.now()}
    LicenseEvent.objects.create(organization=organization, kind="disabled", **common)
    LicenseEvent.objects.create(organization=other_organization, kind="vanished", **common)
    text = see("bob", page_of(row)).content.decode()
    assert "switched off" in text
    assert "vanished" not in text


def test_the_history_tells_what_changed(see, dock, organization):
    row = license_(dock)
    before, after = (
        {"user_only": False, "begin_time": None},
        {"user_only": True, "begin_time": "2026-01-02T03:04:05+00:00"},
    )
    common = {"device": dock, "device_model_domain": 0, "license_id": 1, "at": timezone.now()}
    LicenseEvent.objects.create(organization=organization, kind="changed", before=before, after=after, **common)
    text = see("bob", page_of(row)).content.decode()
    assert "changed: Begins not reported → 2026-01-02 03:04:05 UTC; Only with its account no → yes" in text


def test_the_page_of_an_event_shows_its_values_in_words_and_raw(see, dock, organization):
    after = {
        "type": 2,
        "enabled": None,
        "end_time": "2026-01-02T03:04:05+00:00",
        "details": {"country_number": 156, "height": 500},
    }
    common = {"device": dock, "device_model_domain": 0, "license_id": 1, "at": timezone.now()}
    row = LicenseEvent.objects.create(organization=organization, kind="appeared", after=after, **common)
    text = re.sub(r"<[^>]+>", " ", see("bob", f"/admin/licenses/licenseevent/{row.pk}/change/").content.decode())
    text = " ".join(text.split())
    for words in ("Type type Country or region (2)", "Country or region country_number China (156)"):
        assert words in text
    for words in ("Height limit height 500 m", "Ends end_time 2026-01-02 03:04:05 UTC", "On enabled not reported"):
        assert words in text
    assert "&quot;country_number&quot;: 156" in text


@pytest.mark.parametrize(("who", "saved"), [("staff", True), ("alice", True), ("olga", True), ("bob", False)])
def test_operators_write_notes_and_nothing_else(request, client, dock, who, saved):
    row = license_(dock)
    client.force_login(request.getfixturevalue(who))
    client.post(page_of(row), {"note": "ask FlySafe", "enabled": "", "name": "forged", "_save": "1"})
    row.refresh_from_db()
    assert (row.note == "ask FlySafe") is saved
    assert (row.name, row.enabled) == ("license 1", True)
    assert AuditEvent.objects.filter(action="change").exists() is saved


def test_nobody_adds_or_deletes_a_license(client, staff, dock):
    row = license_(dock)
    client.force_login(staff)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_strangers_find_nothing(client, charlie, dock):
    row = license_(dock)
    client.force_login(charlie)
    assert client.get(comparison_of(dock)).status_code == 404
    assert client.post(switch_of(row), OFF).status_code == 404
    assert client.get(page_of(row)).status_code == 302
    assert b"license 1" not in client.get(LIST).content
    assert b"license 1" not in client.get(f"{LIST}timeline/").content


# --- the dock's page ---------------------------------------------------------------------------------


def test_the_page_of_the_dock_compares_its_inventories(see, dock):
    license_(dock, 1), license_(dock, 1, DOCK, end=9), license_(dock, 2, DOCK)
    read(dock, consistence=True), read(dock, DOCK, consistence=True)
    text = see("bob", reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    assert "another window" in text
    assert "not imported in the aircraft" in text
    assert "2 of 2 licenses differ." in text
    assert "The two disagree." in text


def test_a_license_switched_on_one_side_is_no_difference_and_shown_quietly(see, dock):
    row = license_(dock, 1, enabled=False)
    license_(dock, 1, DOCK, begin_time=row.begin_time, end_time=row.end_time)
    read(dock, consistence=True), read(dock, DOCK, consistence=True)
    text = see("bob", comparison_of(dock)).content.decode()
    assert "Both inventories are the same." in text
    assert "differ." not in text
    for page in (comparison_of(dock), LIST):
        text = see("bob", page).content.decode()
        assert re.search(r'<small class="apart"[^>]*>switched differently</small>', text)
        assert "differs" not in text
    assert "switched differently" in see("bob", page_of(row)).content.decode()


def test_a_list_that_was_read_is_named_after_the_dock(see, dock):
    one = read(dock)
    text = see("alice", reverse("admin:licenses_licenselist_change", args=[one.pk])).content.decode()
    assert f"imported in the aircraft of DOCK0001 at {one.fetched_at:%Y-%m-%d %H:%M}" in text


@pytest.mark.parametrize("at_site", [True, False])
def test_days_are_counted_where_the_dock_is_and_name_its_zone(see, dock, at_site):
    row = license_(dock, begin_time=datetime(2026, 1, 1, tzinfo=UTC), end_time=datetime(2026, 12, 31, 16, tzinfo=UTC))
    window = "2026-01-01 – 2027-01-01 UTC+8"
    pages = (LIST, page_of(row), comparison_of(dock))
    assert not [page for page in pages if window in see("bob", page).content.decode()]
    dock.organization.time_zone = "America/New_York" if at_site else "Asia/Shanghai"
    dock.organization.save()
    if at_site:
        Device.objects.update(
            site=Site.objects.create(organization=dock.organization, name="Pier", time_zone="Asia/Shanghai")
        )
    for page in pages:
        assert window in see("bob", page).content.decode()
    assert ">2027-01-01</time>" in see("bob", f"{LIST}timeline/").content.decode()
    with timezone.override("Asia/Shanghai"):  # the reader is there
        assert validity.window(row, validity.zone_of(Device.objects.get())) == "2026-01-01 – 2027-01-01"


def test_a_comparison_of_unread_lists_claims_nothing(see, dock):
    license_(dock, 1)
    read(dock)
    text = see("bob", comparison_of(dock)).content.decode()
    assert "never read" in text
    assert "Not known" in text
    assert "differ." not in text


def test_a_comparison_of_old_or_incomplete_lists_says_so(see, dock):
    license_(dock, 1), license_(dock, 1, DOCK)
    read(dock, hours=50), read(dock, DOCK, hours=2)
    read(dock, DOCK, complete=False, applied=False, count=None)
    text = see("bob", comparison_of(dock)).content.decode()
    assert "old: it may have changed since" in text
    assert "contained no list" in text
    assert "by lists that are old or incomplete" in text
    assert "word-good" not in text


def test_the_comparison_costs_as_many_queries_for_many_as_for_few(client, olga, dock, django_assert_num_queries):
    client.force_login(olga)
    license_(dock, 1)
    client.get(comparison_of(dock))
    with CaptureQueriesContext(connection) as few:
        client.get(comparison_of(dock))
    for key in range(2, 40):
        license_(dock, key), license_(dock, key, DOCK)
    with django_assert_num_queries(len(few)):
        client.get(comparison_of(dock))


def test_docks_are_found_by_what_was_read_of_them(see, dock, organization):
    devices = {}
    for name in ("NEVER", "HALF", "SAME", "DIFFER"):
        devices[name] = Device.objects.create(sn=name, model_key="3-2-0", organization=organization)
    for domain in Inventory:
        read(devices["SAME"], domain, hours=2, consistence=False)
        read(devices["SAME"], domain, consistence=True)
        read(devices["DIFFER"], domain, consistence=False)
    read(devices["HALF"])
    found = {
        value: {device.sn for device in rows(see("bob", f"/admin/devices/device/?licenses={value}"))}
        for value in ("never", "inconsistent")
    }
    assert found == {"never": {"NEVER", "HALF", dock.sn}, "inconsistent": {"DIFFER"}}
