"""Faults of the server: the answer that clients get, and what error reports do not show."""

import re
import sys
from collections.abc import ItemsView
from types import FrameType
from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.views import defaults
from django.views.debug import SafeExceptionReporterFilter

from cloudapi.rest.problems import MEDIA_TYPE, problem
from mqtt_bridge.database.timeouts import is_away

API: Final = "/api/"
RETRY_AFTER: Final = 5  # seconds
SECRET: Final = re.compile("PASS|CODE|KEY|LICENSE|SECRET|TOKEN|PLAIN", flags=re.IGNORECASE)  # in a name


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault of the server, for programs below /api/ and for people elsewhere; Django has logged it.

    A database that is away, or keeps a row locked for too long, is no fault: 503, and worth another try.
    """
    is_program = request.path.startswith(API)
    if is_away(sys.exc_info()[1]):
        text = gettext("The database is away or busy. Try again in a few seconds.")
        headers = {"Retry-After": str(RETRY_AFTER)}
        if is_program:
            body = problem(503, "database_unavailable", text)
            return JsonResponse(body, status=503, content_type=MEDIA_TYPE, headers=headers)
        may_reload = request.method in ("GET", "HEAD")
        if not may_reload:
            text += " " + gettext("Before you repeat an action, look whether it has been done.")
        page = {"title": gettext("Not available now"), "text": text, "may_reload": may_reload}
        return HttpResponse(render_to_string("error.html", page), status=503, headers=headers)
    if not is_program:
        return defaults.server_error(request)
    body = problem(500, "server_error", gettext("The server failed. Try again later."))
    return JsonResponse(body, status=500, content_type=MEDIA_TYPE)


class Filter(SafeExceptionReporterFilter):
    """Hides addresses with passwords in them; with DEBUG, too, what views and functions call sensitive.

    People copy error reports into tickets.
    """

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|ADDRESS|LICENSE", flags=re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, object]:
        """The fields of a form, without those that hold a secret."""
        shown = super().get_post_parameters(request)
        return {name: self.cleansed_substitute if SECRET.search(name) else value for name, value in shown.items()}

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, object]:
        """The variables of a function; none of any function while a form or body is handled.

        Forms, serializers and the libraries between them keep copies of what was typed under all kinds of names.
        """
        has_body = request is not None and request.method not in ("GET", "HEAD", "OPTIONS")
        shown = super().get_traceback_frame_variables(request, tb_frame)
        return {
            name: self.cleansed_substitute if has_body or SECRET.search(name) else value for name, value in shown
        }.items()
