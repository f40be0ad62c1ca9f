"""Querysets of which the SQL text is written once, on both kinds of database."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState, ServiceCall, ServiceCallBatch
from mqtt_bridge.database import bulk
from mqtt_bridge.database.prepared import AnyOf, Parameter, Prepared, pipeline
from organizations.models import Organization

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_database")]


class Known(NamedTuple):
    sn: str
    organization: str | None
    license: str | None
    properties: object


def known():
    """Across two tables, with a column that is encrypted and one of JSON."""
    return Prepared(
        Known,
        lambda: (
            Device.objects.filter(AnyOf("sn", "sns"))
            .order_by("sn")
            .values_list("sn", "organization__name", "organization__app_license", "state__properties")
        ),
    )


def test_rows_are_what_the_queryset_would_give():
    harbour = Organization.objects.create(name="Harbour", app_license="a license")
    dock = Device.objects.create(sn="DOCK1", organization=harbour)
    Device.objects.create(sn="DOCK2")
    Device.objects.create(sn="OTHER")
    DeviceState.objects.create(device=dock, properties={"height": 3.5})
    prepared = known()
    for _ in range(3):  # compiled once, the same each time
        assert prepared(sns=["DOCK2", "DOCK1", "NOBODY"]) == [
            Known("DOCK1", "Harbour", "a license", {"height": 3.5}),
            Known("DOCK2", None, None, None),
        ]
    assert prepared(sns=[]) == []
    assert prepared(sns=["DOCK1' OR 'a'='a", "D" * 500]) == []


def test_a_longer_text_is_not_cut_to_the_length_of_the_column():
    sn = "S" * 64
    Device.objects.create(sn=sn)
    assert [row.sn for row in known()(sns=[sn + "X"])] == []
    assert [row.sn for row in known()(sns=[sn])] == [sn]


def test_keys_of_numbers_and_single_values_are_parameters_too():
    now = timezone.now()
    docks = [Device.objects.create(sn=f"DOCK{number}") for number in range(3)]
    for number, dock in enumerate(docks):
        DeviceState.objects.create(device=dock, last_seen=now - timedelta(minutes=number))
    seen = Prepared(
        tuple_of_sn := NamedTuple("Seen", [("sn", str)]),
        lambda: Device.objects.filter(
            AnyOf("pk", "keys"), state__last_seen__gt=Parameter("since", DateTimeField())
        ).values_list("sn"),
    )
    keys = [dock.pk for dock in docks[1:]]
    assert seen(keys=keys, since=now - timedelta(seconds=90)) == [tuple_of_sn("DOCK1")]
    assert seen(keys=keys, since=now) == []


def test_uuids_are_parameters_too():
    batches = [ServiceCallBatch.objects.create(method=f"100 % {number}") for number in range(2)]
    prepared = Prepared(
        ServiceCallBatch,
        lambda: ServiceCallBatch.objects.filter(AnyOf("pk", "keys"), method__contains="% 1", stopped=None),
    )
    assert prepared(keys=[batch.pk for batch in batches]) == [batches[1]]


def test_constants_stand_in_the_text_so_that_a_partial_index_serves():
    """A plan for any parameters uses a partial index only if its condition stands in the text."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite plans anew each time")
    prepared = Prepared(ServiceCall, lambda: ServiceCall.objects.open().filter(AnyOf("device_id", "devices")))
    prepared(devices=[])
    text = prepared._statements["postgresql"].sql
    assert "'queued'" in text
    assert text.count("%s") == 1


def test_one_query_that_counts_and_is_not_compiled_again(monkeypatch):
    prepared = known()
    prepared(sns=["DOCK"])
    monkeypatch.setattr(prepared, "_queryset", None)
    with CaptureQueriesContext(connection) as captured:
        prepared(sns=["DOCK"])
    assert len(captured) == 1
    assert "DOCK" in captured[0]["sql"]


def test_instances_with_their_related_ones_and_without_the_columns_that_are_not_asked_for():
    harbour = Organization.objects.create(name="Harbour", app_license="a license")
    Device.objects.create(sn="DOCK1", organization=harbour)
    Device.objects.create(sn="DOCK2")
    prepared = Prepared(
        Device,
        lambda: (
            Device.objects.filter(AnyOf("sn", "sns"))
            .select_related("organization")
            .only("sn", "organization__name")
            .order_by("sn")
        ),
    )
    with CaptureQueriesContext(connection) as captured:
        dock1, dock2 = prepared(sns=["DOCK2", "DOCK1"])
        assert (dock1.sn, dock1.organization.name, dock2.organization) == ("DOCK1", "Harbour", None)
    assert len(captured) == 1
    assert dock1.organization.get_deferred_fields() >= {"app_license"}
    assert not dock1._state.adding


def test_postgresql_prepares_what_comes_again():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's driver keeps every statement")
    prepared = known()
    for _ in range(2):
        prepared(sns=["DOCK"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        assert any("= ANY(" in statement for (statement,) in cursor.fetchall())


def test_a_pipeline_asks_several_before_one_is_read():
    Device.objects.create(sn="DOCK1")
    Device.objects.create(sn="DOCK2")
    prepared = known()
    with pipeline():
        first, second = prepared.ask(sns=["DOCK1"]), prepared.ask(sns=["DOCK2"])
    assert [[row.sn for row in read()] for read in (second, first)] == [["DOCK2"], ["DOCK1"]]


def test_an_error_in_a_pipeline_is_one_of_djangos_and_the_transaction_can_be_rolled_back():
    def write():
        with transaction.atomic(), pipeline():
            for _ in range(2):
                bulk.insert(Device, bulk.values_of([Device(sn="TWICE")]))
            bulk.insert(Device, bulk.values_of([Device(sn="LATER")]))

    with pytest.raises(IntegrityError) as caught:
        write()
    assert "TWICE" in str(caught.value) or connection.vendor == "sqlite"
    assert not Device.objects.exists()
