"""What all REST routes of rows that belong to organizations share, on the routes of devices."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from cloudapi.rest.views import document
from devices.models import Device, DeviceAccount, DeviceState
from organizations.api.tenant import TenantViewSet
from organizations.models import BindingCode

ROUTE = "/api/v1/devices/"


def furnish(organization, number):
    """A dock with an aircraft, a state and an account."""
    dock = Device.objects.create(sn=f"D{number}", model_key="3-2-0", organization=organization)
    DeviceState.objects.create(device=dock, mode_code=0)
    DeviceAccount.objects.create(device=dock)
    Device.objects.create(sn=f"A{number}", model_key="0-91-0", organization=organization, gateway=dock)


@pytest.mark.parametrize("included", ["", "state", "account", "carried", "carried,state,account,carried"])
def test_a_list_asks_a_constant_number_of_queries_whatever_it_includes(api, viewer_key, organization, included):
    client = api(viewer_key)
    query = {"include": included} if included else {}
    furnish(organization, 1)
    client.get(ROUTE)  # the first use of a key is noted
    with CaptureQueriesContext(connection) as few:
        assert len(client.get(ROUTE, query).json()["results"]) == 2
    for number in range(2, 11):
        furnish(organization, number)
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(ROUTE, query).json()["results"]) == 20
    assert len(many) == len(few)


def test_an_answer_is_not_kept_by_others(api, viewer_key):
    response = api(viewer_key).get(ROUTE)
    assert response["Cache-Control"] == "private, no-cache"
    assert "Authorization" in response["Vary"]


def test_what_has_not_changed_is_not_sent_again(api, viewer_key, dock):
    client = api(viewer_key)
    tag = client.get(f"{ROUTE}{dock.sn}/")["ETag"]
    same = client.get(f"{ROUTE}{dock.sn}/", headers={"If-None-Match": tag})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", tag)
    Device.objects.update(callsign="Pier 8")
    assert client.get(f"{ROUTE}{dock.sn}/", headers={"If-None-Match": tag}).status_code == 200


class BareSerializer(serializers.ModelSerializer):
    """Shows no related row."""

    class Meta:
        model = BindingCode
        fields = ("id",)


class BareViewSet(TenantViewSet):
    """A list of them."""

    queryset = BindingCode.objects.all()
    serializer_class = BareSerializer


def test_a_serializer_without_related_rows_joins_none(staff):
    request = Request(APIRequestFactory().get("/"))
    request.user = staff
    view = BareViewSet(request=request, action="list", detail=False)
    assert view.get_queryset().query.select_related is False


def test_a_parameter_that_is_given_twice_is_refused(api, viewer_key, dock):
    twice = api(viewer_key).get(f"{ROUTE}?kind=dock&kind=aircraft")
    assert twice.status_code == 400
    assert [error["parameter"] for error in twice.json()["errors"]] == ["kind"]
    assert api(viewer_key).get("/api/v1/service-calls/?status=sent&status=queued").status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("presence=on", "One of online, offline, unknown, never."),
        ("is_enabled=1", "One of true, false."),
        ("updated_since=2026-11-21T09:00:00+00:00", "must be escaped"),
    ],
)
def test_a_value_that_is_not_understood_is_answered_with_those_that_are(api, viewer_key, query, words):
    response = api(viewer_key).get(f"{ROUTE}?{query}")
    assert response.status_code == 400
    assert words in response.json()["detail"]


def test_a_misspelt_field_is_named_with_those_that_there_are_and_with_all_other_mistakes(api, operator_key):
    response = api(operator_key).post("/api/v1/service-calls/", {"device": "DOCK0001", "metod": "x"})
    metod, method = response.json()["errors"]
    assert metod["pointer"] == "/metod"
    assert metod["detail"] == "No such field here. There is: data, device, expires_in, method, note, queue."
    assert (method["pointer"], method["code"]) == ("/method", "required")


def test_a_field_that_is_only_read_is_not_called_unknown(api, operator_key, dock):
    response = api(operator_key).patch(f"{ROUTE}{dock.sn}/", {"presence": "online"})
    assert response.json()["errors"] == [
        {"pointer": "/presence", "code": "invalid", "detail": "This cannot be set here."}
    ]


def test_what_changes_by_itself_does_not_keep_a_client_from_a_change(api, operator_key, dock):
    client = api(operator_key)
    DeviceState.objects.update_or_create(device=dock, defaults={"last_seen": timezone.now(), "mode_code": 0})
    tag = client.get(f"{ROUTE}{dock.sn}/", {"include": "state"})["ETag"]
    DeviceState.objects.update(last_seen=timezone.now(), mode_code=4, online=True, firmware_version="10.02")
    assert client.get(f"{ROUTE}{dock.sn}/", {"include": "state"}, headers={"If-None-Match": tag}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 8"}, headers={"If-Match": tag}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 9"}, headers={"If-Match": tag}).status_code == 412


def test_the_reference_has_words_for_every_parameter_of_a_list():
    paths = json.loads(document())["paths"]
    lists = [get for path in paths.values() if (get := path.get("get", {})).get("operationId", "").endswith("_list")]
    assert len(lists) > 5
    bare = [
        (get["operationId"], parameter["name"])
        for get in lists
        for parameter in get["parameters"]
        if parameter["in"] == "query" and not parameter.get("description")
    ]
    assert bare == []
