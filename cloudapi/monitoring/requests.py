"""Counts and times the requests of a web process, and gives each an id, which the log and the answer show."""

import re
from typing import Final
from uuid import uuid4

from django.http import HttpRequest, HttpResponseBase
from prometheus_client import Counter, Histogram

HEADER: Final = "X-Request-ID"
ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")  # of a proxy's
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

answers = Counter("web_requests", "Requests by the name of their route.", ["method", "route", "status"])
request_seconds = Histogram(
    "web_request_seconds",
    "From the request until the answer was ready, without what a client wanted to wait for.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


def id_of(request: HttpRequest) -> str:
    """The id that a proxy gave this request, else a new one."""
    given = request.headers.get(HEADER, "")
    return given if ID.fullmatch(given) else uuid4().hex


def answered(request: HttpRequest, response: HttpResponseBase, *, request_id: str, seconds: float) -> HttpResponseBase:
    """Count an answer, and put the id into it. Static files, redirects to HTTPS and wrong paths have route "none"."""
    match = request.resolver_match
    method = request.method if request.method in METHODS else "other"
    route = (match.view_name or match.route) if match else "none"
    answers.labels(method, route, response.status_code).inc()
    request_seconds.labels(method, route).observe(seconds)
    response.headers[HEADER] = request_id
    return response
