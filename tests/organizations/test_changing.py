"""The time of a row's last change: set however the row is written, and only then."""

from django.utils import timezone

from devices.models import Device
from licenses.models import UnlockLicense
from mqtt_bridge.database import bulk
from organizations import codes
from organizations.audit import Actor
from organizations.models import AuditEvent, BindingCode
from tests.ages import LONG_AGO, age, moved


def test_fields_of_many_rows_are_written_in_one_statement(dock, aircraft, django_assert_num_queries):
    dock.callsign, aircraft.callsign, aircraft.model_key = "North", "South", "0-1-0"
    with django_assert_num_queries(0):
        Device.objects.write_fields([], ["callsign"])
    with django_assert_num_queries(1):
        Device.objects.write_fields((row for row in (dock, aircraft)), ["callsign"])
    assert [Device.objects.get(pk=row.pk).callsign for row in (dock, aircraft)] == ["North", "South"]
    assert Device.objects.get(pk=aircraft.pk).model_key == "0-91-0"


def test_new_rows_have_a_moment_copied_ones_too(dock):
    before = timezone.now()
    bulk.insert(UnlockLicense, bulk.values_of([UnlockLicense(device=dock, device_model_domain=3, license_id=1)]))
    Device.objects.bulk_create([Device(sn="NEW")])
    assert before <= UnlockLicense.objects.get().updated <= Device.objects.get(sn="NEW").updated <= timezone.now()


def test_what_a_deleted_row_leaves_behind_has_changed(dock, aircraft, code):
    row, _ = code
    Device.objects.filter(pk=dock.pk).update(bound_with=row)
    age(dock, aircraft)
    row.delete()
    assert (moved(dock), moved(aircraft)) == (True, False)
    dock.delete()
    assert moved(aircraft)


def test_rows_made_unless_they_are_there_leave_those_that_are(dock):
    age(dock)
    Device.objects.bulk_create([Device(sn=dock.sn)], ignore_conflicts=True)
    assert Device.objects.get_or_create(sn=dock.sn) == (dock, False)
    assert not moved(dock)


def test_form_that_changes_nothing_moves_nothing(client, dock, alice):
    age(dock)
    client.force_login(alice)
    page = f"/admin/devices/device/{dock.pk}/change/"
    assert client.post(page, {"callsign": "Pier 7", "is_enabled": "on"}).status_code == 302
    assert not moved(dock)
    assert client.post(page, {"callsign": "Pier 8", "is_enabled": "on"}).status_code == 302
    assert moved(dock)


def test_code_that_is_revoked_already_stays_as_it_is(code, alice):
    row, _ = code
    actor = Actor(AuditEvent.Through.ADMIN, alice)
    age(row)
    codes.revoke([row], actor=actor)
    assert moved(row)
    age(row)
    codes.revoke([row], actor=actor)
    assert BindingCode.objects.get(updated=LONG_AGO) == row
