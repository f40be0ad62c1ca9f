"""Topology and presence."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import topology
from devices.device_state import store
from devices.models import Device, DeviceState, Pairing
from devices.topology import Report
from mqtt_bridge.protocol.messages import SubDevice, UpdateTopo
from mqtt_bridge.telemetry import Frame
from organizations.models import AuditEvent
from tests.ages import age, moved

pytestmark = pytest.mark.django_db


def report(gateway_sn, *aircraft):
    subs = [SubDevice(sn=sn, domain="0", type=91, sub_type=0, index="A") for sn in aircraft]
    return Report(gateway_sn, UpdateTopo(domain="3", type=2, sub_type=0, sub_devices=subs))


def update(*reports):
    with transaction.atomic():
        return [outcome.remark for outcome in topology.update(reports, now=timezone.now())]


def test_stranger_is_recorded_unclaimed_and_online():
    update(report("DOCK9"))
    dock = Device.objects.get(sn="DOCK9")
    assert (dock.organization, dock.model_key, dock.state.online) == (None, "3-2-0", True)


def test_what_an_unclaimed_gateway_lists_is_recorded_unclaimed():
    assert update(report("DOCK9", "DRONE9")) == [""]
    aircraft = Device.objects.get(sn="DRONE9")
    assert (aircraft.organization, aircraft.gateway.sn) == (None, "DOCK9")


def test_aircraft_of_an_owned_dock_is_recorded_carried_and_online(dock):
    assert update(report(dock.sn, "DRONE9")) == [""]
    aircraft = Device.objects.get(sn="DRONE9")
    assert (aircraft.gateway, aircraft.model_key, aircraft.state.online) == (dock, "0-91-0", True)


def test_gateway_that_says_it_is_offline_is_offline_with_its_aircraft(dock):
    update(report(dock.sn, "DRONE9"))
    update(Report(dock.sn, UpdateTopo(is_offline=True)))
    dock, aircraft = Device.objects.get(sn=dock.sn), Device.objects.get(sn="DRONE9")
    assert (dock.state.online, aircraft.state.online, aircraft.gateway) == (False, False, dock)


def test_aircraft_without_an_owner_joins_the_organization_of_its_dock(dock):
    update(report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").organization == dock.organization
    assert AuditEvent.objects.get(action="adopt").organization == dock.organization


def test_aircraft_of_another_organization_stays_there(dock, other_organization):
    Device.objects.create(sn="DRONE9", organization=other_organization, model_key="0-91-0")
    [remark] = update(report(dock.sn, "DRONE9"))
    assert "another organization" in remark
    foreign = Device.objects.get(sn="DRONE9")
    assert (foreign.organization, foreign.gateway) == (other_organization, None)


def test_adoption_keeps_the_device_limit(dock, organization):
    organization.device_limit = 1
    organization.save()
    update(report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").organization is None


def test_no_sub_devices_put_the_aircraft_offline_and_leave_the_dock_online(dock, aircraft):
    update(report(dock.sn, aircraft.sn))
    update(report(dock.sn))
    aircraft = Device.objects.get(pk=aircraft.pk)
    assert (aircraft.state.online, aircraft.gateway) == (False, dock)
    assert Device.objects.get(pk=dock.pk).state.online


def test_another_aircraft_replaces_the_one_before(dock, aircraft):
    update(report(dock.sn, "DRONE9"))
    aircraft.refresh_from_db()
    assert aircraft.gateway is None
    assert list(dock.carried.values_list("sn", flat=True)) == ["DRONE9"]


def test_an_aircraft_may_come_back_in_the_batch_in_which_it_was_replaced(dock, aircraft):
    update(report(dock.sn, aircraft.sn))
    update(report(dock.sn, "DRONE9"), report(dock.sn, aircraft.sn))
    assert list(dock.carried.all()) == [aircraft]
    assert Pairing.objects.filter(dock=dock, aircraft=aircraft).count() == 2  # it left, and came back


def test_dock_cannot_be_carried_by_another_dock(dock):
    Device.objects.create(sn="DOCK9", model_key="3-2-0", organization=dock.organization)
    assert "not an aircraft" in update(report(dock.sn, "DOCK9"))[0]


@pytest.mark.parametrize(
    "model", [{"domain": "3", "type": 2}, {"domain": "2", "type": 144}, {}], ids=["dock", "rc", "unsaid"]
)
def test_what_is_no_aircraft_is_not_adopted(dock, model):
    topo = UpdateTopo(domain="3", type=2, sub_type=0, sub_devices=[SubDevice(sn="VICTIM", sub_type=0, **model)])
    update(Report(dock.sn, topo))
    assert Device.objects.get(sn="VICTIM").organization is None


def test_disabled_aircraft_is_not_adopted(dock):
    Device.objects.create(sn="DRONE9", model_key="0-91-0", is_enabled=False)
    update(report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").organization is None


def test_inactive_organization_adopts_nothing(dock):
    dock.organization.is_active = False
    dock.organization.save()
    update(report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").organization is None


def test_adopted_devices_count_towards_the_cap(dock, settings):
    settings.UNCLAIMED_DEVICE_CAP = 5
    for number in range(9):
        update(report(dock.sn, f"DRONE{number}"))
    assert Device.objects.count() == 5 + 1  # the dock, which is no stranger


def test_gateway_that_was_called_an_aircraft_is_free_again_when_it_speaks(dock):
    update(report(dock.sn, "VICTIM"))
    update(report("VICTIM"))
    victim = Device.objects.get(sn="VICTIM")
    assert (victim.organization, victim.gateway, victim.model_key) == (None, None, "3-2-0")
    assert AuditEvent.objects.get(action="disown").organization == dock.organization


def test_telemetry_from_before_does_not_bring_a_detached_aircraft_back(dock, aircraft):
    before = timezone.now() - timedelta(milliseconds=300)
    update(report(dock.sn))
    store([Frame(aircraft.sn, before, data={"mode_code": 0}, data_since=before)])
    assert not DeviceState.objects.get(device=aircraft).online


def test_unclaimed_devices_are_capped(settings):
    settings.UNCLAIMED_DEVICE_CAP = 3
    update(*(report(f"STRANGER{number}") for number in range(9)))
    assert Device.objects.unclaimed().count() == 3
    assert "too many unclaimed" in update(report("STRANGER99"))[0]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="its plan")
def test_strangers_are_counted_without_reading_the_other_devices():
    """It is done for each batch that holds an unknown serial number."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "device_uninvited" in Device.objects.uninvited().explain()


