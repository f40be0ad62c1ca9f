"""Where the OpenAPI document and its pages are served; both are public."""

import json
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator


@cache
def document() -> bytes:
    """The OpenAPI document as JSON, in English; made once per process, which takes a second."""
    with translation.override("en"):
        schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return json.dumps(schema, ensure_ascii=False).encode()


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """`/api/schema/`"""
    return HttpResponse(document(), content_type="application/json")
