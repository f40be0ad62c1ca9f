"""Requests that are carried out once, however often they are sent: `Idempotency-Key`."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from organizations.models import IdempotentAnswer, OrganizationAPIKey

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEPT: Final = timedelta(hours=24)
_FORM: Final = re.compile(r"[!-~]{1,255}")
_HEADERS: Final = ("Location", "ETag")  # of an answer, beside its Content-Type

Action = Callable[..., Response]


class StillRunning(APIException):
    """The same request is being carried out at this moment."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "A request with this Idempotency-Key is being carried out: ask again."
    default_code = "running"
    wait = 0.5  # seconds; told as Retry-After: 1


class KeyReused(APIException):
    """The key came with another request before."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = "This Idempotency-Key was sent with another request before: each request needs a key of its own."
    default_code = "idempotency_key_reused"


def key_of(request: Request) -> str:
    """The key that a request came with, "" if it has none; ParseError for one that is none."""
    key: str | None = request.headers.get(HEADER)
    if key is None:
        return ""
    if not _FORM.fullmatch(key):
        raise ParseError(f"{HEADER}: 1 to 255 visible ASCII characters.")
    return key


def once(action: Action) -> Action:
    """Let an action that makes a row of a view set be carried out once for each key that whoever asks sends with it.

    The key, what the action writes and its answer are one transaction: whatever dies leaves nothing of them, and
    nothing that seems to run still. Errors that the action raises take back what it wrote and are answers like others;
    a fault of ours, 5xx, leaves nothing. For 24 h the same request gets the same answer, with `Idempotency-Replayed`;
    another request with this key is 422, and on PostgreSQL one that comes before the first is through 409. SQLite lets
    it wait.
    """

    @wraps(action)
    def carried_out_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = key_of(request)
        if not key:
            return action(view, request, *args, **kwargs)
        row = IdempotentAnswer(principal=_principal(request), key=key, fingerprint=_fingerprint(request))
        with transaction.atomic():
            _lock(row)
            known = _known(row)
            if known is not None:
                return _again(known, view)
            response = _carry_out(action, view, request, *args, **kwargs)
            if response.status_code < status.HTTP_500_INTERNAL_SERVER_ERROR:
                _keep(row, response)
        return response

    carried_out_once.takes_idempotency_key = True  # type: ignore[attr-defined]  # for the OpenAPI document
    return carried_out_once


def _principal(request: Request) -> str:
    if isinstance(request.auth, OrganizationAPIKey):
        return f"key:{request.auth.pk}"
    return f"user:{request.user.pk}"


@sensitive_variables()
def _fingerprint(request: Request) -> str:
    """Tells this request from others; keyed, because a body may hold a password that could be guessed."""
    asked = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    # As Latin-1, in which every byte is a character.
    text = asked.decode("latin-1")
    return salted_hmac("organizations.IdempotentAnswer", text, algorithm="sha256").hexdigest()


def _lock(row: IdempotentAnswer) -> None:
    """Be the only one who carries this out until the transaction ends; raises StillRunning if another does."""
    if connection.vendor != "postgresql":
        return  # on SQLite the transaction itself has waited for all others that write
    digest = hashlib.blake2b(f"idempotency {row.principal} {row.key}".encode(), digest_size=8).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(digest, signed=True)])
        [(is_ours,)] = cursor.fetchall()
    if not is_ours:
        raise StillRunning


def _known(row: IdempotentAnswer) -> IdempotentAnswer | None:
    """The answer that this request got before; raises KeyReused if another request got it."""
    kept = IdempotentAnswer.objects.filter(created__gt=timezone.now() - KEPT)
    known = kept.filter(principal=row.principal, key=row.key).first()
    if known is not None and known.fingerprint != row.fingerprint:
        raise KeyReused
    return known


def _carry_out(action: Action, view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
    """What the action answers; an error, of which nothing but its answer is left. Raises what is a fault of ours."""
    with transaction.atomic():
        try:
            return action(view, request, *args, **kwargs)
        except Exception as error:
            response: Response = view.handle_exception(error)
            # Of the savepoint. REST framework does the same, with ATOMIC_REQUESTS.
            transaction.set_rollback(True)
            return response


def _keep(row: IdempotentAnswer, response: Response) -> None:
    row.status = response.status_code
    row.body = json.dumps(response.data, cls=JSONEncoder)
    row.headers = {name: response[name] for name in _HEADERS if name in response}
    if response.content_type:
        row.headers["Content-Type"] = response.content_type
    # In place of one that is older than a day.
    IdempotentAnswer.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["principal", "key"],
        update_fields=["fingerprint", "status", "body", "headers", "created"],
    )


def _again(known: IdempotentAnswer, view: Any) -> Response:
    """The same answer; NotFound if it tells of a row that whoever asks may not see any more."""
    body = json.loads(known.body)
    if known.status == status.HTTP_201_CREATED and not view.get_queryset().filter(pk=body["id"]).exists():
        raise NotFound
    headers = {**known.headers, REPLAYED: "true"}
    content_type = headers.pop("Content-Type", None)
    return Response(body, known.status, headers=headers, content_type=content_type)
