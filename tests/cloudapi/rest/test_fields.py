"""Bodies with unknown fields, on the routes of devices and of service calls."""

ROUTE = "/api/v1/devices/"


def test_a_misspelt_field_is_named_with_those_that_there_are_and_with_all_other_mistakes(api, operator_key):
    response = api(operator_key).post("/api/v1/service-calls/", {"device": "DOCK0001", "metod": "x"})
    metod, method = response.json()["errors"]
    assert metod["pointer"] == "/metod"
    assert metod["detail"] == "Unknown field. Known are data, device, expires_in, method, note, queue."
    assert (method["pointer"], method["code"]) == ("/method", "required")


def test_a_field_that_is_only_read_is_not_called_unknown(api, operator_key, dock):
    response = api(operator_key).patch(f"{ROUTE}{dock.sn}/", {"presence": "online"})
    assert response.json()["errors"] == [
        {"pointer": "/presence", "code": "invalid", "detail": "This cannot be set here."}
    ]
