"""How lists and switches change a dock's licenses, through the bridge's dispatch."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.binding import release
from devices.calls import wording
from devices.models import Device, ServiceCall
from licenses.comparison import EXTRA, MISSING, WINDOW, compare
from licenses.models import Inventory, LicenseEvent, LicenseList, UnlockLicense
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.ages import age, moved
from tests.devices.calls.test_service_calls import _bridge, close_overdue, fleet, hear, hear_all, sent  # noqa: F401

pytestmark = pytest.mark.django_db

LIST, SWITCH, UPDATE = "unlock_license_list", "unlock_license_switch", "unlock_license_update"
AIRCRAFT, DOCK = Inventory.AIRCRAFT, Inventory.DOCK
SAMPLES = Path(__file__).parent.parent / "samples"


def license_(key, name="", kind=6, *, enabled=True, begin=1_700_000_000, end=2_145_916_800, **common):
    fields = {"license_id": key, "name": name or f"license {key}", "type": kind, "enabled": enabled}
    fields |= {"begin_time": begin, "end_time": end, "user_only": False, "device_sn": "DRONE0001"} | common
    return {"common_fields": fields, "rid_unlock": {"level": 1}}


def told(dock, licenses, domain=AIRCRAFT, *, consistence=None, **fields):
    """A list that was asked for and answered; returns its call."""
    call = sent(dock, LIST, {"device_model_domain": int(domain)})
    answer(call, licenses, domain, consistence=consistence, **fields)
    return call


def answer(call, licenses, domain=AIRCRAFT, *, consistence=None, **fields):
    data = {"result": 0, "device_model_domain": int(domain), "consistence": consistence, "licenses": licenses} | fields
    hear(call, {key: value for key, value in data.items() if value is not None})


def held(dock, domain=AIRCRAFT):
    return list(
        UnlockLicense.objects.filter(device=dock, device_model_domain=domain)
        .order_by("license_id")
        .values_list("license_id", flat=True)
    )


def history(key):
    return list(LicenseEvent.objects.filter(license_id=key).order_by("pk").values_list("kind", flat=True))


def open_calls():
    return sorted(
        (call.method, call.data.get("device_model_domain")) for call in ServiceCall.objects.open().order_by("created")
    )


# --- lists -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_window_in_seconds_or_milliseconds_is_the_same_on_pages_in_files_and_over_rest(client, staff, dock, unit):
    told(dock, [license_(7, begin=1_700_000_000 * unit, end=2_145_916_800 * unit)])
    row = UnlockLicense.objects.get()
    begin, end = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
    assert (row.begin_time, row.end_time) == (begin, end)
    client.force_login(staff)
    pages = "/admin/licenses/unlocklicense/"
    for page in (pages, f"{pages}{row.pk}/change/", f"{pages}timeline/"):
        assert "2038-01-01" in client.get(page).content.decode(), page
    file = b"".join(client.get(f"{pages}export.csv").streaming_content).decode()
    assert "2023-11-14 22:13:20" in file
    assert "2038-01-01 00:00:00" in file
    [told_over_rest] = client.get("/api/v1/licenses/").json()["results"]
    assert (told_over_rest["begin_time"], told_over_rest["end_time"]) == (
        "2023-11-14T22:13:20Z",
        "2038-01-01T00:00:00Z",
    )


def test_example_of_the_documentation_shows_up_with_every_field_right(dock):
    message = json.loads((SAMPLES / "001_unlock_license_list_services_reply.json").read_text())
    call = sent(dock, LIST, {"device_model_domain": 3})
    hear(call, message["data"], gateway="")
    rows = {row.type: row for row in UnlockLicense.objects.filter(device=dock)}
    assert set(rows) == {0, 1, 2, 3, 4, 5, 6}
    assert {row.end_time for row in rows.values()} == {datetime(2038, 1, 1, tzinfo=UTC)}
    assert rows[0].details["area_ids"]
    assert str(rows[1].details["latitude"]).startswith("22.60309")
    assert rows[2].details["country_number"] == 156
    assert rows[6].details["level"] == 1
    assert all(row.raw["common_fields"]["license_id"] == row.license_id for row in rows.values())
    assert all(row.enabled is not None and row.user_only is not None for row in rows.values())


def test_list_replaces_its_inventory_and_leaves_the_other(dock):
    told(dock, [license_(1), license_(2)])
    told(dock, [license_(1), license_(9)], DOCK)
    told(dock, [license_(2), license_(3)])
    assert (held(dock), held(dock, DOCK)) == ([2, 3], [1, 9])
    told(dock, [])
    assert (held(dock), held(dock, DOCK)) == ([], [1, 9])


def test_reply_without_a_list_takes_nothing_away_and_is_marked(dock):
    told(dock, [license_(key) for key in range(7)])
    told(dock, None)
    assert len(held(dock)) == 7
    side = compare(dock).aircraft
    assert (side.is_incomplete, side.applied.count, side.latest.complete) == (True, 7, False)


def test_refused_list_takes_nothing_away(dock):
    told(dock, [license_(1)])
    told(dock, [], result=325012)
    assert held(dock) == [1]
    assert LicenseList.objects.count() == 1


def test_entry_that_cannot_be_read_makes_the_list_incomplete(dock):
    told(dock, [license_(1), license_(2)])
    told(dock, [license_(3), {"common_fields": {"name": "no id"}}])
    assert held(dock) == [1, 2, 3]
    assert LicenseList.objects.first().complete is False


def test_domain_of_the_answer_wins_and_that_of_the_question_makes_up_for_it(dock):
    call = sent(dock, LIST, {"device_model_domain": 0})
    answer(call, [license_(1)], DOCK)
    call = sent(dock, LIST, {"device_model_domain": 3})
    hear(call, {"result": 0, "licenses": [license_(1), license_(2)]})
    assert (held(dock), held(dock, DOCK)) == ([], [1, 2])


def test_list_from_before_our_clock_was_set_back_overtakes_none(dock):
    told(dock, [license_(1)])
    LicenseList.objects.update(asked_at=timezone.now() + timedelta(hours=1))
    told(dock, [license_(2)])
    assert held(dock) == [2]


def test_older_list_that_comes_later_rolls_nothing_back(dock):
    old = sent(dock, LIST, {"device_model_domain": 0})
    close_overdue(seconds=61)
    told(dock, [license_(1), license_(2)])
    answer(old, [license_(1)])
    assert (ServiceCall.objects.get(pk=old.pk).status, held(dock)) == ("succeeded", [1, 2])
    assert LicenseList.objects.get(call=old).applied is False


def test_older_list_that_comes_in_the_same_batch_rolls_nothing_back(dock):
    """The dock answers both for one inventory, whichever was asked for."""
    older, newer = (sent(dock, LIST, {"device_model_domain": int(domain)}) for domain in (DOCK, AIRCRAFT))
    replies = ((newer, [license_(1), license_(2)]), (older, [license_(1)]))
    hear_all([(call, {"result": 0, "device_model_domain": 0, "licenses": licenses}) for call, licenses in replies])
    assert held(dock) == [1, 2]


def test_list_asked_before_a_switch_was_confirmed_does_not_turn_it_back(dock):
    told(dock, [license_(1, enabled=True), license_(2, enabled=True)])
    reading = sent(dock, LIST, {"device_model_domain": 0})
    hear(sent(dock, SWITCH, {"license_id": 1, "enable": False}), {"result": 0})
    answer(reading, [license_(1, enabled=True), license_(2, enabled=False)])
    rows = UnlockLicense.objects.order_by("license_id")
    assert list(rows.values_list("enabled", flat=True)) == [False, False]
    assert (history(1), history(2)) == (["appeared", "disabled"], ["appeared", "disabled"])
    told(dock, [license_(1, enabled=True)])  # asked after it
    assert history(1) == ["appeared", "disabled", "enabled"]


@pytest.mark.django_db(transaction=True)
def test_late_list_leaves_nothing_at_a_dock_that_is_being_released(dock):
    late = sent(dock, LIST, {"device_model_domain": 0})
    close_overdue(seconds=61)
    released, answered = threading.Event(), threading.Event()

    def release_slowly():
        with closing(connection), transaction.atomic():
            release([dock], actor=Actor(AuditEvent.Through.ADMIN))
            released.set()
            answered.wait(10)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(release_slowly)
        assert released.wait(10)
        answer(late, [license_(1)])
        answered.set()
        done.result(10)
    assert late.late
    assert not UnlockLicense.objects.exists()
    assert not LicenseList.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_release_waits_for_a_list_that_is_being_read_and_takes_it_away(dock):
    reading = sent(dock, LIST, {"device_model_domain": 0})

    def release_at_once():
        with closing(connection):
            release([dock], actor=Actor(AuditEvent.Through.ADMIN))

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            answer(reading, [license_(1)])
            done = pool.submit(release_at_once)
            wait([done], timeout=0.5)
            assert not done.done()
        done.result(10)
    assert reading.status == "succeeded"
    assert not UnlockLicense.objects.exists()
    assert not LicenseList.objects.exists()


def test_list_for_a_former_owner_says_nothing_to_the_new_one(dock, other_organization):
    call = sent(dock, LIST, {"device_model_domain": 0})
    Device.objects.update(organization=other_organization)
    answer(call, [license_(1)])
    assert (held(dock), LicenseList.objects.count()) == ([], 0)


def test_history_of_a_license_stays_with_the_organization_that_owned_the_dock(dock, alice, charlie):
    told(dock, [license_(1)])
    release([dock], actor=Actor(AuditEvent.Through.ADMIN, alice))
    assert held(dock) == []
    assert LicenseEvent.objects.visible_to(alice).count() == 1
    assert not LicenseEvent.objects.visible_to(charlie).exists()


def test_a_license_knows_whether_the_other_inventory_has_it(dock):
    def in_both():
        rows = UnlockLicense.objects.filter(in_other_inventory=True)
        return sorted(rows.values_list("device_model_domain", "license_id"))

    told(dock, [license_(1), license_(2)])
    told(dock, [license_(2), license_(3)], DOCK)
    assert in_both() == [(0, 2), (3, 2)]
    assert list(UnlockLicense.objects.listed().values_list("device_model_domain", "license_id")) == [
        (0, 1),
        (0, 2),
        (3, 3),
    ]
    told(dock, [license_(3)])
    assert in_both() == [(0, 3), (3, 3)]
    UnlockLicense.objects.update(in_other_inventory=False)  # as an older release left it
    told(dock, [license_(3, enabled=False)])
    assert in_both() == [(0, 3), (3, 3)]
    told(dock, [], DOCK)
    assert in_both() == []


def test_what_became_of_the_other_inventorys_row_is_a_change_of_it(dock):
    told(dock, [license_(1)])
    before = UnlockLicense.objects.get().updated
    told(dock, [license_(1)], DOCK)
    assert UnlockLicense.objects.get(device_model_domain=0).updated > before


def test_history_tells_what_became_of_a_license(dock):
    told(dock, [license_(1)])
    told(dock, [license_(1)])
    told(dock, [license_(1, enabled=False)])
    told(dock, [license_(1, enabled=True, end=2_000_000_000)])
    told(dock, [])
    assert history(1) == ["appeared", "disabled", "enabled", "changed", "vanished"]
    changed = LicenseEvent.objects.get(kind="changed")
    assert changed.before == {"end_time": "2038-01-01T00:00:00+00:00"}


def test_note_of_ours_survives_a_list(dock):
    told(dock, [license_(1)])
    UnlockLicense.objects.update(note="ask Kim before disabling")
    told(dock, [license_(1, enabled=False)])
    assert UnlockLicense.objects.get().note == "ask Kim before disabling"
    told(dock, [])
    assert LicenseEvent.objects.get(kind="vanished").before["note"] == "ask Kim before disabling"


@pytest.mark.parametrize(
    ("common", "kept"),
    [
        ({"end_time": 4_300_000_000}, {"end_time": datetime(2106, 4, 6, 12, 26, 40, tzinfo=UTC)}),
        ({"end_time": 99_999_999_999}, {"end_time": datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)}),
        ({"end_time": -1}, {"end_time": None}),
        ({"end_time": "2145916800"}, {"end_time": datetime(2038, 1, 1, tzinfo=UTC)}),
        ({"type": 77}, {"type": 77}),
        ({"type": 2**63}, {"type": None}),
        ({"type": "4"}, {"type": 4}),
        ({"enabled": "1"}, {"enabled": True}),
        ({"enabled": "maybe"}, {"enabled": None}),
        ({"name": "解禁 🛩"}, {"name": "解禁 🛩"}),
        ({"name": "x" * 1000}, {"name": "x" * 256}),
        ({"device_sn": "x" * 1000}, {"device_sn": ""}),
    ],
)
def test_odd_license_is_kept(dock, common, kept):
    told(dock, [license_(1, **{("kind" if name == "type" else name): value for name, value in common.items()})])
    row = UnlockLicense.objects.get()
    assert {name: getattr(row, name) for name in kept} == kept


@pytest.mark.parametrize(
    "details",
    [
        {"circle_unlock": {"radius": 0, "latitude": 91, "longitude": 200, "height": 65535}},
        {"circle_unlock": None},
        {"polygon_unlock": {"points": [{"latitude": "north", "longitude": 0}]}},
        {"brand_new_unlock": {"anything": [1, {"a": None}]}},
    ],
)
def test_odd_details_are_kept_raw(dock, details):
    told(dock, [{"common_fields": license_(1, kind=1)["common_fields"], **details}])
    assert UnlockLicense.objects.get().raw.items() >= details.items()


def many(count, *, enabled=True):
    return [license_(key, enabled=enabled) for key in range(count)]


def test_list_of_a_thousand_costs_as_many_queries_as_one_of_two(dock):
    counts = []
    for size in (2, 1000):
        for change in ({"enabled": True}, {"enabled": False}):
            call = sent(dock, LIST, {"device_model_domain": 0})
            with CaptureQueriesContext(connection) as queries:
                answer(call, many(size, **change))
            counts.append(len(queries))
        told(dock, [])
    assert counts[:2] == counts[2:]


def test_ten_thousand_licenses_are_taken(dock):
    told(dock, many(10_000))
    assert len(held(dock)) == 10_000


# --- switch and update -------------------------------------------------------------------------------


def test_confirmed_switch_shows_and_is_followed_by_the_list_that_proves_it(dock, django_capture_on_commit_callbacks):
    told(dock, [license_(5, enabled=False)])
    call = sent(dock, SWITCH, {"license_id": 5, "enable": True})
    assert UnlockLicense.objects.get().enabled is False
    with django_capture_on_commit_callbacks(execute=True):
        hear(call, {"result": 0, "license_id": 5})
    assert UnlockLicense.objects.get().enabled is True
    assert open_calls() == [(LIST, 0)]
    assert history(5)[-1] == "enabled"
    follow = ServiceCall.objects.open().get()
    assert (follow.requested_by, follow.note) == (call.requested_by, "after unlock_license_switch")


def test_switches_of_many_docks_cost_as_many_statements_as_one(organization):
    counts = []
    for size in (1, 20):
        docks = fleet(organization, size, prefix=f"OF{size}N")
        UnlockLicense.objects.bulk_create(
            UnlockLicense(device=dock, device_model_domain=AIRCRAFT, license_id=key, name=dock.sn, enabled=False)
            for dock in docks
            for key in (1, 2)
        )
        for number, dock in enumerate(docks):
            sent(dock, SWITCH, {"license_id": number % 2 + 1, "enable": True})
        calls = list(ServiceCall.objects.filter(device__in=docks).select_related("device"))
        with CaptureQueriesContext(connection) as queries:
            hear_all((call, {"result": 0}) for call in calls)
        counts.append(len(queries))
        rows = UnlockLicense.objects.filter(device__in=docks)
        assert set(rows.filter(enabled=True).values_list("device_id", "license_id")) == {
            (call.device_id, call.data["license_id"]) for call in calls
        }
        events = LicenseEvent.objects.filter(device__in=docks)
        assert {(one.call_id, one.name, one.kind) for one in events} == {
            (call.pk, call.device.sn, "enabled") for call in calls
        }
    assert counts[0] == counts[1]


def test_answers_of_one_dock_that_come_together_count_in_their_order(dock):
    told(dock, [license_(1, enabled=False)])
    switch = sent(dock, SWITCH, {"license_id": 1, "enable": True})
    reading = sent(dock, LIST, {"device_model_domain": 0})
    before_the_switch = {"result": 0, "licenses": [license_(1, enabled=False)]}
    hear_all([(reading, before_the_switch), (switch, {"result": 0})])
    assert UnlockLicense.objects.get().enabled is True
    switch, reading = sent(dock, SWITCH, {"license_id": 1, "enable": True}), sent(dock, LIST, reading.data)
    hear_all([(switch, {"result": 0}), (reading, before_the_switch)])
    assert UnlockLicense.objects.get().enabled is False


def test_refused_switch_changes_nothing(dock, django_capture_on_commit_callbacks):
    told(dock, [license_(5, enabled=False)])
    call = sent(dock, SWITCH, {"license_id": 5, "enable": True})
    with django_capture_on_commit_callbacks(execute=True):
        hear(call, {"result": 325012})
    assert UnlockLicense.objects.get().enabled is False
    assert open_calls() == []
    assert wording.describe(call) == "Failed: the aircraft is not connected (325012)."


def test_update_is_followed_by_both_lists(dock, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        hear(sent(dock, UPDATE, {}), {"result": 0})
    assert open_calls() == [(LIST, 0), (LIST, 3)]


def test_list_that_is_under_way_is_enough(dock, django_capture_on_commit_callbacks):
    under_way = sent(dock, LIST, {"device_model_domain": 0})
    with django_capture_on_commit_callbacks(execute=True):
        hear(sent(dock, UPDATE, {}), {"result": 0})
    assert open_calls() == [(LIST, 0), (LIST, 3)]
    assert ServiceCall.objects.open().filter(pk=under_way.pk).exists()


# --- compare -----------------------------------------------------------------------------------------


def differences(dock):
    return {pair.license_id: pair.differences for pair in compare(dock).pairs}


def test_comparison_names_what_differs(dock):
    told(dock, [license_(1), license_(2), license_(3, end=2_000_000_000), license_(4, enabled=False), license_(6)])
    told(
        dock, [license_(1), license_(3), license_(4), license_(5), license_(6, end=2_000_000_000, enabled=False)], DOCK
    )
    assert differences(dock) == {
        1: (),
        2: (EXTRA,),
        3: (WINDOW,),
        4: (),
        5: (MISSING,),
        6: (WINDOW,),
    }
    assert [pair.license_id for pair in compare(dock).pairs if pair.is_switched_apart] == [4, 6]


def test_nothing_is_missing_as_long_as_one_side_is_unknown(dock):
    told(dock, [license_(1)])
    found = compare(dock)
    assert (found.is_comparable, found.pairs[0].differences, found.dock.is_stale) == (False, (), True)


@pytest.mark.parametrize(
    ("aircraft", "consistence", "disagrees"),
    [
        ([1, 2], True, False),
        ([1], True, True),
        ([1], False, False),
        ([1, 2], False, True),
        ([1, 2], None, False),
    ],
)
def test_disagreement_with_the_docks_own_word_is_marked(dock, aircraft, consistence, disagrees):
    told(dock, [license_(1), license_(2)], DOCK)
    told(dock, [license_(key) for key in aircraft], consistence=consistence)
    found = compare(dock)
    assert (found.consistence, found.disagrees) == (consistence, disagrees)


def test_old_list_is_stale(dock):
    told(dock, [license_(1)])
    assert compare(dock).aircraft.is_stale is False
    assert compare(dock, now=timezone.now() + timedelta(hours=25)).aircraft.is_stale is True


def test_comparison_takes_two_queries(dock, django_assert_num_queries):
    told(dock, many(50))
    told(dock, many(40), DOCK)
    with django_assert_num_queries(2):
        compare(dock)


# --- expiry ------------------------------------------------------------------------------------------


def test_expiry_is_asked_of_enabled_licenses(dock):
    now = timezone.now()
    seconds = int(now.timestamp())
    told(
        dock,
        [
            license_(1, end=seconds - 60),
            license_(2, end=seconds - 60, enabled=False),
            license_(3, end=seconds + 6 * 86400),
            license_(4, end=seconds + 20 * 86400),
            license_(5, begin=seconds + 60),
            license_(6, end=None),
        ],
    )
    rows = UnlockLicense.objects.order_by("license_id")

    def keys(found):
        return list(found.values_list("license_id", flat=True))

    assert keys(rows.expired_but_enabled(now)) == [1]
    assert keys(rows.expiring(now, days=7)) == [3]
    assert keys(rows.expiring(now, days=30)) == [3, 4]
    assert keys(rows.in_force(now)) == [3, 4, 6]


def test_a_list_that_tells_as_before_a_switch_takes_the_switch_back(dock):
    told(dock, [license_(1)])
    hear(sent(dock, SWITCH, {"license_id": 1, "enable": False}), {"result": 0, "license_id": 1})
    assert UnlockLicense.objects.get().enabled is False
    ServiceCall.objects.open().update(status="expired")  # the list that follows by itself
    told(dock, [license_(1)])
    assert UnlockLicense.objects.get().enabled is True
    assert history(1) == ["appeared", "disabled", "enabled"]


# --- the moment of the last change -----------------------------------------------------------------


def test_only_licenses_that_a_list_changes_count_as_changed(dock):
    told(dock, [license_(1), license_(2)])
    first, second = UnlockLicense.objects.order_by("license_id")
    age(first, second)
    told(dock, [license_(1), license_(2)])
    assert (moved(first), moved(second)) == (False, False)
    told(dock, [license_(1), license_(2, enabled=False)])
    assert (moved(first), moved(second)) == (False, True)


def test_switch_changes_a_license_that_was_not_so_already(dock):
    told(dock, [license_(1, enabled=False)])
    row = UnlockLicense.objects.get()
    for expected in (True, False):
        age(row)
        hear(sent(dock, SWITCH, {"license_id": 1, "enable": True}), {"result": 0})
        assert moved(row) is expected
