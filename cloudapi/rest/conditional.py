"""Conditional requests (RFC 9110, section 13): `ETag`, `If-None-Match`, `If-Match`."""

import hashlib
from typing import Any

from django.db.models import Model
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags, quote_etag
from django.utils.translation import gettext_lazy
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from cloudapi.rest.rendering import EnglishJSONRenderer


class PreconditionFailed(APIException):
    """The row is no longer as the client knew it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = gettext_lazy("It has changed since you read it: read it again.")
    default_code = "precondition_failed"


class ConditionalViewSet(GenericViewSet[Any]):
    """Answers with one row and its tag, `"<version of the row>-<digest of what is shown>"`.

    `If-None-Match` compares all of it, for an answer may show what changes without the row. `If-Match` compares the
    version alone: a tag that came with `?include=` serves a PATCH, and a dock that reported something is no other dock.
    """

    def version(self, row: Model) -> str:
        """What is another one after each change of the row: when that was; a row without `updated` never changes."""
        return row.updated.isoformat() if hasattr(row, "updated") else str(row.pk)

    def get_object(self) -> Any:
        """As usual; PreconditionFailed if the request changes the row and its `If-Match` names another version."""
        row = super().get_object()
        if self.request.method not in SAFE_METHODS:
            known = parse_etags(self.request.headers.get("If-Match") or "*")
            if "*" not in known and not any(tag.startswith(f'"{self.version(row)}-') for tag in known):
                raise PreconditionFailed
        return row

    def answer(self, row: Model, code: int = status.HTTP_200_OK) -> Response:
        """One row, with its tag; 304 if the client has it already."""
        data = self.get_serializer(row).data
        digest = hashlib.blake2b(EnglishJSONRenderer().render(data), digest_size=12).hexdigest()
        tag = quote_etag(f"{self.version(row)}-{digest}")
        if self.request.method in SAFE_METHODS:
            conditional = get_conditional_response(self.request, etag=tag)
            if conditional is not None and conditional.status_code == status.HTTP_304_NOT_MODIFIED:
                return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag})
        return Response(data, code, headers={"ETag": tag})

    def created(self, row: Model) -> Response:
        """A row that was just made, as it is read at its address."""
        response = self.answer(self.get_queryset().get(pk=row.pk), status.HTTP_201_CREATED)
        response["Location"] = self.reverse_action("detail", [getattr(row, self.lookup_field)])
        return response
