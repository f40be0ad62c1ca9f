"""Errors of the REST API as problem details (RFC 9457), whoever raised them."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from psycopg.errors import UniqueViolation
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
PROBLEM: Final = "urn:dock-cloud:problem:"  # before the name of every type


class Problem(exceptions.APIException):
    """An error with its status and the name of its type."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.default_code = code


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler; None for a fault of the server, which Django logs and `handler500` answers.

    An error of our own says what it is by its attribute `problem`: (status, name of the type).
    """
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
        kinds = ", ".join(parser.media_type for parser in context["view"].get_parsers())
        text = gettext("The body must be {kinds} here, with a Content-Type to match.").format(kinds=kinds)
        found = Problem(415, found.default_code, text)
    parameters: set[str] = set()
    with contextlib.suppress(SuspiciousOperation):  # too many to be read, which may be the very error
        parameters = set(context["request"].query_params) if context.get("request") else set()
    status, code = found.status_code, found.default_code
    if isinstance(found.detail, str):
        body = problem(status, code, str(found.detail))
    else:
        errors = list(_errors(found.detail, "", parameters))
        first = errors[0] if errors else {"detail": str(found.default_detail)}
        where = first.get("parameter") or first.get("pointer", "").lstrip("/")
        body = problem(status, code, f"{where}: {first['detail']}" if where else first["detail"], errors=errors)
    return Response(body, status, headers=headers, content_type=MEDIA_TYPE)


def _understood(error: Exception) -> exceptions.APIException | None:
    """The error as one of REST framework's; None if no request can cause it."""
    if isinstance(error, exceptions.APIException):
        return error
    if hasattr(error, "problem"):
        status, code = error.problem
        return Problem(status, code, " ".join(getattr(error, "messages", [str(error)])))
    match error:
        case Http404():
            return exceptions.NotFound()
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case IntegrityError() if isinstance(error.__cause__, UniqueViolation) or str(error).startswith("UNIQUE"):
            logger.warning("Two requests made the same at one moment: %s", error)
            return Problem(409, "conflict", gettext("The same was made by another request at this moment."))
        case DjangoValidationError():
            found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            return exceptions.ValidationError(found)
        case RequestDataTooBig():
            return Problem(413, "too_large", gettext("The body is too large."))
        case TooManyFieldsSent():
            return exceptions.ParseError(gettext("There are too many parameters."))
        case SuspiciousOperation():
            return exceptions.ParseError(gettext("This request cannot be read."))
    return None


def problem(status: int, code: str, detail: str, **more: object) -> dict[str, object]:
    """The body of an error: `type` tells programs what it is, `detail` people."""
    title = code.replace("_", " ").capitalize()
    return {"type": f"{PROBLEM}{code}", "title": title, "status": status, "detail": detail, **more}


def _errors(detail: object, pointer: str, parameters: set[str]) -> Iterator[dict[str, str]]:
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
def not_found(request: HttpRequest, **_kwargs: object) -> HttpResponse:
    """Any path below /api/ that is not there."""
    detail = gettext("There is no such route. /api/docs/ names them all; each ends with a slash.")
    return JsonResponse(problem(404, "not_found", detail), status=404, content_type=MEDIA_TYPE)
