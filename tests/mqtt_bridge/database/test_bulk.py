"""Many rows in one statement, on both kinds of database."""

import uuid
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from devices.models import Device, DeviceState
from mqtt_bridge.database import bulk
from organizations.models import AuditEvent, Organization

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_database")]

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def test_numbered_rows_are_written_with_their_keys_and_later_ones_get_others():
    first = Device.objects.create(sn="FIRST")
    rows = [Device(sn="BIRD"), Device(sn="DOCK")]
    with transaction.atomic():
        for row, key in zip(rows, bulk.ask_keys(Device, 2)(), strict=False):
            row.pk = key
        rows[0].gateway = rows[1]  # which is written after it
        bulk.insert(Device, bulk.values_of(rows))
    later = Device.objects.create(sn="LATER")
    assert len({first.pk, rows[0].pk, rows[1].pk, later.pk}) == 4
    assert Device.objects.get(sn="BIRD").gateway.sn == "DOCK"


def test_no_rows_cost_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        bulk.insert(Device, [])
        bulk.update(Device, [])
        bulk.upsert(DeviceState, [], unique=["device_id"], changes=["online"])


def test_a_field_that_encrypts_does_so_here_too():
    """Organization is a table with one, though nobody appends to it."""
    harbour = Organization(organization_id="12345678", name="Harbour", app_license="a license", created=timezone.now())
    bulk.insert(Organization, bulk.values_of([harbour]))
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_license FROM organizations_organization")
        assert "a license" not in cursor.fetchone()[0]
    assert Organization.objects.get().app_license == "a license"


def test_each_kind_of_value_comes_back_as_it_went_in():
    device = Device.objects.create(sn="DOCK")
    state = DeviceState(
        device=device,
        online=True,
        last_seen=MOMENT,
        latitude=-0.1,
        mode_code=-3,
        properties={"text": "ä \"quoted\" 'text' %s", "nothing": None, "list": [1, 2.5, {"deep": True}]},
        clock_skew_ms=2**40,
        refused_why="% of it",
    )
    bulk.insert(DeviceState, bulk.values_of([state]))
    stored = DeviceState.objects.get()
    columns = [field.attname for field in DeviceState._meta.concrete_fields]
    assert [getattr(stored, name) for name in columns] == [getattr(state, name) for name in columns]
    request_id = uuid.uuid4()
    event = AuditEvent(request_id=request_id, through="bridge", action="bind", object_type="", object_id="", at=MOMENT)
    bulk.insert(AuditEvent, bulk.values_of([event]))
    assert AuditEvent.objects.get(request_id=request_id).at == MOMENT


def test_update_writes_each_row_its_own_values_and_no_other_row():
    docks = [Device.objects.create(sn=f"DOCK{number}", callsign="before") for number in range(3)]
    rows = [{"id": dock.pk, "callsign": f"after {dock.sn}", "bound_at": MOMENT} for dock in docks[:2]]
    bulk.update(Device, [*rows, {"id": 0, "callsign": "gone", "bound_at": None}])
    stored = list(Device.objects.order_by("sn").values_list("sn", "callsign", "bound_at"))
    assert stored == [("DOCK0", "after DOCK0", MOMENT), ("DOCK1", "after DOCK1", MOMENT), ("DOCK2", "before", None)]


def test_update_merges_an_object_into_the_one_that_is_there_unless_that_gets_too_large():
    docks = [Device.objects.create(sn=f"DOCK{number}") for number in range(2)]
    DeviceState.objects.bulk_create(DeviceState(device=dock, properties={"a": 1, "b": {"c": 2}}) for dock in docks)
    added = [{"b": None, "d": ["ä"]}, {"large": "x" * 1000}]
    rows = [{"device_id": dock.pk, "mode_code": 7, "properties": new} for dock, new in zip(docks, added, strict=True)]
    bulk.update(DeviceState, rows, merges={"properties": 500})
    stored = DeviceState.objects.order_by("device__sn").values_list("mode_code", "properties")
    assert list(stored) == [(7, {"a": 1, "b": None, "d": ["ä"]}), (7, {"a": 1, "b": {"c": 2}})]


def test_upsert_inserts_what_is_new_and_changes_only_the_columns_named():
    known, new = Device.objects.create(sn="KNOWN"), Device.objects.create(sn="NEW")
    DeviceState.objects.create(device=known, mode_code=1, firmware_version="1.0")
    states = [DeviceState(device=device, online=True, mode_code=2, firmware_version="2.0") for device in (known, new)]
    bulk.upsert(DeviceState, bulk.values_of(states), unique=["device_id"], changes=["online", "mode_code"])
    stored = DeviceState.objects.order_by("device__sn").values_list("online", "mode_code", "firmware_version")
    assert list(stored) == [(True, 2, "1.0"), (True, 2, "2.0")]


def test_what_the_database_refuses_is_djangos_error():
    Device.objects.create(sn="DOCK")
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.insert(Device, bulk.values_of([Device(sn="DOCK")]))
