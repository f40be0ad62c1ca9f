"""Query parameters that are refused, on the routes of devices and of service calls."""

import pytest

ROUTE = "/api/v1/devices/"


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
