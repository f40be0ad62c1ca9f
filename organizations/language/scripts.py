"""What scripts say: the texts of `djangojs.po`, for `gettext` and `ngettext` in the browser."""

import hashlib
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language, override
from django.views.i18n import JavaScriptCatalog

PACKAGES = ["django.contrib.admin", "cloudapi", "devices", "licenses"]


class Texts(NamedTuple):
    """A script with the texts of one language, and a name for exactly these."""

    content: bytes
    version: str


@lru_cache(maxsize=8)
def texts(language: str) -> Texts:
    """Those of a language of LANGUAGES, the stock admin's and ours."""
    with override(language):
        content = JavaScriptCatalog(packages=PACKAGES).get(HttpRequest()).content
    return Texts(content, hashlib.sha256(content).hexdigest()[:12])


def query() -> str:
    """What the address ends in for the active language; browsers keep what is there until either changes."""
    language = get_language() or "en"
    return f"language={language}&v={texts(language).version}"


def response(request: HttpRequest) -> HttpResponse:
    """The texts of the language in the address, else of the active one."""
    wanted = request.GET.get("language", "")
    language = wanted if wanted in dict(settings.LANGUAGES) else get_language() or "en"
    content, version = texts(language)
    answer = HttpResponse(content, content_type="text/javascript; charset=utf-8")
    is_named = request.GET.get("v") == version and language == wanted
    answer["Cache-Control"] = "private, max-age=31536000, immutable" if is_named else "no-cache"
    answer["Content-Language"] = language
    return answer
