"""What all REST routes of rows that belong to organizations share, on the routes of devices."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
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
