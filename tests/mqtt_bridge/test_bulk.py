"""Rows in bulk: keys before they are written."""

from django.db import connection
from django.utils import timezone

from devices.models import Device
from mqtt_bridge.bulk import assign_keys, insert_many
from organizations.models import Organization


def test_numbered_rows_are_written_with_their_keys_and_later_ones_get_others(db):
    first = Device.objects.create(sn="FIRST")
    rows = [Device(sn="BIRD"), Device(sn="DOCK")]
    assign_keys(Device, rows)
    rows[0].gateway = rows[1]  # which is written after it
    insert_many(Device, rows)
    later = Device.objects.create(sn="LATER")
    assert len({first.pk, rows[0].pk, rows[1].pk, later.pk}) == 4
    assert Device.objects.get(sn="BIRD").gateway.sn == "DOCK"


def test_no_rows_cost_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assign_keys(Device, [])
        insert_many(Device, [])


def test_a_field_that_encrypts_does_so_here_too(db):
    """Organization is a table with one, though nobody appends to it."""
    harbour = Organization(organization_id="12345678", name="Harbour", app_license="a license", created=timezone.now())
    insert_many(Organization, [harbour])
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_license FROM organizations_organization")
        assert "a license" not in cursor.fetchone()[0]
    assert Organization.objects.get().app_license == "a license"
