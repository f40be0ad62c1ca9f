"""How much the database grows at the rate that a dock is allowed; figures by `pytest -s`."""

import random

import pytest
from django.apps import apps
from django.db import connection

from devices.models import Pairing
from mqtt_bridge import journal
from mqtt_bridge.allowance import Allowance
from mqtt_bridge.models import Exchange
from mqtt_bridge.rate_limit import BYTES, RATE
from tests.mqtt_bridge.test_dispatch import delivery, handle

pytestmark = pytest.mark.django_db

DAY = 24 * 3600
SHARE = 400_000  # the bytes that a gateway may write in a day, in this test
ALLOWED = 10_000_000  # the setting's default
TEXT = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=4 * BYTES))


@pytest.fixture(autouse=True)
def _new_day(monkeypatch):
    monkeypatch.setattr(journal, "_allowance", Allowance())


def size():
    """Bytes of the journal on the disk, with its indexes and what is stored apart."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('mqtt_bridge_exchange')")
        return cursor.fetchone()[0]


def small(number):
    return delivery("FLOODER", "airport_bind_status", {"devices": [{"sn": "FLOODER"}]}, tid=f"t{number}")


def large(number):
    """As long as one token allows, of text that PostgreSQL does not make much smaller."""
    start = number * 97 % (3 * BYTES)
    return delivery("FLOODER", "airport_bind_status", {"x": TEXT[start : start + BYTES - 300]}, tid=f"t{number}")


@pytest.mark.parametrize(("kind", "number"), [(small, 1500), (large, 150)])
@pytest.mark.parametrize("share", [SHARE, 0], ids=["limited", "unlimited"])
def test_journal_of_a_flooding_dock(settings, report, kind, number, share):
    settings.JOURNAL_BYTES_PER_DAY = share
    before = size()
    for start in range(0, number, 50):
        journal.write(handle(*(kind(place) for place in range(start, start + 50))))
    grown, rows = size() - before, Exchange.objects.count()
    if share:
        a_day = grown * ALLOWED / SHARE
        report(f"{kind.__name__}: {rows} of {number} kept, {grown} bytes: {a_day / 1e6:.0f} MB per gateway and day")
        assert rows < number
        assert a_day < 4 * ALLOWED
    else:
        a_day = grown / number * RATE * DAY
        report(f"{kind.__name__}, no limit: {grown / number:.0f} bytes each: {a_day / 1e9:.1f} GB per gateway and day")
        assert rows == number
        assert a_day > 10 * ALLOWED


def rows():
    """How many rows each table has."""
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


# What a dock may say again and again, with other values each time.
SAID = {
    "requests": small,
    "methods": lambda number: delivery("FLOODER", f"method_{number}", tid=f"t{number}"),
    "events": lambda number: delivery("FLOODER", f"event_{number}", {}, channel="events", tid=f"t{number}"),
    "replies": lambda number: delivery(
        "FLOODER", "cover_open", {"result": 0}, channel="services_reply", tid=f"t{number}"
    ),
    "wrong codes": lambda number: delivery(
        "FLOODER",
        "airport_organization_get",
        {"organization_id": "12345678", "device_binding_code": f"WRON-{number:04}-XXXX"},
        tid=f"t{number}",
    ),
    "broken": lambda number: delivery("FLOODER", data=number, tid=f"t{number}"),
}


@pytest.mark.parametrize("said", SAID)
def test_only_the_journal_grows_with_what_a_dock_says(organization, said):
    for start in (0, 50):  # 33 kinds of events, and five wrong codes, are the most that is kept
        journal.write(handle(*(SAID[said](number) for number in range(start, start + 50))))
        before = before if start else rows()  # noqa: F821 - after the first fifty
    assert {name for name, count in rows().items() if count != before[name]} <= {"mqtt_bridge.Exchange"}


def topology_of(dock, aircraft):
    data = {"domain": "3", "type": 2, "sub_type": 0}
    return data | {"sub_devices": [{"sn": aircraft, "domain": "0", "type": 91, "sub_type": 0}]}


def bind_of(dock, aircraft, code):
    own = {"organization_id": "12345678", "device_binding_code": code, "device_callsign": ""}
    names = ((dock, "3-2-0"), (aircraft, "0-91-0"))
    return {"bind_devices": [{"sn": sn, "device_model_key": key, **own} for sn, key in names]}


@pytest.mark.parametrize("channel", ["status", "requests"])
def test_a_pairing_that_begins_costs_the_dock_a_second(dock, code, channel, report):
    """Its row is kept for good, and a dock may name two aircraft in turn."""
    costs = []
    for aircraft in ("NAMED0", "NAMED0", "NAMED1", "NAMED0"):
        if channel == "status":
            said = delivery(dock.sn, "update_topo", topology_of(dock.sn, aircraft), channel="status")
        else:
            said = delivery(dock.sn, "airport_organization_bind", bind_of(dock.sn, aircraft, code[1]))
        [result] = handle(said)
        assert result.outcome == "answered"
        costs.append(result.cost)
    assert costs == [RATE, 0, RATE, RATE]
    assert Pairing.objects.count() == 3
    report(
        f"{DAY} rows a day, 350 bytes each: {DAY * 350 / 1e6:.0f} MB; without the cost {RATE * DAY * 350 / 1e9:.1f} GB"
    )
