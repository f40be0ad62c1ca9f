"""`Idempotency-Key`: a request that is sent again is carried out once."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Final

from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from organizations.api.tenant import TenantViewSet
from organizations.models import IdempotentAnswer, OrganizationAPIKey

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEPT: Final = timedelta(hours=24)
_FORM: Final = re.compile(r"[!-~]{1,255}")
_HEADERS: Final = ("Location", "ETag")  # of an answer, beside its Content-Type

Action = Callable[..., Response]


class StillRunning(APIException):
    """The same request is being carried out now."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = gettext_lazy("A request with this Idempotency-Key is being carried out: ask again.")
    default_code = "running"
    wait = 0.5  # seconds; sent as Retry-After: 1


class KeyReused(APIException):
    """The key came with another request before."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = gettext_lazy(
        "This Idempotency-Key was sent with another request before: each request needs its own key."
    )
    default_code = "idempotency_key_reused"


def key_of(request: Request) -> str:
    """The key that a request came with, "" if there is none; ParseError for a key of another form."""
    key: str | None = request.headers.get(HEADER)
    if key is None:
        return ""
    if not _FORM.fullmatch(key):
        raise ParseError(gettext("{header}: 1 to 255 visible ASCII characters.").format(header=HEADER))
    return key


def once(action: Action) -> Action:
    """Let an action of a view set that makes a row be carried out once for each key that its caller sends.

    The key, what the action writes and its answer are one transaction: whatever dies leaves nothing of them, and
    nothing that still seems to run. Errors that the action raises take back what it wrote and are answers like others;
    a fault of the server, 5xx, leaves nothing. For 24 h the same request gets the same answer, with
    `Idempotency-Replayed`; another request with this key is 422, and on PostgreSQL one that comes before the first has
    ended is 409. SQLite lets it wait.
    """

    @wraps(action)
    @sensitive_variables()
    def carried_out_once(view: TenantViewSet, request: Request, *args: object, **kwargs: object) -> Response:
        key = key_of(request)
        if not key:
            return action(view, request, *args, **kwargs)
        caller = f"key:{request.auth.pk}" if isinstance(request.auth, OrganizationAPIKey) else f"user:{request.user.pk}"
        # Keyed, because a body may hold a password that could be guessed; as Latin-1, in which every byte is a letter.
        asked = f"{request.method} {request.get_full_path()}\n{request.body.decode('latin-1')}"
        fingerprint = salted_hmac("organizations.IdempotentAnswer", asked, algorithm="sha256").hexdigest()
        row = IdempotentAnswer(principal=caller, key=key, fingerprint=fingerprint)
        with transaction.atomic():
            _lock(caller, key)
            lasting = IdempotentAnswer.objects.filter(created__gt=timezone.now() - KEPT)
            kept = lasting.filter(principal=caller, key=key).first()
            if kept is not None:
                if kept.fingerprint != fingerprint:
                    raise KeyReused
                return _again(kept, view)
            try:
                with transaction.atomic():
                    response = action(view, request, *args, **kwargs)
            except Exception as error:
                response = view.handle_exception(error)  # which raises a fault of the server again
            if response.status_code < status.HTTP_500_INTERNAL_SERVER_ERROR:
                # An answer with a secret says what may be kept of it, and shown again.
                body = getattr(response, "repeatable", response.data)
                row.status, row.body = response.status_code, json.dumps(body, cls=JSONEncoder)
                row.headers = {name: response[name] for name in _HEADERS if name in response}
                row.headers |= {"Content-Type": response.content_type} if response.content_type else {}
                IdempotentAnswer.objects.bulk_create(
                    [row],
                    update_conflicts=True,  # with one that is older than a day
                    unique_fields=["principal", "key"],
                    update_fields=["fingerprint", "status", "body", "headers", "created"],
                )
        return response

    carried_out_once.takes_idempotency_key = True  # type: ignore[attr-defined]  # for the OpenAPI document
    return carried_out_once


def _lock(caller: str, key: str) -> None:
    """Be the only one who carries this out until the transaction ends; raises StillRunning if another does."""
    if connection.vendor != "postgresql":
        return  # on SQLite the transaction itself has waited for all others that write
    digest = hashlib.blake2b(f"idempotency {caller} {key}".encode(), digest_size=8).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(digest, signed=True)])
        [(is_ours,)] = cursor.fetchall()
    if not is_ours:
        raise StillRunning


def _again(kept: IdempotentAnswer, view: TenantViewSet) -> Response:
    """The same answer; NotFound if it shows a row that the caller may not see any more."""
    body = json.loads(kept.body)
    if kept.status == status.HTTP_201_CREATED:
        keys = {row["id"] for row in (body if isinstance(body, list) else [body])}
        if view.get_queryset().filter(pk__in=keys).count() < len(keys):
            raise NotFound
    headers = {**kept.headers, REPLAYED: "true"}
    content_type = headers.pop("Content-Type", None)
    return Response(body, kept.status, headers=headers, content_type=content_type)