def test_a_stranger_that_never_came_back_makes_room(settings):
    settings.UNCLAIMED_DEVICE_CAP = 4
    update(*(report(f"STRANGER{number}") for number in range(4)))
    hours = {"STRANGER0": 30, "STRANGER1": 50, "STRANGER2": 23, "STRANGER3": 40}
    for sn, silent in hours.items():
        seen = timezone.now() - timedelta(hours=silent)
        DeviceState.objects.filter(device__sn=sn).update(last_seen=seen)
    Device.objects.filter(sn="STRANGER3").update(is_enabled=False)  # a person does not want it
    update(report("NEW1"))
    assert set(Device.objects.values_list("sn", flat=True)) == {"STRANGER0", "STRANGER2", "STRANGER3", "NEW1"}
    update(report("NEW2"), report("NEW3"))
    assert Device.objects.filter(sn__startswith="NEW").count() == 2  # one more, for only one of the old was silent
    assert Device.objects.count() == 4


def test_hundred_topologies_cost_as_many_queries_as_one(dock):
    def queries(prefix, count):
        with CaptureQueriesContext(connection) as captured:
            update(*(report(f"{prefix}{number}", f"{prefix}{number}A") for number in range(count)))
        return len(captured)

    assert queries("X", 1) == queries("Y", 100)


def statements(*reports, now=None):
    """What an update with these reports executes, but for the ends of transactions."""
    with CaptureQueriesContext(connection) as captured:
        topology.update(reports, now=now or timezone.now())
    return [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]


def is_read_only(sql):
    return sql.startswith("SELECT") and "FOR NO KEY UPDATE" not in sql


def test_a_topology_that_changes_nothing_writes_nothing_and_locks_nothing(dock):
    update(report(dock.sn, "DRONE9"), report("DOCK8"))
    executed = statements(report(dock.sn, "DRONE9"), report("DOCK8"), report(dock.sn, "DRONE9"))
    assert len(executed) == 2
    assert all(map(is_read_only, executed))


