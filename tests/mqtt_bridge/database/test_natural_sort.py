"""The order of names with numbers in them, in either database."""

import random
import sqlite3

import pytest
from django.db import connection

from devices.models import Label
from mqtt_bridge.database import natural_sort
from mqtt_bridge.database.natural_sort import compare, natural

NAMES = [
    "",
    "2",
    "16",
    "19",
    "20",
    "Pier 1",
    "Pier 2",
    "pier 2 b",
    "Pier 10",
    "Pier 10-2",
    "Pier 10-11",
    "码头 3",
    "码头 12",
]


@pytest.mark.django_db
def test_names_are_sorted_by_the_numbers_in_them(organization):
    shuffled = random.Random(5).sample(NAMES, len(NAMES))
    Label.objects.bulk_create(Label(organization=organization, name=name) for name in shuffled)
    assert list(Label.objects.order_by(natural("name")).values_list("name", flat=True)) == NAMES
    assert list(Label.objects.order_by(natural("-name")).values_list("name", flat=True)) == NAMES[::-1]


@pytest.mark.django_db
def test_the_collation_makes_no_two_names_the_same(organization):
    Label.objects.bulk_create(Label(organization=organization, name=name) for name in ("Pier 1", "Pier 01", "PIER 1"))
    assert Label.objects.filter(name="Pier 1").count() == 1
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT collisdeterministic FROM pg_collation WHERE collname = %s", [natural_sort.NAME])
            assert cursor.fetchall() == [(True,)]


def test_sqlite_sorts_them_alike():
    class Opened:
        vendor = "sqlite"
        connection = sqlite3.connect(":memory:")

    natural_sort.add_to_sqlite(Opened)
    rows = Opened.connection.execute(
        f"SELECT column1 FROM (VALUES {', '.join('(?)' for _ in NAMES)}) ORDER BY column1 COLLATE natural_sort",
        NAMES[::-1],
    )
    assert [name for (name,) in rows] == NAMES


def test_the_order_is_one():
    """A comparison that contradicts itself would lose rows of an index."""
    texts = [*NAMES, "1" * 300, "١٢", "a1", "a01", "A1", "1a"]
    for one in texts:
        for other in texts:
            assert compare(one, other) == -compare(other, one)
            assert (compare(one, other) == 0) is (one == other)
