"""The time of a row's last change: set however the row is written, and only then."""

from datetime import timedelta

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone

from devices.models import BrokerAccount, Device, ServiceCall, ServiceCallBatch
from licenses.models import UnlockLicense
from mqtt_bridge.bulk import insert_many
from organizations import codes
from organizations.audit import Actor
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.models import AuditEvent, BindingCode, Organization
from tests.ages import LONG_AGO, age, moved
from tests.world import world  # noqa: F401

# Every model that says when it last changed, with a text of its own.
TEXTS = {
    Organization: "name",
    BindingCode: "label",
    Device: "callsign",
    BrokerAccount: "label",
    ServiceCallBatch: "note",
    ServiceCall: "note",
    UnlockLicense: "note",
}


def _over(row, field):
    type(row).objects.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=[field])


def _base(row, field):
    type(row)._base_manager.filter(pk=row.pk).update(**{field: "new"})


WAYS = {
    "save": lambda row, field: row.save(),
    "save of one field": lambda row, field: row.save(update_fields=[field]),
    "update": lambda row, field: type(row).objects.filter(pk=row.pk).update(**{field: "new"}),
    "update by F": lambda row, field: type(row).objects.update(**{field: Concat(F(field), Value("!"))}),
    "update or create": lambda row, field: type(row).objects.update_or_create({field: "new"}, pk=row.pk),
    "update of the base manager": _base,
    "bulk update": lambda row, field: type(row).objects.bulk_update([row], [field]),
    "upsert": _over,
    "write of fields": lambda row, field: type(row).objects.write_fields([row], [field]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_every_way_of_writing_moves_the_moment(model, way):
    row = model.objects.order_by("pk").first()
    age(row)
    setattr(row, TEXTS[model], "new")
    WAYS[way](row, TEXTS[model])
    fresh = model.objects.get(pk=row.pk)
    assert getattr(fresh, TEXTS[model]).endswith(("new", "!"))
    assert timezone.now() - fresh.updated < timedelta(minutes=1)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_whoever_writes_the_moment_is_not_overruled(model):
    row = model.objects.order_by("pk").first()
    age(row)
    model.objects.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=["updated"])
    model.objects.bulk_update([row], ["updated"])
    assert not moved(row)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_writing_nothing_moves_nothing(model):
    row = model.objects.order_by("pk").first()
    age(row)
    model.objects.update()
    row.save(update_fields=[])
    assert not moved(row)


def test_fields_of_many_rows_are_written_in_one_statement(dock, aircraft, django_assert_num_queries):
    dock.callsign, aircraft.callsign, aircraft.model_key = "North", "South", "0-1-0"
    with django_assert_num_queries(0):
        Device.objects.write_fields([], ["callsign"])
    with django_assert_num_queries(1):
        Device.objects.write_fields((row for row in (dock, aircraft)), ["callsign"])
    assert [Device.objects.get(pk=row.pk).callsign for row in (dock, aircraft)] == ["North", "South"]
    assert Device.objects.get(pk=aircraft.pk).model_key == "0-91-0"


def test_the_table_names_every_model_and_each_has_the_manager():
    assert set(ChangingModel.__subclasses__()) == set(TEXTS)
    managed = [model._default_manager.all() for model in TEXTS] + [model._base_manager.all() for model in TEXTS]
    assert all(isinstance(rows, ChangingQuerySet) for rows in managed)


def test_new_rows_have_a_moment_copied_ones_too(dock):
    before = timezone.now()
    insert_many(UnlockLicense, [UnlockLicense(device=dock, device_model_domain=3, license_id=1)])
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
