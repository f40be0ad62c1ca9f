"""What the statements of pages read of tables with rows in them: none goes through a large one."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.harness import fleet
from devices.models import ServiceCall

pytestmark = [pytest.mark.django_db, pytest.mark.turns(2)]

FILLED = (
    "auth.User", "organizations.Organization", "organizations.Membership", "organizations.AuditEvent",
    "devices.Device", "devices.DeviceState", "devices.ServiceCallBatch", "devices.ServiceCall", "mqtt_bridge.Exchange",
)  # fmt: skip
ROWS = 20_000  # of each large table but one, which has 10,000
LARGE = {"devices_servicecall", "mqtt_bridge_exchange", "organizations_auditevent"}
LISTS = {
    "staff": (
        "/admin/devices/servicecall/",
        "/admin/devices/servicecall/?service=logout_dji_account",
        "/admin/devices/servicecall/?q=7CTDM000000007",
        "/admin/devices/servicecall/?q=00000000-0000-4000-8000-000000000000",
        "/admin/devices/servicecall/?state=trouble",
        "/admin/devices/servicecall/?site=none",
        "/admin/devices/servicecall/?site=1",
        "/admin/mqtt_bridge/exchange/?outcome=error",
        "/admin/mqtt_bridge/exchange/?method=nothing",
        "/admin/mqtt_bridge/exchange/?channel=osd",
        "/admin/mqtt_bridge/exchange/?q=nothing",
        "/admin/mqtt_bridge/exchange/?q=7CTDM00000000",
        "/admin/organizations/auditevent/?q=nothing",
        "/admin/organizations/auditevent/?action=trace",
        "/admin/organizations/auditevent/?object_type=devices.Site",
        "/admin/devices/device/?attention=yes",
        "/admin/search/?q=nothing",
        "/admin/search/?q=7CTDM000000007",
        "/admin/",
    ),
    "large": (
        "/admin/devices/servicecall/",
        "/admin/mqtt_bridge/exchange/",
        "/admin/search/?q=7CTDM000000007",
        "/api/v1/service-calls/?status=failed",
    ),
}


def rows_read(sql):
    """The most rows of a large table that a statement reads, by an index or without one."""

    def walk(node):
        read = 0
        if node.get("Relation Name") in LARGE:
            read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        return max([read, *map(walk, node.get("Plans", ()))])

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
        [[plan]] = cursor.fetchall()
    return walk((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])


def test_no_page_goes_through_a_large_table():
    fleet.fill(0.02, only=FILLED)
    fleet.members()
    ServiceCall.objects.exclude(subject__endswith="00").update(by_schedule=True)  # where people seldom ask for anything
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE devices_servicecall")
    found = {}
    for person, addresses in LISTS.items():
        client = Client()
        client.force_login(get_user_model().objects.get(username=f"bench-{person}"))
        for address in addresses:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(address).status_code == 200
            # A count that ends at 10,000 would end there.
            statements = [q["sql"] for q in captured if q["sql"].startswith("SELECT") and "LIMIT 10000" not in q["sql"]]
            found[address] = max(map(rows_read, statements))
    assert {address: rows for address, rows in found.items() if rows > ROWS / 5} == {}
