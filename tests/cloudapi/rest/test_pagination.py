"""Pages of lists: each row once, in order, even with equal values and while rows change."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from cloudapi.rest.pagination import SALT, KeysetPagination
from devices.models import Device
from tests.devices.calls.cases import make_call

VIEW = SimpleNamespace(orderings=("sn", "callsign", "bound_at", "id"))
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def fleet(organization):
    """Two dozen docks of which many share a callsign, and every third was never bound."""
    return Device.objects.bulk_create(
        Device(
            sn=f"D{number:03}",
            callsign=f"Pier {number % 3}",
            organization=organization,
            bound_at=None if number % 3 == 0 else DAY + timedelta(days=number % 4),
        )
        for number in range(24)
    )


def page(query, rows=None):
    """(rows of one page, address of the next)"""
    request = Request(APIRequestFactory().get(query if "?" in query else f"/?{query}"))
    pages = KeysetPagination()
    found = pages.paginate_queryset(Device.objects.all() if rows is None else rows, request, VIEW)
    return found, pages.get_paginated_response([]).data["next"]


def all_pages(query, between=lambda: None):
    found, following = page(query)
    while following:
        between()
        rows, following = page(following)
        found += rows
    return [device.sn for device in found]


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("limit", [1, 5, 23, 24])
@pytest.mark.parametrize("field", ["sn", "callsign", "bound_at", "id"])
def test_pages_hold_every_row_once_and_in_order(field, limit):
    forwards = all_pages(f"limit={limit}&ordering={field}")
    assert sorted(forwards) == sorted(Device.objects.values_list("sn", flat=True))
    assert all_pages(f"limit={limit}&ordering=-{field}") == forwards[::-1]
    devices = {device.sn: device for device in Device.objects.all()}
    values = [getattr(devices[sn], field) for sn in forwards]
    told = [value for value in values if value is not None]
    assert values == sorted(told) + [None] * (len(values) - len(told))


def test_a_row_that_goes_between_two_pages_hides_none_of_the_others(fleet):
    gone = iter(fleet[:5])
    assert all_pages("limit=5&ordering=sn", between=lambda: next(gone).delete()) == [device.sn for device in fleet]


def test_a_row_that_comes_between_two_pages_is_told_if_it_comes_later(fleet, organization):
    new = iter(["A1", "Z1", "A2", "Z2", "A3", "A4"])
    found = all_pages(
        "limit=5&ordering=sn", between=lambda: Device.objects.create(sn=next(new), organization=organization)
    )
    assert found == [*(device.sn for device in fleet), "Z1", "Z2"]


@pytest.mark.usefixtures("fleet")
def test_a_page_is_one_query_wherever_it_begins(django_assert_num_queries):
    _, following = page("limit=5&ordering=bound_at")
    with django_assert_num_queries(1):
        page(following)


@pytest.mark.parametrize("field", ["sn", "callsign"])
def test_a_database_can_begin_a_deep_page_in_an_index(fleet, field):
    _, following = page(f"limit=5&ordering={field}")
    with CaptureQueriesContext(connection) as queries:
        page(following)
    [asked] = queries.captured_queries
    assert re.search(rf'"{field}" >=? \'', asked["sql"])


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=", "limit=x", "limit=٣", "ordering=-", "ordering=pk"])
def test_a_wrong_parameter_is_refused(query):
    with pytest.raises(ValidationError):
        page(query)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("text", ["x", "%00", "WyJzbiIsICJEMDAxIiwgMV0:1kqQ2k:x"])
def test_a_cursor_that_we_never_gave_leads_nowhere(text):
    with pytest.raises(NotFound):
        page(f"ordering=sn&cursor={text}")


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("given_by", "salt"),
    [("devices.Device sn", "another"), ("devices.Device callsign", SALT), ("devices.ServiceCall sn", SALT)],
)
def test_a_cursor_of_another_list_leads_nowhere(given_by, salt):
    with pytest.raises(NotFound):
        page(f"ordering=sn&cursor={signing.dumps([given_by, 'D001', '1'], salt=salt)}")


def test_a_cursor_of_calls_opens_no_list_of_licenses(api, viewer_key, dock):
    for _ in range(2):
        make_call(dock)
    client = api(viewer_key)
    following = client.get("/api/v1/service-calls/?limit=1&ordering=updated").json()["next"]
    assert client.get(following).status_code == 200
    assert client.get(following.replace("service-calls", "licenses")).status_code == 404
