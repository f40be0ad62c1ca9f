"""Errors of the REST API as problem details (RFC 9457), whoever raised them."""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseServerError, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import server_error as plain_server_error
from psycopg.errors import UniqueViolation
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from devices.calls.refusal import Refused
from devices.calls.states import PROBLEM
from licenses.files import FileInUseError, FileTooLargeError
from mqtt_bridge.timeouts import is_away

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
API: Final = "/api/"
RETRY_AFTER: Final = 5  # seconds

# What can never be granted is 400; what only the present state forbids, 409.
_REFUSED: Final[Mapping[Refused.Kind, int]] = {
    Refused.Kind.INVALID: 400,
    Refused.Kind.UNCLAIMED: 409,
    Refused.Kind.DISABLED: 409,
    Refused.Kind.OFFLINE: 409,
    Refused.Kind.BUSY: 409,
    Refused.Kind.CLOSED: 409,
    Refused.Kind.UNAVAILABLE: 503,
}


class Problem(exceptions.APIException):
    """An error with its status and the name of its type."""

    def __init__(self, status: int, code: str, detail: Any) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.default_code = code


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler; None for a fault of ours, which Django logs and `server_error` answers."""
    found = _understood(error)
    if found is None:
        return None
    set_rollback()
    headers = {}
    if hasattr(found, "auth_header"):
        headers["WWW-Authenticate"] = found.auth_header
    if getattr(found, "wait", None):
        headers["Retry-After"] = str(int(found.wait) + 1)  # type: ignore[attr-defined]
    if isinstance(found, exceptions.UnsupportedMediaType):
        kinds = " or ".join(parser.media_type for parser in context["view"].get_parsers())
        found = Problem(415, found.default_code, f"A body is {kinds} here, and its Content-Type says so.")
    body = _body(found, parameters=_parameters(context.get("request")))
    return Response(body, found.status_code, headers=headers, content_type=MEDIA_TYPE)


def _parameters(request: Any) -> set[str]:
    """The names of the query's parameters; none if they are too many to be read, which may be the very error."""
    try:
        return set(request.query_params) if request else set()
    except SuspiciousOperation:
        return set()


def _understood(error: Exception) -> exceptions.APIException | None:
    """The error as one of REST framework's; None if it is none that a request can cause."""
    match error:
        case exceptions.APIException():
            return error
        case Refused():
            return Problem(_REFUSED[error.kind], error.kind.value, str(error))
        case FileInUseError():
            return Problem(409, "in_use", str(error))
        case FileTooLargeError():
            return Problem(413, "too_large", " ".join(error.messages))
    return _of_django(error)


def _of_django(error: Exception) -> exceptions.APIException | None:
    match error:
        case Http404():
            return exceptions.NotFound()
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case IntegrityError() if isinstance(error.__cause__, UniqueViolation) or str(error).startswith("UNIQUE"):
            logger.warning("Two requests made the same at one moment: %s", error)
            return Problem(409, "conflict", "The same was made by another request at this moment.")
        case DjangoValidationError():
            found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            return exceptions.ValidationError(found)
        case RequestDataTooBig():
            return Problem(413, "too_large", "The body is too large.")
        case SuspiciousOperation():
            return exceptions.ParseError(str(error))
    return None


def problem(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The body of an error: `type` tells programs what it is, `detail` people."""
    title = code.replace("_", " ").capitalize()
    return {"type": f"{PROBLEM}{code}", "title": title, "status": status, "detail": detail, **more}


def _body(error: exceptions.APIException, parameters: set[str]) -> dict[str, Any]:
    code = error.default_code
    if isinstance(error.detail, str):
        return problem(error.status_code, code, str(error.detail))
    errors = list(_errors(error.detail, "", parameters))
    first = errors[0] if errors else {"detail": str(error.default_detail)}
    where = first.get("parameter") or first.get("pointer", "").lstrip("/")
    return problem(error.status_code, code, f"{where}: {first['detail']}" if where else first["detail"], errors=errors)


def _errors(detail: Any, pointer: str, parameters: set[str]) -> Iterator[dict[str, str]]:
    """Every message in DRF's nested details, with the place in the body (RFC 6901) or the parameter it is about."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name in ("", "non_field_errors") else f"/{str(name).replace('~', '~0').replace('/', '~1')}"
            yield from _errors(inner, f"{pointer}{step}", parameters)
    elif isinstance(detail, list | tuple):
        for number, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from _errors(inner, f"{pointer}/{number}" if nested else pointer, parameters)
    else:
        place = {"parameter": pointer[1:]} if pointer[1:] in parameters else {"pointer": pointer}
        error = {**place, "code": getattr(detail, "code", "invalid"), "detail": str(detail)}
        # What is wrong may be a name or a value that no encoder takes.
        yield {name: text.encode("utf-8", "replace").decode() for name, text in error.items()}


@csrf_exempt
def not_found(request: HttpRequest, **_kwargs: Any) -> HttpResponse:
    """Any path below /api/ that is not there."""
    detail = "There is no such route. /api/docs/ names them all; each ends with a slash."
    return JsonResponse(problem(404, "not_found", detail), status=404, content_type=MEDIA_TYPE)


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault of ours, for programs below /api/ and for people elsewhere; Django has logged it.

    A database that is away, or keeps a row locked for too long, is no fault: 503, and worth another try.
    """
    is_program = request.path.startswith(API)
    if is_away(sys.exc_info()[1]):
        text = "The database is away or busy. Try again in a few seconds."
        headers = {"Retry-After": str(RETRY_AFTER)}
        if is_program:
            body = problem(503, "database_unavailable", text)
            return JsonResponse(body, status=503, content_type=MEDIA_TYPE, headers=headers)
        return HttpResponse(render_to_string("503.html", {"text": text}), status=503, headers=headers)
    if not is_program:
        page: HttpResponseServerError = plain_server_error(request)
        return page
    body = problem(500, "server_error", "The server failed. Try again later.")
    return JsonResponse(body, status=500, content_type=MEDIA_TYPE)