def test_a_change_among_topologies_that_change_nothing_is_written(dock):
    update(report(dock.sn, "DRONE9"), report("DOCK8"))
    outcomes = topology.update(
        [report(dock.sn, "DRONE9"), report("DOCK8", "DRONE8"), report(dock.sn, "DRONE9")], now=timezone.now()
    )
    assert [outcome.begun for outcome in outcomes] == [0, 1, 0]
    assert Device.objects.get(sn="DRONE8").state.online


def test_all_that_one_gateway_reports_is_taken_in_its_order(dock):
    update(report(dock.sn, "DRONE9"))
    update(report(dock.sn, "DRONE9"), report(dock.sn), report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").state.online
    update(report(dock.sn), report(dock.sn))
    assert not Device.objects.get(sn="DRONE9").state.online


def test_no_topology_reads_properties_or_a_license(dock):
    executed = [*statements(report(dock.sn, "DRONE9")), *statements(report(dock.sn, "DRONE9"), report(dock.sn))]
    read = [sql for sql in executed if sql.startswith("SELECT")]
    assert not any("properties" in sql or "app_license" in sql for sql in read)


def test_who_was_declared_offline_is_online_after_the_same_topology(dock):
    update(report(dock.sn, "DRONE9"))
    DeviceState.objects.update(online=False)
    now = timezone.now()
    executed = statements(report(dock.sn, "DRONE9"), now=now)
    assert [sql.split()[2] for sql in executed if not is_read_only(sql)] == ['"devices_devicestate"']
    assert set(DeviceState.objects.values_list("online", "last_seen", "connected_since")) == {(True, now, now)}


def test_a_gateway_that_was_offline_is_written_with_its_aircraft_which_a_sweep_may_be_taking_along(dock):
    update(report(dock.sn, "DRONE9"))
    for reports in ([report(dock.sn, "DRONE9")], [report(dock.sn, "DRONE9"), report(dock.sn, "DRONE9", "DRONE8")]):
        DeviceState.objects.filter(device=dock).update(online=False)
        now = timezone.now()
        topology.update(reports, now=now)
        assert DeviceState.objects.get(device__sn="DRONE9").last_seen == now


@pytest.mark.parametrize(
    ("model", "sn", "wrong"),
    [
        (Device, "DOCK9", {"model_key": ""}),
        (Device, "DOCK9", {"model_key": "3-1-0"}),
        (Device, "DRONE9", {"model_key": "0-67-0"}),
        (Device, "DRONE9", {"gateway": None}),
        (DeviceState, "DOCK9", {"online": False}),
        (DeviceState, "DRONE9", {"online": False}),
        (DeviceState, "DRONE8", {"online": True}),
        (Pairing, "DRONE9", {"linked_since": None}),
        (Pairing, "DRONE8", {"linked_since": timezone.now()}),
        (Pairing, "DRONE9", {"witness": "aircraft"}),
        (Pairing, "DRONE9", {"remark": "no longer true"}),
    ],
)
def test_each_row_that_does_not_say_what_is_reported_is_put_right(model, sn, wrong):
    update(report("DOCK9", "DRONE8", "DRONE9"))
    update(report("DOCK9", "DRONE9"))
    device = {Device: "sn", DeviceState: "device__sn", Pairing: "aircraft__sn"}[model]
    [rows, (name, _)] = model.objects.filter(**{device: sn}), *wrong.items()
    right = rows.values_list(name, flat=True).get()
    rows.update(**wrong)
    update(report("DOCK9", "DRONE9"))
    found = rows.values_list(name, flat=True).get()
    assert (found is not None) if name == "linked_since" and right else found == right


def test_what_else_the_rows_say_counts_even_if_the_topology_is_the_same(dock):
    update(report(dock.sn, "DRONE9"), report("DOCK8"))
    Device.objects.filter(sn="DRONE9").update(organization=None, claim="")
    update(report(dock.sn, "DRONE9"))
    assert Device.objects.get(sn="DRONE9").organization == dock.organization  # adopted again
    Device.objects.filter(sn="DRONE9").update(claim="code")
    assert "not an aircraft" in update(report(dock.sn, "DRONE9"))[0]
    Device.objects.filter(sn="DOCK8").update(organization=dock.organization, claim="named")
    update(report("DOCK8"))
    assert Device.objects.get(sn="DOCK8").organization is None
    Device.objects.create(sn="VICTIM", model_key="0-91-0")
    update(Report("VICTIM", UpdateTopo()))
    assert Device.objects.get(sn="VICTIM").model_key == ""


def test_each_last_will_is_written(dock):
    update(report(dock.sn))
    for seconds in (1, 2):
        now = timezone.now() + timedelta(seconds=seconds)
        topology.update([Report(dock.sn, UpdateTopo(is_offline=True))], now=now)
        assert DeviceState.objects.values_list("online", "last_seen").get(device=dock) == (False, now)


def test_an_aircraft_that_only_its_dock_reports_is_never_silent_for_long(dock):
    began = timezone.now()
    for seconds in range(0, 200, 9):
        now = began + timedelta(seconds=seconds)
        topology.update([report(dock.sn, "DRONE9")], now=now)
        assert now - DeviceState.objects.get(device__sn="DRONE9").last_seen < timedelta(seconds=10)
        assert topology.sweep(listening_since=began - timedelta(days=1), now=now) == 0


def silent_for(device, seconds):
    seen = timezone.now() - timedelta(seconds=seconds)
    DeviceState.objects.update_or_create(device=device, defaults={"online": True, "last_seen": seen})


def test_silence_of_a_minute_puts_a_device_offline(dock):
    silent_for(dock, 61)
    topology.sweep(listening_since=timezone.now() - timedelta(minutes=5))
    assert not DeviceState.objects.get(device=dock).online


def test_device_that_spoke_stays_online(dock):
    silent_for(dock, 30)
    topology.sweep(listening_since=timezone.now() - timedelta(minutes=5))
    assert DeviceState.objects.get(device=dock).online


def test_silence_that_nobody_listened_to_does_not_count(dock):
    silent_for(dock, 3600)
    topology.sweep(listening_since=timezone.now() - timedelta(seconds=30))
    assert DeviceState.objects.get(device=dock).online


def test_aircraft_goes_offline_with_its_dock(dock, aircraft):
    silent_for(dock, 61)
    silent_for(aircraft, 1)
    topology.sweep(listening_since=timezone.now() - timedelta(minutes=5))
    assert not DeviceState.objects.get(device=aircraft).online


def test_browsers_learn_of_a_silent_dock_even_if_the_rest_of_the_sweep_fails(dock, aircraft, monkeypatch):
    silent_for(dock, 61)
    told, update_unlocked = [], topology._update_unlocked

    def fail_for_aircraft(states, **values):
        if told:
            raise OperationalError("the connection is lost")
        return update_unlocked(states, **values)

    monkeypatch.setattr(topology.broadcast, "tell_device", told.extend)
    monkeypatch.setattr(topology, "_update_unlocked", fail_for_aircraft)
    with pytest.raises(OperationalError):
        topology.sweep(listening_since=timezone.now() - timedelta(minutes=5))
    assert told == [dock]


def test_only_devices_that_a_topology_changes_count_as_changed(dock, aircraft):
    age(dock, aircraft)
    update(report(dock.sn, aircraft.sn))
    assert (moved(dock), moved(aircraft)) == (False, False)
    update(report(dock.sn))
    assert (moved(dock), moved(aircraft)) == (False, False)  # it was switched off, and is still the dock's
    update(report(dock.sn, "DRONE9"))
    assert (moved(dock), moved(aircraft)) == (False, True)


def test_silence_is_no_change_of_the_device(dock):
    age(dock)
    long_ago = timezone.now() - timedelta(days=1)
    DeviceState.objects.update(last_seen=long_ago)
    assert topology.sweep(listening_since=long_ago) == 1
    assert not moved(dock)


def test_sweep_ends_the_future_of_who_is_silent_since_our_clock_was_set_back(dock):
    now = timezone.now()
    DeviceState.objects.filter(device=dock).update(last_seen=now + timedelta(hours=1))
    topology.sweep(listening_since=now, now=now)  # not yet listening long enough to declare anybody offline
    assert DeviceState.objects.get(device=dock).last_seen == now
    assert topology.sweep(listening_since=now, now=now + timedelta(seconds=59)) == 0
    assert topology.sweep(listening_since=now, now=now + timedelta(seconds=61)) == 1
