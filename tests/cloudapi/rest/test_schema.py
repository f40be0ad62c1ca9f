"""The OpenAPI document: valid, and right where drf-spectacular cannot derive it from the code."""

import json

import pytest
from django.core.management import call_command

from cloudapi.rest.views import document
from devices.calls.methods import METHODS


@pytest.fixture(scope="module")
def openapi():
    return json.loads(document())


def test_the_document_is_valid_and_nothing_in_it_was_guessed(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "openapi.yaml"))


def test_a_request_for_a_service_says_what_data_each_takes(openapi):
    variants = {
        one["properties"]["method"]["const"]: one for one in openapi["components"]["schemas"]["AskOneRequest"]["oneOf"]
    }
    assert set(variants) == set(METHODS)
    assert "data" in variants["unlock_license_switch"]["required"]
    assert "data" not in variants["unlock_license_update"]["required"]
    assert variants["login_dji_account"]["properties"]["queue"]["const"] is False
    for path in ("service-calls", "service-call-batches"):
        assert openapi["paths"][f"/api/v1/{path}/"]["post"]["requestBody"]["required"] is True


def test_what_is_shown_only_when_asked_for_is_not_promised(openapi):
    device = openapi["components"]["schemas"]["Device"]
    assert {"state", "account", "carried", "properties"} <= set(device["properties"])
    assert not {"state", "account", "carried", "properties"} & set(device["required"])


def test_every_operation_tells_its_errors_and_how_to_come_in(openapi):
    for path in openapi["paths"].values():
        for operation in path.values():
            assert {"ApiKey": []} in operation["security"]
            assert {"400", "401", "406", "429"} <= set(operation["responses"])
            assert operation["summary"]


def test_the_key_that_makes_a_request_safe_to_repeat_is_told_where_it_counts(openapi):
    told = {
        (method, path.removeprefix("/api/v1/"))
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    }
    assert told == {
        ("post", "service-calls/"),
        ("post", "service-calls/{id}/retry/"),
        ("post", "service-call-batches/"),
        ("post", "service-call-batches/by-time-zone/"),
        ("post", "broker-accounts/"),
        ("post", "broker-accounts/import/"),
        ("post", "broker-accounts/{username}/rotate/"),
        ("post", "file-jobs/"),
    }


def test_a_row_of_a_list_leads_to_what_can_be_done_with_it(openapi):
    links = openapi["paths"]["/api/v1/devices/"]["get"]["responses"]["200"]["links"]
    assert links["devices_retrieve"]["parameters"] == {"sn": "$response.body#/results/0/sn"}
    assert {"devices_release_create", "devices_licenses_list", "devices_exchanges_list"} <= set(links)


def test_a_list_tells_whether_it_can_be_searched(openapi):
    told = {
        path.removeprefix("/api/v1/")
        for path, operations in openapi["paths"].items()
        if any(one["name"] == "search" for one in operations.get("get", {}).get("parameters", ()))
    }
    assert told == {
        "organizations/", "binding-codes/", "devices/", "devices/{sn}/licenses/", "licenses/", "license-files/",
        "broker-accounts/",
    }  # fmt: skip
