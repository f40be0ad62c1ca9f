"""The license list as a file for spreadsheets."""

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from licenses.admin import export as csv_pages
from licenses.models import Inventory
from tests.licenses.admin.test_licenses import license_, read

pytestmark = pytest.mark.django_db
CSV = "/admin/licenses/unlocklicense/export.csv"


def export(client, user, **query):
    client.force_login(user)
    response = client.get(CSV, query)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_the_file_holds_what_the_list_holds(client, bob, dock):
    license_(dock, 240330, type=2, details={"country_number": 156})
    license_(dock, 240330, Inventory.DOCK)
    license_(dock, 2, end=-1)
    read(dock)
    rows = {row["license_id"]: row for row in export(client, bob)}
    assert set(rows) == {"240330", "2"}
    row = rows["240330"]
    assert (row["dock"], row["organization"], row["allows"]) == ("DOCK0001", "Harbour Survey", "Country: China")
    assert (row["found_in"], row["enabled"], row["is_old"], row["days_left"]) == ("both", "yes", "no", "100")
    assert rows["2"]["standing"] == "expired, still on"


def test_filters_hold_for_the_file_too(client, bob, dock):
    license_(dock, 1)
    license_(dock, 2, end=-1)
    assert [row["license_id"] for row in export(client, bob, state="expired-enabled")] == ["2"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(client, bob, dock, name):
    license_(dock, 1, name=name, note=name)
    row = export(client, bob)[0]
    assert (row["name"], row["note"]) == (f"'{name}", f"'{name}")


def test_numbers_stay_numbers(client, bob, dock):
    license_(dock, -7)
    assert export(client, bob)[0]["license_id"] == "-7"


def test_line_breaks_and_quotes_stay_in_their_cell(client, bob, dock):
    license_(dock, 1, name='a "b"\r\nc;d,e', note="line\nline")
    row = export(client, bob)[0]
    assert (row["name"], row["note"]) == ('a "b"\r\nc;d,e', "line\nline")


def test_strangers_export_nothing_of_others(client, charlie, dock):
    license_(dock, 1)
    assert export(client, charlie) == []


def test_rows_are_read_a_chunk_at_a_time_in_the_order_of_the_list(client, bob, dock, monkeypatch):
    monkeypatch.setattr(csv_pages, "CHUNK", 2)
    for key in range(5):
        license_(dock, key, end=10 + key)
    assert [row["license_id"] for row in export(client, bob)] == ["0", "1", "2", "3", "4"]


def test_the_file_starts_before_its_licenses_are_read_and_a_chunk_costs_the_same_for_many_docks(
    client, staff, organization, monkeypatch
):
    docks = [Device.objects.create(sn=f"D{key}", model_key="3-2-0", organization=organization) for key in range(6)]
    for key, dock in enumerate(docks):
        license_(dock, key, end=10 + key)
    client.force_login(staff)
    costs = []
    for filter_, chunks in ((f"?device={docks[0].pk}", 1), ("", 1), ("", 3)):
        monkeypatch.setattr(csv_pages, "CHUNK", 6 // chunks)
        pieces = iter(client.get(CSV + filter_).streaming_content)
        with CaptureQueriesContext(connection) as first:
            assert next(pieces).startswith(b"\xef\xbb\xbf")
        assert len(first) == 0
        with CaptureQueriesContext(connection) as rest:
            assert len(list(pieces)) == chunks
        costs.append(len(rest) / chunks)
    assert costs[0] == costs[1] == costs[2] <= 5


def test_a_filter_that_does_not_exist_is_a_bad_request(client, bob, organization, other_organization):
    Device.objects.create(sn="D", model_key="3-2-0", organization=other_organization)
    client.force_login(bob)
    for path in (CSV, "/admin/licenses/unlocklicense/timeline/"):
        assert client.get(path, {"nonsense": "1"}).status_code == 400
        assert client.post(path).status_code == 405
