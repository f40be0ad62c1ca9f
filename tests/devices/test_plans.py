"""Plans of the statements that docks wait for, on tables with rows in them."""

import json

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import pairing, topology
from mqtt_bridge.protocol.messages import SubDevice, UpdateTopo

DOCKS = 20_000

pytestmark = [pytest.mark.django_db, pytest.mark.turns(2)]

FLEET = """
    INSERT INTO devices_device
        (id, updated, created, sn, model_key, organization_id, callsign, is_enabled, claim, gateway_id)
    SELECT n, now(), now(), 'DOCK' || n, '3-3-0', %(owner)s, '', true, 'code', NULL
    FROM generate_series(1, %(docks)s) n
    UNION ALL
    SELECT n + %(docks)s, now(), now(), 'AIR' || n, '0-100-1', %(owner)s, '', true, 'named', n
    FROM generate_series(1, %(docks)s) n;
    INSERT INTO devices_pairing (dock_id, aircraft_id, since, changed_at, witness, ended_by, is_heard, remark)
    SELECT n, n + %(docks)s, now(), now(), 'topology', '', false, '' FROM generate_series(1, %(docks)s) n;
    INSERT INTO devices_devicestate (device_id, online, firmware_version, properties, refused, refused_why)
    SELECT n, true, '', '{}', 0, '' FROM generate_series(1, 2 * %(docks)s) n;
    ANALYZE devices_device, devices_devicestate, devices_pairing;
"""


@pytest.fixture
def fleet(organization):
    """Many docks with an aircraft each, and the statistics that a planner goes by."""
    if connection.vendor != "postgresql":
        pytest.skip("plans of PostgreSQL")
    with connection.cursor() as cursor:
        for statement in FLEET.strip().rstrip(";").split(";"):
            cursor.execute(statement, {"owner": organization.pk, "docks": DOCKS})


def scanned(statements):
    """Which tables these statements read from one end to the other."""
    tables = set()

    def walk(node):
        if node["Node Type"] == "Seq Scan":
            tables.add(node["Relation Name"])
        for child in node.get("Plans", ()):
            walk(child)

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
            [[plan]] = cursor.fetchall()
            walk((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return tables


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("reports", [1, 8])  # of one dock in a batch: `mqtt_bridge/line/inbox.py`
def test_topologies_of_a_dock_read_no_table_from_end_to_end(reports):
    def report(number):
        named = range(number * pairing.MOST, (number + 1) * pairing.MOST)
        drones = [SubDevice(sn=f"AIR{n}", domain="0", type=100, sub_type=1) for n in named]
        return topology.Report("DOCK1", UpdateTopo(domain="3", type=3, sub_type=0, sub_devices=drones))

    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        topology.update([report(number) for number in range(1, reports + 1)], now=timezone.now())
    statements = [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "UPDATE", "DELETE"))]
    assert any("devices_pairing" in statement for statement in statements)
    assert scanned(statements) & {"devices_device", "devices_devicestate", "devices_pairing"} == set()
