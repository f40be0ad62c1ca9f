"""Words where Django gives people none: for a form that comes after its user was signed out, and for 405."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext

API = "/api/"


def middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer both in the site's look."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content and not request.path.startswith(API):
            text = gettext("Nothing was changed. This address only takes what a button of another page sends.")
            page = render(request, "error.html", {"title": gettext("There is no page here"), "text": text}, status=405)
            page.headers["Allow"] = response.headers["Allow"]
            return page
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            target = urlsplit(response.url)
            if target.path == reverse("admin:login") and f"{REDIRECT_FIELD_NAME}=" in target.query:
                text = gettext("You are signed out, so nothing was changed. Sign in and do it again.")
                messages.warning(request, text)
                return redirect_to_login(page_of_form(request), reverse("admin:login"))
        return response

    return answer


def page_of_form(request: HttpRequest) -> str:
    """The page where the user sent this form; if the browser does not say, where it was sent to."""
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure()):
        return request.get_full_path()
    found = urlsplit(referer)
    return f"{found.path}?{found.query}" if found.query else found.path
