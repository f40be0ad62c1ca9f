"""Reading the bodies of requests."""

import json
from typing import Any

from django.utils.translation import gettext
from rest_framework import parsers
from rest_framework.exceptions import ParseError


class JSONParser(parsers.JSONParser):
    """DRF's, for bodies that are nested too deep as well; their size is capped by DATA_UPLOAD_MAX_MEMORY_SIZE.

    JSON is UTF-8 (RFC 8259), whatever its media type says: that names codecs which are none of text, too.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, {**(parser_context or {}), "encoding": "utf-8"})
        except RecursionError:
            raise ParseError(gettext("The body is nested too deep.")) from None
        except ParseError as error:  # which says why in English
            if isinstance(why := error.__context__, json.JSONDecodeError):
                text = gettext("The body is not JSON: see line {line}, column {column}.")
                raise ParseError(text.format(line=why.lineno, column=why.colno)) from error
            raise ParseError(gettext("The body is not JSON in UTF-8.")) from error
