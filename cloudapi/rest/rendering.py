"""What the REST API answers is in English, whoever reads it; only what went wrong is said in the caller's language."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import override
from rest_framework.renderers import JSONRenderer

ENGLISH = "en"


class EnglishJSONRenderer(JSONRenderer):
    """JSON, with texts that are still to be translated in English. Details of errors are plain text by then."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        with override(ENGLISH):
            return super().render(data, accepted_media_type, renderer_context)
